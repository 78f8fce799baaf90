// SPDX-License-Identifier: MIT
// What stands around every answer about a recording: the process, how it was recorded, what is missing;
// at the end the modules. The form is that of header.c.
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "collect/collect.h"
#include "os/os.h"
#include "report/history_impl.h"

#define LAUNCH_OFF_NS 2000000000u // a launch counts from the start of the machine, in ticks

#define MOST_GAPS_SHOWN 20

static const char *mode_name(const struct log_process *process)
{
	static const char *const names[] = { "unknown", "full", "lite", "sampled" };

	return names[process->mode < 4 ? process->mode : 0];
}

static const char *printable(const struct history_view *view, const char *text)
{
	return text && *text ? text_printable(view->arena, text) : "unknown";
}

// How the recording or the process ended, when the log says so.
static const char *end_of(const struct history_view *view)
{
	struct log_reader *log = history_log(view->history);
	const char *text = NULL;

	for (size_t i = log ? log_note_count(log) : 0; i-- > 0 && !text;)
		if (log_note(log, i)->kind == LOG_NOTE_END &&
		    log_read_note(log, i, view->arena, &text))
			text = NULL;
	return text ? text_printable(view->arena, text) : NULL;
}

static const char *log_or_null(const char *path)
{
	return collect_log_is(path) ? path : NULL;
}

// The log of what the program of this one became: .2 behind the name of the first, else one more. NULL when
// it is not there.
static const char *next_log(struct arena *arena, const char *log)
{
	const char *dot = strrchr(log, '.'), *first;
	uint64_t part;

	if (dot && !text_parse_u64(dot + 1, &part) && part >= 2) {
		first = arena_format(arena, "%.*s", (int)(dot - log), log);
		if (collect_log_is(first))
			return log_or_null(arena_format(arena, "%s.%" PRIu64, first, part + 1));
	}
	return log_or_null(arena_format(arena, "%s.2", log));
}

static void print_end(struct emitter *e, const struct history_view *view, const char *end)
{
	const char *log = view->recording->source, *next = NULL, *last, *found;

	if (!strcmp(end, COLLECT_REPLACED))
		next = next_log(view->arena, log);
	emit_text(e, "Ended:           %s\n", end);
	if (!next)
		return;
	for (last = next; (found = next_log(view->arena, last));)
		last = found;
	emit_text(e, "Went on as:      %s\n", printable(view, next));
	if (last != next)
		emit_text(e, "Ended as:        %s\n", printable(view, last));
}

static void print_process(struct emitter *e, const struct history_view *view)
{
	const struct log_process *p = history_process(view->history);
	const char *end = end_of(view);

	emit_text(e, "Process:         %s [%d]\n", printable(view, p->name), p->id);
	emit_text(e, "Path:            %s\n", printable(view, p->path));
	emit_text(e, "Identifier:      %s\n", printable(view, p->name));
	if (strchr(printable(view, p->cpu), ' '))
		emit_text(e, "Hardware:        %s\n", printable(view, p->cpu));
	else
		emit_text(e, "Code Type:       %s\n", report_code_type(printable(view, p->cpu)));
	emit_text(e, "Platform:        Linux\n");
	emit_text(e, "Target Type:     %s\n",
	          view->recording->pid ? "recorded live process" : "recording");
	emit_text(e, "Read from:       %s\n\n", printable(view, view->recording->source));
	emit_text(e, "Date/Time:       %s\n", report_time_text(view->arena, p->wall_ns, true));
	emit_text(e, "Launch Time:     %s\n", report_time_text(view->arena, p->launched_ns, false));
	emit_text(e, "OS Version:      %s\n", printable(view, p->system));
	emit_text(e, "Report Version:  7\n");
	emit_text(e, "Analysis Tool:   %s\n", printable(view, os_self_path(view->arena)));
	emit_text(e, "Analysis Tool Version:  Heapwright " HEAPWRIGHT_VERSION "\n\n");
	if (history_log(view->history))
		emit_text(e, "Recorded:        %.3f s, %" PRIu64 " events, mode %s%s\n",
		          (double)history_end_ns(view->history) / 1e9,
		          history_event_count(view->history), mode_name(p),
		          p->attached ? ", begun while it ran" : "");
	else
		emit_text(e, "Recorded:        live blocks only, mode %s\n", mode_name(p));
	if (end)
		print_end(e, view, end);
	emit_text(e, "----\n\n");
}

