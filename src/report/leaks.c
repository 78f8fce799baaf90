// SPDX-License-Identifier: MIT
// The leaks report: opens the look, drops the trees that a filter names, prints
// what is left and gives the exit code. Called by tools/leaks.c.
#include "report/leaks_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"

// What is remembered of an earlier look: a block by address and size.
struct seen_leak {
	uint64_t address, size;
};

struct seen {
	struct seen_leak *v; // sorted by address
	size_t n;
	bool keep_seen; // show only what was seen (-confirm), not only what was not (-diffFrom)
};

static int compare_seen(const void *a, const void *b)
{
	const struct seen_leak *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

// Every leaked block of another look, so that it can be closed again.
static struct error *seen_read(const char *what, const struct target_options *options, bool keep,
                               struct arena *arena, struct seen *ret)
{
	struct look look;

	TRY(look_open(what, options, LOOK_GRAPH, &look));
	*ret = (struct seen){ .keep_seen = keep, .n = look.graph->leak_count };
	ret->v = arena_array(arena, ret->n, sizeof(*ret->v));
	for (size_t i = 0; i < ret->n; i++) {
		const struct heap_block *block = &look.heaps->blocks[look.graph->leaks[i].lk_block];

		ret->v[i] = (struct seen_leak){ block->hb_address, block->hb_size };
	}
	look_close(&look);
	return NULL;
}

static bool seen_drops(const struct seen *seen, const struct heap_block *block)
{
	struct seen_leak key = { block->hb_address, block->hb_size };
	const struct seen_leak *found;

	if (!seen->v)
		return false;
	found = bsearch(&key, seen->v, seen->n, sizeof(key), compare_seen);
	return (found && found->size == key.size) != seen->keep_seen;
}

// --- the view -----------------------------------------------------------------------------------

static const struct graph *sorting_graph;

static int compare_trees(const void *a, const void *b)
{
	const struct leak *x = &sorting_graph->leaks[*(const uint32_t *)a];
	const struct leak *y = &sorting_graph->leaks[*(const uint32_t *)b];

	if (x->lk_tree_bytes != y->lk_tree_bytes)
		return x->lk_tree_bytes > y->lk_tree_bytes ? -1 : 1;
	return x->lk_block < y->lk_block ? -1 : x->lk_block > y->lk_block;
}

static int compare_siblings(const void *a, const void *b)
{
	const struct leak *x = &sorting_graph->leaks[*(const uint32_t *)a];
	const struct leak *y = &sorting_graph->leaks[*(const uint32_t *)b];

	if (x->lk_owner_offset != y->lk_owner_offset)
		return x->lk_owner_offset < y->lk_owner_offset ? -1 : 1;
	return x->lk_block < y->lk_block ? -1 : x->lk_block > y->lk_block;
}

static uint32_t leak_index(const struct graph *graph, uint32_t block)
{
	const struct leak *leak = graph_leak_of(graph, block);

	return leak ? (uint32_t)(leak - graph->leaks) : GRAPH_NO_BLOCK;
}

// Counting sort of the leaks by their owner.
static void view_children(struct leaks_view *view)
{
	const struct graph *graph = view->look->graph;
	size_t n = graph->leak_count;
	uint32_t *start = arena_array(view->look->arena, n + 2, sizeof(*start));
	uint32_t *children = arena_array(view->look->arena, n, sizeof(*children));
	uint32_t *owner = arena_array(view->look->arena, n, sizeof(*owner));

	for (size_t i = 0; i < n; i++) {
		bool root = graph->leaks[i].lk_owner == GRAPH_NO_BLOCK;

		owner[i] = root ? GRAPH_NO_BLOCK : leak_index(graph, graph->leaks[i].lk_owner);
		if (owner[i] != GRAPH_NO_BLOCK)
			start[owner[i] + 2]++;
	}
	for (size_t i = 2; i < n + 2; i++)
		start[i] += start[i - 1];
	for (size_t i = 0; i < n; i++)
		if (owner[i] != GRAPH_NO_BLOCK)
			children[start[owner[i] + 1]++] = (uint32_t)i;
	sorting_graph = graph;
	for (size_t i = 0; i < n; i++)
		if (start[i + 1] - start[i] > 1)
			qsort(children + start[i], start[i + 1] - start[i], sizeof(*children),
			      compare_siblings);
	view->children = children;
	view->child_start = start;
}

static void view_roots(struct leaks_view *view, const struct seen *seen, size_t seen_count)
{
	const struct graph *graph = view->look->graph;
	uint32_t *roots = arena_array(view->look->arena, graph->leak_count, sizeof(*roots));

	for (uint32_t i = 0; i < graph->leak_count; i++) {
		const struct leak *leak = &graph->leaks[i];
		bool drop;

		if (leak->lk_kind == LEAK_INDIRECT)
			continue;
		drop = rules_match(view->rules, view->look, i);
		for (size_t k = 0; k < seen_count && !drop; k++)
			drop = seen_drops(&seen[k], view_block(view, i));
		*(drop ? &view->dropped_count : &view->count) += leak->lk_tree_count;
		*(drop ? &view->dropped_bytes : &view->bytes) += leak->lk_tree_bytes;
		if (!drop)
			roots[view->root_count++] = i;
	}
	sorting_graph = graph;
	qsort(roots, view->root_count, sizeof(*roots), compare_trees);
	view->roots = roots;
	leaks_sort_by_stack(view);
}

// --- printing -----------------------------------------------------------------------------------

static const char *why_dropped(const struct leaks_view *view)
{
	const struct leaks_settings *settings = view->settings;
	bool rules = settings->exclude.n || settings->suppressions.n;
	const char *separator = "";
	char text[128];
	size_t used = 0;
	const struct {
		bool given;
		const char *reason;
	} reasons[] = {
		{ rules, "excluded or suppressed by a rule" },
		{ settings->diff_from, "already in the earlier look" },
		{ settings->has_confirm, "leaked in one of the two looks only" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (!reasons[i].given)
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", separator,
		                         reasons[i].reason);
		separator = ", or ";
	}
	return arena_copy(view->look->arena, text);
}

// "0 leaks" is said only when everything could be read: else it would be a claim about memory that
// nobody looked at.
static void print_found(struct emitter *e, const struct leaks_view *view)
{
	bool complete = report_completeness(view->look) == EXIT_FINE;
	bool told = complete || view->count;

	emit_text(e, "Process %d: ", view->look->target->pid);
	emit_u64(e, "leak_count", view->count,
	         !told              ? NULL
	         : view->count == 1 ? "%" PRIu64 " leak for "
	                            : "%" PRIu64 " leaks for ");
	emit_u64(e, "leak_bytes", view->bytes, told ? "%" PRIu64 " total leaked bytes.\n" : NULL);
	if (!told)
		emit_text(
			e,
			"leaks unknown: not everything could be read, and in the rest there are none.\n");
	emit_bool(e, "leaks_complete", complete, NULL);
}

static void print_counts(struct emitter *e, const struct leaks_view *view)
{
	const struct heaps *heaps = view->look->heaps;
	int pid = view->look->target->pid;

	emit_text(e, "leaks Report Version:  %s%s\n", view->settings->list ? "3.0" : "4.0",
	          view->settings->full_stacks ? ", multi-line stacks" : "");
	emit_text(e, "Process %d: ", pid);
	emit_u64(e, "nodes", heaps->used_count, "%" PRIu64 " nodes malloced for ");
	emit_u64(e, "nodes_bytes", heaps->used_bytes, NULL);
	emit_text(e, "%" PRIu64 " KB\n", (heaps->used_bytes + 512) / 1024);
	print_found(e, view);
	emit_u64(e, "dropped_count", view->dropped_count, NULL);
	emit_u64(e, "dropped_bytes", view->dropped_bytes, NULL);
	if (view->dropped_count)
		emit_text(e, "(%" PRIu64 " more for %" PRIu64 " bytes not shown: %s.)\n",
		          view->dropped_count, view->dropped_bytes, why_dropped(view));
	emit_text(e, "\n");
}

static struct error *print_answer(struct emitter *e, struct leaks_view *view)
{
	const struct leaks_settings *settings = view->settings;

	if (settings->has_trace)
		TRY(leaks_trace(e, view->look, view->traced));
	else if (settings->reference_tree)
		leaks_print_reference_tree(e, view->tree);
	else if (settings->list)
		leaks_print_list(e, view);
	else
		leaks_print_trees(e, view);
	leaks_emit_json(e, view);
	rules_emit_unused(e, view->rules);
	return NULL;
}

static struct error *print_report(struct leaks_view *view, const struct target_exit *command_exit)
{
	const struct report_options *options = &view->settings->common;
	struct emitter *e = emit_begin(options->out, options->json ? EMIT_JSON : EMIT_TEXT);
	struct error *error, *unwritten;

	report_header(e, view->look, options);
	if (command_exit) {
		emit_string(e, "command_exit", command_exit->text, "The command %s.\n\n");
		emit_u64(e, "command_status", command_exit->status, NULL);
	}
	print_counts(e, view);
	report_messages(e, view->look);
	error = print_answer(e, view);
	report_servers(e, view->look);
	if (!options->quiet)
		report_images(e, view->look);
	unwritten = emit_end(e);
	return error ? error : unwritten;
}

// --- the flow -----------------------------------------------------------------------------------

static int exit_code(const struct leaks_view *view)
{
	return view->count ? EXIT_FOUND : report_completeness(view->look);
}

static struct error *report_look(struct look *look, const struct leaks_settings *settings,
                                 const struct seen *seen, size_t seen_count,
                                 const struct target_exit *command_exit, int *ret_exit)
{
	struct leaks_view view = { .look = look, .settings = settings };

	TRY(rules_open(&settings->exclude, &settings->suppressions, look->arena, &view.rules));
	if (settings->has_trace)
		TRY(leaks_trace_block(look, settings->trace, &view.traced));
	if (settings->reference_tree)
		TRY(leaks_reference_tree(look, settings->reference_tree, &view.tree));
	view_roots(&view, seen, seen_count);
	view_children(&view);
	if (settings->common.output_graph)
		TRY(report_snapshot(look, &settings->common));
	TRY(print_report(&view, command_exit));
	*ret_exit = exit_code(&view);
	return NULL;
}

static struct error *report_target(const char *target, const struct leaks_settings *settings,
                                   const struct target_exit *command_exit, struct arena *arena,
                                   int *ret_exit)
{
	struct target_options options = report_target_options(
		&settings->common, TARGET_WANT_MEMORY | TARGET_WANT_KERNEL_ROOTS |
					   (settings->common.output_graph ? TARGET_WANT_PAGES : 0));
	struct seen seen[2] = { 0 };
	size_t seen_count = 0;
	struct error *error;
	struct look look;

	if (settings->diff_from)
		TRY(seen_read(settings->diff_from, &options, false, arena, &seen[seen_count++]));
	if (settings->has_confirm) {
		TRY(seen_read(target, &options, true, arena, &seen[seen_count++]));
		os_sleep_ns(settings->confirm_ns);
	}
	TRY(look_open(target, &options, LOOK_GRAPH, &look));
	error = report_look(&look, settings, seen, seen_count, command_exit, ret_exit);
	look_close(&look);
	return error;
}

// Runs the command up to its exit and looks at it there.
static struct error *report_at_exit(const struct leaks_settings *settings, struct arena *arena,
                                    int *ret_exit)
{
	struct target_exit command_exit;
	struct error *error;

	TRY(target_launch(settings->at_exit.v, settings->at_exit.n, settings->at_exit_variables,
	                  &command_exit));
	error = report_target(arena_format(arena, "%d", command_exit.pid), settings, &command_exit,
	                      arena, ret_exit);
	target_launch_end(&command_exit);
	return error;
}

struct error *report_leaks(const char *target, const struct leaks_settings *settings, int *ret_exit)
{
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	if (settings->at_exit.n)
		error = report_at_exit(settings, &arena, ret_exit);
	else
		error = report_target(target, settings, NULL, &arena, ret_exit);
	arena_deinit(&arena);
	return error;
}
