// SPDX-License-Identifier: MIT
// heapwright diff A B: what grew, shrank, came and went between two moments of one recording, or between
// two recordings, by stack and by type. Stacks of different recordings are the same when their functions
// are: addresses differ from run to run. Called by tools/diff.c.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/frames.h"
#include "report/history_export_impl.h"

// A stack or a type in both.
struct row {
	const char *name; // what makes rows the same: the functions of the stack, or the type
	size_t side;      // whose node shows the stack
	uint32_t node;
	uint64_t count[2], bytes[2];
};

struct rows {
	struct export_strings names; // number n is row n - 1
	VEC(struct row) v;
};

struct diff {
	const struct diff_settings *settings;
	struct history_settings view_settings;
	struct recording recordings[2];
	struct history_view views[2];
	struct rows stacks, types;
	struct arena arena;
};

// --- names that mean the same in both -------------------------------------------------------------
static const char *stack_name(struct diff *diff, size_t side, uint32_t node)
{
	const struct history_frame *const *frames;
	struct arena scratch;
	size_t count, bytes = 1, used = 0;
	char *name;

	arena_init(&scratch, &os_page_source);
	history_stack(diff->views[side].history, node, &scratch, &frames, &count);
	for (size_t i = 0; i < count; i++)
		bytes += strlen(export_function(&scratch, frames[i])) + 1;
	name = arena_alloc(&diff->arena, bytes);
	for (size_t i = count; i-- > 0;)
		used += (size_t)snprintf(name + used, bytes - used, "%s\n",
		                         export_function(&scratch, frames[i]));
	arena_deinit(&scratch);
	return name;
}

// Blocks go by the function that allocated them, as heap calls them.
static const char *type_name(struct diff *diff, size_t side, uint32_t node)
{
	const struct history_frame *const *frames;
	const char *function;
	size_t count;

	history_stack(diff->views[side].history, node, &diff->arena, &frames, &count);
	function = frame_caller(frames, count, &diff->arena);
	return arena_format(&diff->arena, "<malloc in %s>", function ? function : "???");
}

static void add_sum(struct rows *rows, const char *name, size_t side, const struct history_sum *sum)
{
	struct row added = { .name = name, .side = side, .node = sum->node }, *row;
	bool is_new;
	uint32_t number = export_string(&rows->names, name, &is_new);

	if (is_new)
		vec_push(&rows->v, added);
	row = &rows->v.v[number - 1];
	row->count[side] += sum->count;
	row->bytes[side] += sum->bytes;
}

static struct error *sum_side(struct diff *diff, size_t side)
{
	struct history_question question = { .set = HISTORY_LIVE,
		                             .last = diff->recordings[side].moment,
		                             .mappings = diff->settings->virtual_memory };
	struct history_sums sums;

	TRY(history_sum_up(diff->views[side].history, &question, &sums));
	for (size_t i = 0; i < sums.sums.n; i++) {
		const struct history_sum *sum = &sums.sums.v[i];

		add_sum(&diff->stacks, stack_name(diff, side, sum->node), side, sum);
		add_sum(&diff->types, type_name(diff, side, sum->node), side, sum);
	}
	history_sums_free(&sums);
	return NULL;
}

// --- printing ------------------------------------------------------------------------------------
static int64_t growth_of(const struct row *row)
{
	return (int64_t)(row->bytes[1] - row->bytes[0]);
}

// What grew most comes first, what shrank most last.
static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (growth_of(x) != growth_of(y))
		return growth_of(x) > growth_of(y) ? -1 : 1;
	if (x->count[1] - x->count[0] != y->count[1] - y->count[0])
		return (int64_t)(x->count[1] - x->count[0]) > (int64_t)(y->count[1] - y->count[0])
		               ? -1
		               : 1;
	return strcmp(x->name, y->name);
}

static const char *change_of(const struct row *row)
{
	if (!row->count[0])
		return "new";
	if (!row->count[1])
		return "gone";
	if (growth_of(row))
		return growth_of(row) > 0 ? "grown" : "shrunk";
	return row->count[0] == row->count[1]  ? NULL
	       : row->count[1] > row->count[0] ? "grown"
	                                       : "shrunk";
}

