// SPDX-License-Identifier: MIT
// Every function once, with all that was made below it: each node of the recording counts for a function
// when no caller of it is the same function. Called by tree.c.
#include "history/tree_impl.h"

enum { ENTER, LEAVE }; // next of an item

struct function {
	uint32_t branch;  // 0: none yet
	uint32_t entered; // how often it stands on the way
};

struct flat {
	struct tree_paths *paths;
	struct history_tree *tree;
	VEC(struct function) functions; // by key
	struct tree_items pending;      // nodes to enter, or to leave
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

static void count_own(struct flat *flat, const struct tree_item *item)
{
	struct tree_before own = tree_paths_own(flat->paths, item);
	const struct history_frame *frames;
	struct log_node found;
	uint32_t at = own.count ? item->node : 0;
	size_t count;

	for (; history_node(flat->paths->history, at, &found); at = found.parent) {
		history_frames_of(flat->paths->history, at, &frames, &count);
		for (size_t i = 0; i < count; i++) {
			struct history_branch *branch;

			if (!tree_takes(flat->paths, NULL, &frames[i]))
				continue;
			branch = &flat->tree->branches.v[function_of(flat, &frames[i])->branch];
			branch->own_count += own.count;
			branch->own_bytes += own.bytes;
			return;
		}
	}
}

static void enter_frame(struct flat *flat, const struct tree_item *item,
                        const struct history_frame *frame)
{
	struct function *function = function_of(flat, frame);
	struct history_branch *branch = &flat->tree->branches.v[function->branch];

	branch->several |= branch->frame->address != frame->address;
	if (function->entered++)
		return;
	branch->count += item->count;
	branch->bytes += item->bytes;
}

static void pass(struct flat *flat, const struct tree_item *item)
{
	const struct history_frame *frames;
	size_t count;

	history_frames_of(flat->paths->history, item->node, &frames, &count);
	for (size_t i = 0; i < count; i++) {
		if (!tree_takes(flat->paths, NULL, &frames[i]))
			continue;
		if (item->next == ENTER)
			enter_frame(flat, item, &frames[i]);
		else
			function_of(flat, &frames[i])->entered--;
	}
}

void tree_flat_build(struct tree_paths *paths, const struct tree_item *all,
                     struct history_tree *tree)
{
	struct flat flat = { .paths = paths, .tree = tree };

	vec_init(&flat.functions, &os_page_source);
	vec_init(&flat.pending.list, &os_page_source);
	tree_paths_called(paths, all, &flat.pending);
	while (flat.pending.list.n) {
		struct tree_item item = flat.pending.list.v[--flat.pending.list.n];

		pass(&flat, &item);
		if (item.next == LEAVE)
			continue;
		count_own(&flat, &item);
		item.next = LEAVE;
		vec_push(&flat.pending.list, item);
		tree_paths_called(paths, &item, &flat.pending);
	}
	vec_deinit(&flat.functions);
	vec_deinit(&flat.pending.list);
}
