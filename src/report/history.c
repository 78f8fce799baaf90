// SPDX-License-Identifier: MIT
// malloc_history: opens the recording, says what it is and what is missing, and gives the question to the
// file that answers it. Called by tools/malloc_history.c.
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "os/os.h"
#include "report/history_impl.h"

#define PROGRESS_AFTER_NS 1000000000u
#define PROGRESS_EVERY_NS 100000000u
#define PROGRESS_COLUMNS  40

// --- the progress bar ----------------------------------------------------------------------------
struct progress {
	uint64_t begun_ns, shown_ns; // 0: not shown yet
};

static void show_progress(void *context, double done)
{
	static const char full[] = "########################################";
	struct progress *progress = context;
	uint64_t now_ns = os_monotonic_ns();
	int columns = (int)(done * PROGRESS_COLUMNS);

	if (now_ns - progress->begun_ns < PROGRESS_AFTER_NS ||
	    now_ns - progress->shown_ns < PROGRESS_EVERY_NS)
		return;
	progress->shown_ns = now_ns;
	fprintf(stderr, "\r[%-*.*s] %3d%%", PROGRESS_COLUMNS, columns, full, (int)(done * 100));
	fflush(stderr);
}

static void end_progress(const struct progress *progress)
{
	if (progress->shown_ns)
		fprintf(stderr, "\r%*s\r", PROGRESS_COLUMNS + 8, "");
}

// --- the question --------------------------------------------------------------------------------
static struct error *moment_of(struct history_view *view, const char *name, uint64_t *ret)
{
	return name ? history_moment(view->history, name, ret) : NULL;
}

static struct error *find_range(struct history_view *view)
{
	const struct history_settings *settings = view->settings;

	view->last = view->recording->moment;
	TRY(moment_of(view, settings->since, &view->first));
	TRY(moment_of(view, settings->until, &view->last));
	if (view->first > view->last)
		return error_new(ERROR_USAGE, "the range ends before it begins");
	return NULL;
}

// What cannot be asked is an error before anything is printed.
static struct error *find_question(struct history_view *view)
{
	const struct history_settings *s = view->settings;

	if (!s->export_format && (s->marks || s->monitor || s->growth || s->all_events))
		return NULL;
	return history_question_of(view, &view->question);
}

static struct error *print_addresses(struct emitter *e, struct history_view *view)
{
	const struct option_list *addresses = &view->settings->addresses;
	struct error *error = NULL;

	emit_array(e, "addresses");
	for (size_t i = 0; i < addresses->n && !error; i++)
		error = history_print_address(e, view, addresses->v[i]);
	emit_array_end(e);
	return error;
}

static struct error *answer(struct emitter *e, struct history_view *view)
{
	const struct history_settings *settings = view->settings;

	if (settings->marks)
		return history_print_marks(e, view);
	if (settings->monitor)
		return history_print_samples(e, view);
	if (settings->growth)
		return history_print_growth(e, view);
	if (settings->all_events)
		return history_print_events(e, view);
	if (settings->call_tree)
		return history_print_tree(e, view);
	if (settings->addresses.n)
		return print_addresses(e, view);
	return history_print_sums(e, view);
}

static struct error *print_report(struct history_view *view)
{
	const struct report_options *options = &view->settings->common;
	struct emitter *e = emit_begin(options->out, options->json ? EMIT_JSON : EMIT_TEXT);
	struct error *error, *written;

	history_print_header(e, view, "malloc_history Report Version:  2.0\n");
	error = answer(e, view);
	if (!error)
		history_print_images(e, view);
	written = emit_end(e);
	return error ? error : written;
}

struct error *report_history(const char *target, const struct history_settings *settings,
                             int *ret_exit)
{
	struct progress progress = { .begun_ns = os_monotonic_ns() };
	struct recording recording;
	struct history_view view = { .settings = settings, .recording = &recording };
	struct error *error = recording_open(target, &recording);

	view.history = recording.history;
	view.arena = &recording.arena;
	if (!error && isatty(STDERR_FILENO))
		history_on_progress(view.history, show_progress, &progress);
	if (!error)
		error = find_range(&view);
	if (!error)
		error = find_question(&view);
	if (!error && settings->export_format)
		error = history_export(&view);
	else if (!error)
		error = print_report(&view);
	end_progress(&progress);
	recording_close(&recording);
	*ret_exit = view.partly ? EXIT_PARTLY : EXIT_FINE;
	return error;
}
