// SPDX-License-Identifier: MIT
// The stacks of leaked blocks: roots of one stack are shown together under it (leaks.c, leaks_tree.c).
#include <inttypes.h>
#include <stdlib.h>

#include "report/leaks_impl.h"
#include "report/stacks.h"

uint32_t leaks_stack(const struct leaks_view *view, uint32_t leak)
{
	if (view->settings->no_stacks)
		return 0;
	return stacks_node(view->look, view->look->graph->leaks[leak].lk_block);
}

// --- order ----------------------------------------------------------------------------------------
struct placed_root {
	uint32_t root, node;
	uint64_t bytes; // of all trees of its stack
	size_t place;   // before the sort
};

static int compare_node(const void *a, const void *b)
{
	const struct placed_root *x = a, *y = b;

	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

static int compare_bytes(const void *a, const void *b)
{
	const struct placed_root *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return compare_node(a, b);
}

static void add_up(const struct leaks_view *view, struct placed_root *placed)
{
	for (size_t i = 0, end; i < view->root_count; i = end) {
		uint64_t bytes = 0;

		for (end = i; end < view->root_count && placed[end].node == placed[i].node; end++)
			bytes += view->look->graph->leaks[placed[end].root].lk_tree_bytes;
		for (size_t k = i; k < end; k++)
			placed[k].bytes = bytes;
	}
}

void leaks_sort_by_stack(struct leaks_view *view)
{
	size_t n = view->root_count;
	struct placed_root *placed;
	uint32_t *roots;

	if (!stacks_known(view->look) || view->settings->no_stacks)
		return;
	placed = arena_array(view->look->arena, n, sizeof(*placed));
	roots = arena_array(view->look->arena, n, sizeof(*roots));
	for (size_t i = 0; i < n; i++)
		placed[i] = (struct placed_root){ .root = view->roots[i],
			                          .node = leaks_stack(view, view->roots[i]),
			                          .place = i };
	qsort(placed, n, sizeof(*placed), compare_node);
	add_up(view, placed);
	qsort(placed, n, sizeof(*placed), compare_bytes);
	for (size_t i = 0; i < n; i++)
		roots[i] = placed[i].root;
	view->roots = roots;
}

size_t leaks_same_stack(const struct leaks_view *view, size_t root)
{
	uint32_t node = leaks_stack(view, view->roots[root]);
	size_t end = root + 1;

	while (end < view->root_count && leaks_stack(view, view->roots[end]) == node)
		end++;
	return end - root;
}

// --- printing -------------------------------------------------------------------------------------
void leaks_print_stack(struct emitter *e, const struct leaks_view *view, size_t root, size_t n)
{
	const struct leak *leak = &view->look->graph->leaks[view->roots[root]];
	uint32_t node = leaks_stack(view, view->roots[root]);
	const struct type *type = types_of(view->look->types, leak->lk_block);
	const char *name = type ? type->name : stacks_name(view->look, node);

	if (!node || !name)
		return;
	emit_text(e, "STACK OF %zu INSTANCE%s OF '%s<%s>':\n", n, n == 1 ? "" : "S",
	          leak->lk_kind == LEAK_CYCLE ? "ROOT CYCLE: " : "ROOT LEAK: ", name);
	stacks_print(e, view->look, node, !view->settings->no_sources);
	emit_text(e, "====\n");
}

void leaks_print_list_stack(struct emitter *e, const struct leaks_view *view, uint32_t leak)
{
	uint32_t node = leaks_stack(view, leak);

	if (!node)
		return;
	if (view->settings->full_stacks) {
		emit_text(e, "        Call stack:\n");
		stacks_print(e, view->look, node, !view->settings->no_sources);
		return;
	}
	emit_text(e, "        Call stack: ");
	stacks_print_line(e, view->look, node);
	emit_text(e, "\n");
}

static int compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

// Each stack once; "stack_id" of a leak names it.
void leaks_emit_stacks(struct emitter *e, const struct leaks_view *view, const bool *shown)
{
	const struct graph *graph = view->look->graph;
	uint32_t *nodes;
	size_t n = 0;

	if (!stacks_known(view->look) || view->settings->no_stacks)
		return;
	nodes = arena_array(view->look->arena, graph->leak_count, sizeof(*nodes));
	for (uint32_t i = 0; i < graph->leak_count; i++) {
		const struct leak *root = graph_leak_of(graph, graph->leaks[i].lk_root);

		if (root && shown[root - graph->leaks])
			nodes[n++] = leaks_stack(view, i);
	}
	qsort(nodes, n, sizeof(*nodes), compare_numbers);
	emit_array(e, "stacks");
	for (size_t i = 0; i < n; i++) {
		if (!nodes[i] || (i && nodes[i] == nodes[i - 1]))
			continue;
		emit_object(e, NULL);
		emit_u64(e, "id", nodes[i], NULL);
		stacks_emit(e, "frames", view->look, nodes[i]);
		emit_object_end(e);
	}
	emit_array_end(e);
}