static void print_row(struct emitter *e, struct diff *diff, const struct row *row, bool stack)
{
	emit_object(e, NULL);
	emit_string(e, "change", change_of(row), "%-6s");
	emit_text(e, " %+14" PRId64 " %+10" PRId64, growth_of(row),
	          (int64_t)(row->count[1] - row->count[0]));
	emit_u64(e, "count_before", row->count[0], NULL);
	emit_u64(e, "count_after", row->count[1], NULL);
	emit_u64(e, "bytes_before", row->bytes[0], " %14" PRIu64);
	emit_u64(e, "bytes_after", row->bytes[1], " %14" PRIu64 "  ");
	if (stack)
		history_print_stack(e, &diff->views[row->side], row->node, HISTORY_NO_THREAD);
	else
		emit_string(e, "type", row->name, "%s\n");
	emit_object_end(e);
}

static void print_rows(struct emitter *e, struct diff *diff, struct rows *rows, bool stack)
{
	if (rows->v.n)
		qsort(rows->v.v, rows->v.n, sizeof(*rows->v.v), compare_rows);
	emit_text(e, "%-6s %14s %10s %14s %14s  %s\n", "CHANGE", "BYTES", "BLOCKS", "BEFORE",
	          "AFTER", stack ? "STACK" : "TYPE");
	emit_text(e, "%-6s %14s %10s %14s %14s  %s\n",
	          "======", "=====", "======", "======", "=====", stack ? "=====" : "====");
	emit_array(e, stack ? "stacks" : "types");
	for (size_t i = 0; i < rows->v.n; i++)
		if (change_of(&rows->v.v[i]))
			print_row(e, diff, &rows->v.v[i], stack);
	emit_array_end(e);
	emit_text(e, "\n");
}

static void print_side(struct emitter *e, struct diff *diff, size_t side)
{
	struct history_view *view = &diff->views[side];

	emit_object(e, side ? "after" : "before");
	history_print_header(e, view, "");
	emit_object_end(e);
}

static struct error *print_diff(struct diff *diff)
{
	const struct report_options *options = &diff->settings->common;
	struct emitter *e = emit_begin(options->out, options->json ? EMIT_JSON : EMIT_TEXT);

	emit_string(e, "tool", options->tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	print_side(e, diff, 0);
	print_side(e, diff, 1);
	print_rows(e, diff, &diff->types, false);
	print_rows(e, diff, &diff->stacks, true);
	return emit_end(e);
}

// --- the flow ------------------------------------------------------------------------------------
static void rows_init(struct rows *rows)
{
	export_strings_init(&rows->names);
	vec_init(&rows->v, &os_page_source);
}

static void rows_deinit(struct rows *rows)
{
	export_strings_deinit(&rows->names);
	vec_deinit(&rows->v);
}

static struct error *open_side(struct diff *diff, size_t side, const char *what)
{
	struct recording *recording = &diff->recordings[side];

	TRY(recording_open(what, recording));
	diff->views[side] = (struct history_view){ .settings = &diff->view_settings,
		                                   .recording = recording,
		                                   .history = recording->history,
		                                   .arena = &recording->arena,
		                                   .last = recording->moment };
	return sum_side(diff, side);
}

struct error *report_diff(const char *before, const char *after,
                          const struct diff_settings *settings, int *ret_exit)
{
	struct diff diff = { .settings = settings };
	struct error *error;

	diff.view_settings.common = settings->common;
	diff.view_settings.full_stacks = settings->full_stacks;
	arena_init(&diff.arena, &os_page_source);
	rows_init(&diff.stacks);
	rows_init(&diff.types);
	error = open_side(&diff, 0, before);
	if (!error)
		error = open_side(&diff, 1, after);
	if (!error)
		error = print_diff(&diff);
	*ret_exit = diff.views[0].partly || diff.views[1].partly ? EXIT_PARTLY : EXIT_FINE;
	for (size_t i = 0; i < 2; i++)
		if (diff.recordings[i].arena.ar_source)
			recording_close(&diff.recordings[i]);
	rows_deinit(&diff.stacks);
	rows_deinit(&diff.types);
	arena_deinit(&diff.arena);
	return error;
}
