// SPDX-License-Identifier: MIT
// malloc_history -allBySize, -allByCount: one line per stack; the growth between marks; the marks.
#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "report/history_impl.h"

static int compare_bytes(const void *a, const void *b)
{
	const struct history_sum *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

static int compare_count(const void *a, const void *b)
{
	const struct history_sum *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return compare_bytes(a, b);
}

void history_print_totals(struct emitter *e, struct history_view *view,
                          const struct history_sums *sums)
{
	uint64_t time_ns = 0;

	if (!history_time(view->history, sums->moment, &time_ns))
		emit_u64(e, "at_ns", time_ns, NULL);
	emit_u64(e, "total_count", sums->count, NULL);
	emit_u64(e, "total_bytes", sums->bytes, NULL);
	emit_bool(e, "estimated", sums->estimated, NULL);
	if (sums->estimated) {
		emit_u64(e, "count_off", sums->count_off, NULL);
		emit_u64(e, "bytes_off", sums->bytes_off, NULL);
		emit_text(e,
		          "Estimated from a sample of every %" PRIu64 "th byte: %" PRIu64
		          " +- %" PRIu64 " blocks, %" PRIu64 " +- %" PRIu64
		          " bytes (99%% certain).\n\n",
		          history_process(view->history)->sample_bytes, sums->count,
		          sums->count_off, sums->bytes, sums->bytes_off);
	}
	emit_bool(e, "complete", sums->complete, NULL);
	if (!sums->complete)
		emit_text(e, "Blocks from before the recording are not all among these.\n\n");
}

static void print_sums(struct emitter *e, struct history_view *view, struct history_sums *sums)
{
	const struct history_settings *settings = view->settings;

	if (sums->sums.n)
		qsort(sums->sums.v, sums->sums.n, sizeof(*sums->sums.v),
		      settings->all_by_count ? compare_count : compare_bytes);
	history_print_totals(e, view, sums);
	emit_array(e, "stacks");
	for (size_t i = 0; i < sums->sums.n; i++) {
		const struct history_sum *sum = &sums->sums.v[i];

		if (sum->count < settings->prune_count || sum->bytes < settings->prune_bytes)
			continue;
		emit_object(e, NULL);
		emit_u64(e, "count", sum->count,
		         sum->count == 1 ? "%" PRIu64 " call" : "%" PRIu64 " calls");
		emit_u64(e, "bytes", sum->bytes, " for %" PRIu64 " bytes: ");
		if (sum->before)
			emit_bool(e, "before_recording", true, NULL);
		if (sum->before && !sum->node && emit_is_text(e))
			emit_text(e, "(before the recording)\n");
		else
			history_print_stack(e, view, sum->node, HISTORY_NO_THREAD);
		emit_object_end(e);
	}
	emit_array_end(e);
}

struct error *history_print_sums(struct emitter *e, struct history_view *view)
{
	struct history_sums sums;

	TRY(history_sum_up(view->history, &view->question, &sums));
	print_sums(e, view, &sums);
	history_sums_free(&sums);
	return NULL;
}

// --- growth --------------------------------------------------------------------------------------
static void print_generation(struct emitter *e, const struct history_generation *generation,
                             struct arena *arena)
{
	emit_object(e, NULL);
	emit_text(e, "%14s", history_time_text(arena, generation->time_ns));
	emit_u64(e, "time_ns", generation->time_ns, NULL);
	emit_u64(e, "event", generation->event, NULL);
	emit_u64(e, "total_count", generation->total_count, NULL);
	emit_u64(e, "total_bytes", generation->total_bytes, " %14" PRIu64);
	emit_u64(e, "made_count", generation->made_count, " %12" PRIu64);
	emit_u64(e, "made_bytes", generation->made_bytes, " %14" PRIu64);
	emit_u64(e, "live_count", generation->live_count, " %12" PRIu64);
	emit_u64(e, "live_bytes", generation->live_bytes, " %14" PRIu64);
	emit_string(e, "name", generation->name, "  %s\n");
	emit_object_end(e);
}

struct error *history_print_growth(struct emitter *e, struct history_view *view)
{
	const struct history_generation *generations;
	size_t count;

	TRY(history_growth(view->history, view->last, view->arena, &generations, &count));
	emit_text(e, "%14s %14s %12s %14s %12s %14s  %s\n", "SINCE", "HEAP THEN", "MADE", "BYTES",
	          "STILL THERE", "BYTES", "MARK");
	emit_text(e, "%14s %14s %12s %14s %12s %14s  %s\n",
	          "=====", "=========", "====", "=====", "===========", "=====", "====");
	emit_array(e, "generations");
	for (size_t i = 0; i < count; i++)
		print_generation(e, &generations[i], view->arena);
	emit_array_end(e);
	return NULL;
}

struct error *history_print_marks(struct emitter *e, struct history_view *view)
{
	const struct history_mark *marks;
	size_t count;

	TRY(history_marks(view->history, &marks, &count));
	emit_array(e, "marks");
	for (size_t i = 0; i < count; i++) {
		emit_object(e, NULL);
		emit_text(e, "%14s", history_time_text(view->arena, marks[i].time_ns));
		emit_u64(e, "time_ns", marks[i].time_ns, NULL);
		emit_u64(e, "event", marks[i].event, NULL);
		emit_string(e, "name", marks[i].name, "  %s\n");
		emit_object_end(e);
	}
	emit_array_end(e);
	if (!count)
		emit_text(e, "no marks\n");
	return NULL;
}
