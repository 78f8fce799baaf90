// SPDX-License-Identifier: MIT
// What the files of call trees share: items on their way along stacks. Many stacks walk as one item where
// their rest is the same.
#pragma once

#include "history/history_impl.h"

// Stacks that have come to the same frame, or pass through the same node of the recording. next: inverted, its
// first frame that is still ahead; standard, how many of its frames are still ahead.
struct tree_item {
	uint64_t count, bytes;
	const struct history_frame *frame; // the one that it came to
	uint32_t node, next;
};

struct tree_items {
	VEC(struct tree_item) list;
};

// The nodes that stacks end at or pass through. There are millions in a recording of deep recursions: so no
// node has sums of its own. The stacks are put in the order of a walk through the nodes, in which those that pass
// through a node lie side by side, with the sums of all that lie before.
struct tree_node {
	uint32_t child, sibling; // the first one, the next one; 0 none
	uint32_t start;          // the first stack that passes through
};

struct tree_before {
	uint64_t count, bytes;
};

struct tree_paths {
	struct history *history;
	const struct history_tree_options *options;
	struct tree_node
		*nodes; // per node of the recording; [0] is above all. NULL: not needed yet
	VEC(struct tree_before) stacks; // and the end of the last one
	VEC(uint32_t) touched;          // the nodes that are in use, ascending
	bool is_dense;                  // touched has not all of them, for they are many
	struct tree_items pending;
};

void tree_paths_init(struct tree_paths *paths, struct history *history,
                     const struct history_tree_options *options);
void tree_paths_deinit(struct tree_paths *paths);

// Whether the tree has a branch for the frame below a branch for `behind` (NULL: the first one).
bool tree_takes(const struct tree_paths *paths, const struct history_frame *behind,
                const struct history_frame *frame);
// Whether it has one for any frame of the stack.
bool tree_takes_any(const struct tree_paths *paths, uint32_t node);

// Takes the nodes of these stacks, which ascend by node and have one, instead of those before.
void tree_paths_take(struct tree_paths *paths, const struct history_sum *const *sums, size_t count);
// What ends at the item's node. The item has all that passes through.
struct tree_before tree_paths_own(const struct tree_paths *paths, const struct tree_item *item);
// Appends an item for each node that is called from the item's; next is 0. An item of zeros with the sums of all
// stacks stands above all.
void tree_paths_called(const struct tree_paths *paths, const struct tree_item *item,
                       struct tree_items *ret);

// From the branch on to the next frames, inwards (standard) or outwards (inverted): each becomes an item in
// ret. Stacks that end at the branch become its own.
void tree_paths_step(struct tree_paths *paths, const struct tree_item *item,
                     struct history_branch *branch, struct tree_items *ret);

// The children of the root, in flat mode, of the nodes that were taken; all: the item above all.
void tree_flat_build(struct tree_paths *paths, const struct tree_item *all,
                     struct history_tree *tree);
