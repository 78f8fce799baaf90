// SPDX-License-Identifier: MIT
// Every function once, with all that was made below it: each node of the recording counts for a function
// when no caller of it is the same function. Called by tree.c.
#include "history/tree_impl.h"

#define LEAVE 0x80000000u

struct function {
	uint32_t branch;  // 0: none yet
	uint32_t entered; // how often it stands on the way
};

struct flat {
	struct tree_paths *paths;
	struct history_tree *tree;
	VEC(struct function) functions; // by key
	VEC(uint32_t) pending;          // nodes to enter, or to leave
};

static struct function *function_of(struct flat *flat, const struct history_frame *frame)
{
	struct function *function;

	while (flat->functions.n <= frame->key)
		(void)vec_add(&flat->functions);
	function = &flat->functions.v[frame->key];
	if (!function->branch) {
		function->branch = (uint32_t)flat->tree->branches.n;
		vec_push(&flat->tree->branches,
		         ((struct history_branch){
				 .frame = frame, .thread = HISTORY_NO_THREAD, .depth = 1 }));
	}
	return function;
}

static void count_own(struct flat *flat, const struct tree_node *node)
{
	const struct history_frame *frames;
	struct log_node found;
	uint32_t at = node->node;
	size_t count;

	for (; history_node(flat->paths->history, at, &found); at = found.parent) {
		history_frames_of(flat->paths->history, at, &frames, &count);
		for (size_t i = 0; i < count; i++) {
			struct history_branch *branch;

			if (!tree_takes(flat->paths, NULL, &frames[i]))
				continue;
			branch = &flat->tree->branches.v[function_of(flat, &frames[i])->branch];
			branch->own_count += node->own_count;
			branch->own_bytes += node->own_bytes;
			return;
		}
	}
}

static void enter_frame(struct flat *flat, const struct tree_node *node,
                        const struct history_frame *frame)
{
	struct function *function = function_of(flat, frame);
	struct history_branch *branch = &flat->tree->branches.v[function->branch];

	branch->several |= branch->frame->address != frame->address;
	if (function->entered++)
		return;
	branch->count += node->count;
	branch->bytes += node->bytes;
}

static void pass(struct flat *flat, uint32_t at, bool enter)
{
	const struct tree_node *node = &flat->paths->nodes.v[at];
	const struct history_frame *frames;
	size_t count;

	history_frames_of(flat->paths->history, node->node, &frames, &count);
	for (size_t i = 0; i < count; i++) {
		if (!tree_takes(flat->paths, NULL, &frames[i]))
			continue;
		if (enter)
			enter_frame(flat, node, &frames[i]);
		else
			function_of(flat, &frames[i])->entered--;
	}
}

static void push_called(struct flat *flat, uint32_t caller)
{
	uint32_t at = flat->paths->nodes.v[caller].first_child;

	for (; at; at = flat->paths->nodes.v[at].next_sibling)
		vec_push(&flat->pending, at);
}

void tree_flat_build(struct tree_paths *paths, struct history_tree *tree)
{
	struct flat flat = { .paths = paths, .tree = tree };

	vec_init(&flat.functions, &os_page_source);
	vec_init(&flat.pending, &os_page_source);
	push_called(&flat, 0);
	while (flat.pending.n) {
		uint32_t at = flat.pending.v[--flat.pending.n];

		pass(&flat, at & ~LEAVE, !(at & LEAVE));
		if (at & LEAVE)
			continue;
		if (paths->nodes.v[at].own_count)
			count_own(&flat, &paths->nodes.v[at]);
		vec_push(&flat.pending, at | LEAVE);
		push_called(&flat, at);
	}
	vec_deinit(&flat.functions);
	vec_deinit(&flat.pending);
}