static void print_json(struct emitter *e, const struct history_view *view)
{
	const struct log_process *p = history_process(view->history);
	struct log_reader *log = history_log(view->history);

	emit_object(e, "target");
	emit_u64(e, "pid", (uint64_t)p->id, NULL);
	emit_string(e, "name", p->name, NULL);
	emit_string(e, "kind", view->recording->pid ? "live" : "log", NULL);
	emit_null(e, "stopped_ms");
	emit_string(e, "path", p->path, NULL);
	emit_string(e, "source", view->recording->source, NULL);
	emit_string(e, "cpu", p->cpu, NULL);
	emit_object_end(e);
	emit_object(e, "recording");
	emit_string(e, "mode", mode_name(p), NULL);
	emit_u64(e, "started_ns", p->wall_ns, NULL);
	emit_u64(e, "duration_ns", history_end_ns(view->history), NULL);
	emit_u64(e, "events", history_event_count(view->history), NULL);
	emit_u64(e, "sample_bytes", p->sample_bytes, NULL);
	emit_bool(e, "attached", p->attached, NULL);
	emit_bool(e, "closed", !log || log_complete(log), NULL);
	emit_object_end(e);
}

static void print_failure(struct emitter *e, struct history_view *view)
{
	const char *end = end_of(view);

	if (!end || !text_starts_with(end, COLLECT_FAILED))
		return;
	emit_string(e, NULL, arena_format(view->arena, "what came last is missing, %s", end),
	            "Warning: %s.\n");
	view->partly = true;
}

// Numbers of processes are used again: a later one is another.
static bool is_running(const struct log_process *process)
{
	struct os_process facts;

	return !os_process_read(process->id, &facts) &&
	       (!process->launched_ns || !facts.launched_ns ||
	        facts.launched_ns < process->launched_ns + LAUNCH_OFF_NS);
}

// A log that nobody closed: its writer was killed, or writes on while the process runs.
static void print_open_end(struct emitter *e, struct history_view *view)
{
	struct log_reader *log = history_log(view->history);
	const struct recording *recording = view->recording;
	const char *end;

	if (!log || log_complete(log) || log_damage(log) || recording->pid ||
	    recording->is_snapshot)
		return;
	end = history_time_text(view->arena, history_end_ns(view->history));
	if (is_running(history_process(view->history))) {
		emit_string(e, NULL,
		            arena_format(view->arena,
		                         "the log is still open, what comes after %s is "
		                         "not in it",
		                         end),
		            "Note: %s.\n");
		return;
	}
	emit_string(e, NULL,
	            arena_format(view->arena,
	                         "the log was never closed, what came after %s is missing", end),
	            "Warning: %s.\n");
	view->partly = true;
}

static void print_damage(struct emitter *e, struct history_view *view)
{
	struct log_reader *log = history_log(view->history);
	const char *damage = log ? log_damage(log) : NULL;

	emit_array(e, "warnings");
	print_failure(e, view);
	print_open_end(e, view);
	if (damage) {
		emit_string(e, NULL, arena_format(view->arena, "the log is not whole: %s", damage),
		            "Warning: %s.\n");
		view->partly = true;
	}
	if (view->recording->late) {
		emit_string(e, NULL,
		            "the collector does not answer: the last events may be missing",
		            "Warning: %s.\n");
		view->partly = true;
	}
	emit_array_end(e);
}

