// SPDX-License-Identifier: MIT
// What the files of the leaks report share (leaks.c, leaks_tree.c, leaks_trace.c, suppress.c).
#pragma once

#include "report/report.h"

struct rules;

// The leaks that pass all filters. A filter drops whole trees, by their root.
struct leaks_view {
	struct look *look;
	const struct leaks_settings *settings;
	struct rules *rules;
	const uint32_t *roots; // indices into graph.leaks, biggest tree first
	size_t root_count;
	const uint32_t *children; // indices into graph.leaks, grouped by owner, in order of offset
	const uint32_t
		*child_start; // children of leak i: children[child_start[i] .. child_start[i + 1])
	uint32_t traced;      // the block of -trace
	struct reference_tree *tree; // of -referenceTree
	uint64_t count, bytes;       // of the shown trees
	uint64_t dropped_count, dropped_bytes;
};

static inline const struct heap_block *view_block(const struct leaks_view *view, uint32_t leak)
{
	return &view->look->heaps->blocks[view->look->graph->leaks[leak].lk_block];
}

// leaks_tree.c
void leaks_print_trees(struct emitter *e, const struct leaks_view *view);
void leaks_print_list(struct emitter *e, const struct leaks_view *view);
void leaks_emit_json(struct emitter *e, const struct leaks_view *view);

// "<ns::Session 0x5581a0>" or "0x5581a0". In the look's arena.
const char *leaks_block_text(struct look *look, uint32_t block);

// leaks_stacks.c: the node of the stack that allocated a leak; 0 unknown, or not to be shown.
uint32_t leaks_stack(const struct leaks_view *view, uint32_t leak);
// Puts the roots of one stack next to each other, those that leak most first.
void leaks_sort_by_stack(struct leaks_view *view);
// How many roots from the given one on have its stack; all that are left, when stacks are not known.
size_t leaks_same_stack(const struct leaks_view *view, size_t root);
void leaks_print_stack(struct emitter *e, const struct leaks_view *view, size_t root, size_t n);
void leaks_print_list_stack(struct emitter *e, const struct leaks_view *view, uint32_t leak);
void leaks_emit_stacks(struct emitter *e, const struct leaks_view *view, const bool *shown);

// leaks_trace.c
// What can be asked wrongly is found out before anything is printed.
struct reference_tree;
struct error *leaks_trace_block(struct look *look, uint64_t address, uint32_t *ret_block);
struct error *leaks_trace(struct emitter *e, struct look *look, uint32_t block);
struct error *leaks_reference_tree(struct look *look, const char *filter,
                                   struct reference_tree **ret);
void leaks_print_reference_tree(struct emitter *e, struct reference_tree *tree);

// suppress.c: rules that drop trees. rules_open reads the files; NULL lists are fine.
struct error *rules_open(const struct option_list *exclude, const struct option_list *files,
                         struct arena *arena, struct rules **ret);
bool rules_match(struct rules *rules, struct look *look, uint32_t leak);
void rules_emit_unused(struct emitter *e, const struct rules *rules);
