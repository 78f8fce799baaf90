// SPDX-License-Identifier: MIT
// What the files of call trees share: items on their way along stacks. Many stacks walk as one item where
// their rest is the same.
#pragma once

#include "history/history_impl.h"

// Stacks that have come to the same frame. Inverted: node of the recording, next: its first frame that is
// still ahead. Standard: index of a tree_node, next: how many of its frames are still ahead.
struct tree_item {
	uint64_t count, bytes;
	const struct history_frame *frame; // the one that it came to
	uint32_t node, next;
};

// A node of the recording that stacks of the sums end at or pass through.
struct tree_node {
	uint32_t node, parent, first_child, next_sibling; // indexes from 1; 0 none
	uint64_t own_count, own_bytes;                    // of stacks that end here
	uint64_t count, bytes;                            // with those that pass through
};

struct tree_paths {
	struct history *history;
	const struct history_tree_options *options;
	VEC(struct tree_node) nodes; // v[0] is above all; parents stand before children
	uint32_t *index;             // per node of the recording: where it is in nodes; 0 nowhere
	VEC(uint32_t) touched;
	VEC(struct tree_item) pending;
};

struct tree_items {
	VEC(struct tree_item) list;
};

void tree_paths_init(struct tree_paths *paths, struct history *history,
                     const struct history_tree_options *options);
void tree_paths_deinit(struct tree_paths *paths);

// Whether the tree has a branch for the frame below a branch for `behind` (NULL: the first one).
bool tree_takes(const struct tree_paths *paths, const struct history_frame *behind,
                const struct history_frame *frame);
// Whether it has one for any frame of the stack.
bool tree_takes_any(const struct tree_paths *paths, uint32_t node);

// Takes the nodes of these stacks into paths->nodes, instead of those before.
void tree_paths_take(struct tree_paths *paths, const struct history_sum *const *sums, size_t count);

// From the branch on to the next frames, inwards (standard) or outwards (inverted): each becomes an item in
// ret. Stacks that end at the branch become its own.
void tree_paths_step(struct tree_paths *paths, const struct tree_item *item,
                     struct history_branch *branch, struct tree_items *ret);

// The children of the root, in flat mode, of the nodes that were taken.
void tree_flat_build(struct tree_paths *paths, struct history_tree *tree);