static void print_gaps(struct emitter *e, struct history_view *view)
{
	const struct history_gap *gaps;
	size_t count;
	uint64_t lost;
	struct error *error = history_gaps(view->history, 0, view->last, &gaps, &count, &lost);

	if (error)
		view->partly = true;
	emit_array(e, "gaps");
	for (size_t i = 0; i < count && !error; i++) {
		const struct log_thread *thread = history_thread(view->history, gaps[i].thread);

		view->partly = true;
		emit_object(e, NULL);
		emit_u64(e, "event", gaps[i].event, NULL);
		emit_u64(e, "time_ns", gaps[i].time_ns, NULL);
		emit_u64(e, "lost_events", gaps[i].lost, NULL);
		emit_u64(e, "thread", thread ? (uint64_t)thread->id : 0, NULL);
		emit_object_end(e);
		if (i < MOST_GAPS_SHOWN)
			emit_text(e,
			          "Warning: %" PRIu64 " events of thread %d were lost before %s; "
			          "what they did is missing below.\n",
			          gaps[i].lost, thread ? thread->id : 0,
			          history_time_text(view->arena, gaps[i].time_ns));
	}
	emit_array_end(e);
	if (count > MOST_GAPS_SHOWN)
		emit_text(e, "Warning: %" PRIu64 " events were lost in all, in %zu places.\n", lost,
		          count);
}

void history_print_header(struct emitter *e, struct history_view *view, const char *heading)
{
	emit_string(e, "tool", view->settings->common.tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	emit_text(e, "%s", heading);
	print_json(e, view);
	if (!view->settings->common.quiet)
		print_process(e, view);
	print_damage(e, view);
	print_gaps(e, view);
}

static void print_unnamed(struct emitter *e, struct history_view *view)
{
	const struct log_module *const *modules;
	size_t count;

	modules = history_unnamed_modules(view->history, &count);
	emit_array(e, "modules_without_symbols");
	for (size_t i = 0; i < count; i++) {
		char id[2 * RECORD_BUILD_ID_BYTES + 1] = "";

		text_hex(modules[i]->build_id,
		         modules[i]->build_id_bytes <= RECORD_BUILD_ID_BYTES
		                 ? modules[i]->build_id_bytes
		                 : 0,
		         id);
		emit_object(e, NULL);
		emit_string(e, "path", text_printable(view->arena, modules[i]->path),
		            "\nNo symbols for %s");
		emit_string(e, "build_id", id, *id ? " (build-id %s)\n" : "\n%s");
		emit_object_end(e);
	}
	emit_array_end(e);
	if (symbols_server_trouble(history_symbols(view->history)))
		emit_string(e, "symbol_servers",
		            symbols_server_trouble(history_symbols(view->history)), "\n%s\n");
}

static void print_image(struct emitter *e, struct history_view *view,
                        const struct log_module *module)
{
	char id[2 * RECORD_BUILD_ID_BYTES + 1] = "";
	const char *path = text_printable(view->arena, module->path);

	if (module->build_id_bytes <= RECORD_BUILD_ID_BYTES)
		text_hex(module->build_id, module->build_id_bytes, id);
	emit_object(e, NULL);
	emit_address(e, "start", module->start, "%#18" PRIx64);
	emit_address(e, "end", module->end - 1, " - %#18" PRIx64);
	emit_string(e, "name", text_base_name(path), "  %s");
	emit_string(e, "build_id", id, *id ? " <%s>" : NULL);
	emit_string(e, "path", path, "  %s");
	emit_u64(e, "loaded_ns", module->loaded_ns, NULL);
	emit_known_u64(e, "unloaded_ns", module->unloaded_ns != UINT64_MAX, module->unloaded_ns,
	               NULL);
	if (module->unloaded_ns != UINT64_MAX)
		emit_text(e, " (until %s)", history_time_text(view->arena, module->unloaded_ns));
	emit_text(e, "\n");
	emit_object_end(e);
}

void history_print_images(struct emitter *e, struct history_view *view)
{
	const struct log_module *modules;
	size_t count;

	print_unnamed(e, view);
	if (view->settings->common.quiet)
		return;
	modules = history_modules(view->history, &count);
	emit_text(e, "\nBinary Images:\n");
	emit_array(e, "images");
	for (size_t i = 0; i < count; i++)
		print_image(e, view, &modules[i]);
	emit_array_end(e);
}
