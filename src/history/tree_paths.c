// SPDX-License-Identifier: MIT
// The ways of many stacks through a call tree, step by step. Outwards each stack goes to its callers, and
// stacks whose rest is the same go on as one (tree.c merges them). Inwards whole subtrees of the recording's
// nodes go as one. Called by tree.c and tree_flat.c.
#include <stdlib.h>
#include <string.h>

#include "history/tree_impl.h"

static size_t index_bytes(const struct history *history)
{
	return ((size_t)history->given.node_count + 1) * sizeof(uint32_t);
}

void tree_paths_init(struct tree_paths *paths, struct history *history,
                     const struct history_tree_options *options)
{
	*paths = (struct tree_paths){ .history = history, .options = options };
	vec_init(&paths->nodes, &os_page_source);
	vec_init(&paths->touched, &os_page_source);
	vec_init(&paths->pending, &os_page_source);
	paths->index = os_page_source.resize(NULL, 0, index_bytes(history));
}

void tree_paths_deinit(struct tree_paths *paths)
{
	os_page_source.resize(paths->index, index_bytes(paths->history), 0);
	vec_deinit(&paths->nodes);
	vec_deinit(&paths->touched);
	vec_deinit(&paths->pending);
}

// --- which frames take part ----------------------------------------------------------------------
static bool is_system(const struct history_frame *frame)
{
	static const char *const folders[] = { "/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/",
		                               "/usr/libexec/" };

	if (!frame->module)
		return false;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (text_starts_with(frame->module->path, folders[i]))
			return true;
	return strcmp(frame->module->path, "[vdso]") == 0;
}

bool tree_takes(const struct tree_paths *paths, const struct history_frame *behind,
                const struct history_frame *frame)
{
	if (paths->options->charge_system_libraries && is_system(frame))
		return false;
	return !paths->options->collapse_recursion || !behind || behind->key != frame->key;
}

bool tree_takes_any(const struct tree_paths *paths, uint32_t node)
{
	const struct history_frame *frames;
	struct log_node found;
	size_t count;

	for (; history_node(paths->history, node, &found); node = found.parent) {
		history_frames_of(paths->history, node, &frames, &count);
		for (size_t i = 0; i < count; i++)
			if (tree_takes(paths, NULL, &frames[i]))
				return true;
	}
	return false;
}

// --- the nodes of the stacks ---------------------------------------------------------------------
static void forget(struct tree_paths *paths)
{
	for (size_t i = 0; i < paths->touched.n; i++)
		paths->index[paths->touched.v[i]] = 0;
	paths->nodes.n = paths->touched.n = 0;
}

static void touch(struct tree_paths *paths, uint32_t node)
{
	struct log_node found;

	for (; history_node(paths->history, node, &found) && !paths->index[node];
	     node = found.parent) {
		vec_push(&paths->touched, node);
		paths->index[node] = UINT32_MAX;
	}
}

static int compare_nodes(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

// Callers have the lower numbers.
static void link_nodes(struct tree_paths *paths)
{
	size_t count = paths->touched.n;

	if (count)
		qsort(paths->touched.v, count, sizeof(*paths->touched.v), compare_nodes);
	vec_reserve(&paths->nodes, count + 1);
	vec_push(&paths->nodes, ((struct tree_node){ 0 }));
	for (size_t i = 0; i < count; i++) {
		uint32_t node = paths->touched.v[i];
		uint32_t caller = history_parent(paths->history, node);
		uint32_t parent =
			caller < paths->history->given.node_count ? paths->index[caller] : 0;
		struct tree_node added = { .node = node,
			                   .parent = parent,
			                   .next_sibling = paths->nodes.v[parent].first_child };

		vec_push(&paths->nodes, added);
		paths->index[node] = paths->nodes.v[parent].first_child = (uint32_t)i + 1;
	}
}

void tree_paths_take(struct tree_paths *paths, const struct history_sum *const *sums, size_t count)
{
	forget(paths);
	for (size_t i = 0; i < count; i++)
		touch(paths, sums[i]->node);
	link_nodes(paths);
	for (size_t i = 0; i < count; i++) {
		uint32_t node =
			sums[i]->node < paths->history->given.node_count ? sums[i]->node : 0;
		struct tree_node *at = &paths->nodes.v[paths->index[node]];

		at->own_count += sums[i]->count;
		at->own_bytes += sums[i]->bytes;
	}
	for (size_t i = paths->nodes.n; i-- > 1;) {
		struct tree_node *at = &paths->nodes.v[i];

		at->count += at->own_count;
		at->bytes += at->own_bytes;
		paths->nodes.v[at->parent].count += at->count;
		paths->nodes.v[at->parent].bytes += at->bytes;
	}
}

// --- steps ---------------------------------------------------------------------------------------
static void arrive(const struct tree_item *item, const struct history_frame *frame, uint32_t next,
                   struct tree_items *ret)
{
	struct tree_item arrived = *item;

	arrived.frame = frame;
	arrived.next = next;
	vec_push(&ret->list, arrived);
}

static void step_outwards(struct tree_paths *paths, struct tree_item item,
                          struct history_branch *branch, struct tree_items *ret)
{
	const struct history_frame *frames;
	struct log_node found;
	size_t count;

	for (; history_node(paths->history, item.node, &found); item.node = found.parent) {
		history_frames_of(paths->history, item.node, &frames, &count);
		for (uint32_t i = item.next; i < count; i++) {
			if (!tree_takes(paths, branch->frame, &frames[i]))
				continue;
			arrive(&item, &frames[i], i + 1, ret);
			return;
		}
		item.next = 0;
	}
	branch->own_count += item.count;
	branch->own_bytes += item.bytes;
}

// The frames of the node that are ahead; false: the branch has none of them.
static bool step_through(struct tree_paths *paths, const struct tree_item *item,
                         const struct history_branch *branch, struct tree_items *ret)
{
	const struct history_frame *frames;
	size_t count;

	history_frames_of(paths->history, paths->nodes.v[item->node].node, &frames, &count);
	for (uint32_t i = item->next; i-- > 0;) {
		if (!tree_takes(paths, branch->frame, &frames[i]))
			continue;
		arrive(item, &frames[i], i, ret);
		return true;
	}
	return false;
}

static void push_called(struct tree_paths *paths, uint32_t caller)
{
	const struct history_frame *frames;
	size_t count;

	for (uint32_t at = paths->nodes.v[caller].first_child; at;
	     at = paths->nodes.v[at].next_sibling) {
		const struct tree_node *node = &paths->nodes.v[at];
		struct tree_item item = { .count = node->count, .bytes = node->bytes, .node = at };

		history_frames_of(paths->history, node->node, &frames, &count);
		item.next = (uint32_t)count;
		vec_push(&paths->pending, item);
	}
}

static void step_inwards(struct tree_paths *paths, const struct tree_item *from,
                         struct history_branch *branch, struct tree_items *ret)
{
	struct tree_item item = *from;

	for (;;) {
		if (!step_through(paths, &item, branch, ret)) {
			branch->own_count += paths->nodes.v[item.node].own_count;
			branch->own_bytes += paths->nodes.v[item.node].own_bytes;
			push_called(paths, item.node);
		}
		if (!paths->pending.n)
			break;
		item = paths->pending.v[--paths->pending.n];
	}
}

void tree_paths_step(struct tree_paths *paths, const struct tree_item *item,
                     struct history_branch *branch, struct tree_items *ret)
{
	if (paths->options->mode == HISTORY_TREE_INVERTED)
		step_outwards(paths, *item, branch, ret);
	else
		step_inwards(paths, item, branch, ret);
}
