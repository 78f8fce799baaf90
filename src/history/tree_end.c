// SPDX-License-Identifier: MIT
// Where a stack ends in a call tree that was built. Called for the blocks that -showContent lists.
#include "history/tree_impl.h"

static bool find_child(const struct history_tree *tree, uint32_t parent,
                       const struct history_branch *like, uint32_t *ret)
{
	const struct history_branch *v = tree->branches.v;

	for (uint32_t at = v[parent].first_child; at; at = v[at].next_sibling) {
		bool same = like->frame ? v[at].frame && v[at].frame->key == like->frame->key
		                        : !v[at].frame && v[at].thread == like->thread &&
		                                  v[at].before == like->before;

		if (same) {
			*ret = at;
			return true;
		}
	}
	return false;
}

// From the branch *at on; *at is left where the tree ends.
static bool follow(const struct tree_paths *paths, const struct history_tree *tree,
                   const struct history_frame *const *stack, size_t count, uint32_t *at)
{
	bool inverted = paths->options->mode == HISTORY_TREE_INVERTED;

	for (size_t i = 0; i < count; i++) {
		const struct history_frame *frame = stack[inverted ? i : count - 1 - i];

		if (tree_takes(paths, tree->branches.v[*at].frame, frame) &&
		    !find_child(tree, *at, &(struct history_branch){ .frame = frame }, at))
			return false;
	}
	return true;
}

bool history_tree_end(struct history *history, const struct history_tree *tree,
                      const struct history_tree_options *options, const struct history_sum *sum,
                      uint32_t *ret)
{
	struct tree_paths paths = { .history = history, .options = options };
	struct history_branch like = { .thread = sum->thread };
	const struct history_frame *const *stack;
	struct arena arena;
	bool found = true;
	size_t count;

	*ret = 0;
	if (options->by_thread && sum->thread != HISTORY_NO_THREAD)
		found = find_child(tree, 0, &like, ret);
	if (found && !tree_takes_any(&paths, sum->node)) {
		like = (struct history_branch){ .thread = HISTORY_NO_THREAD,
			                        .before = sum->before };
		return find_child(tree, *ret, &like, ret);
	}
	arena_init(&arena, &os_page_source);
	history_stack(history, sum->node, &arena, &stack, &count);
	found = found && follow(&paths, tree, stack, count, ret);
	arena_deinit(&arena);
	return found;
}
