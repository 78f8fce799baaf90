// SPDX-License-Identifier: MIT
// The ways of many stacks through a call tree, step by step. Outwards each stack goes to its callers, and
// stacks whose rest is the same go on as one (tree.c merges them). Inwards whole subtrees of the recording's
// nodes go as one. Called by tree.c and tree_flat.c.
#include <stdlib.h>
#include <string.h>

#include "history/tree_impl.h"

static size_t nodes_bytes(const struct history *history)
{
	return ((size_t)history->given.node_count + 1) * sizeof(struct tree_node);
}

void tree_paths_init(struct tree_paths *paths, struct history *history,
                     const struct history_tree_options *options)
{
	*paths = (struct tree_paths){ .history = history, .options = options };
	vec_init(&paths->stacks, &os_page_source);
	vec_init(&paths->touched, &os_page_source);
	vec_init(&paths->pending.list, &os_page_source);
}

void tree_paths_deinit(struct tree_paths *paths)
{
	if (paths->nodes)
		os_page_source.resize(paths->nodes, nodes_bytes(paths->history), 0);
	vec_deinit(&paths->stacks);
	vec_deinit(&paths->touched);
	vec_deinit(&paths->pending.list);
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
// At least so many nodes of the recording for one in use, or all of them are passed over.
#define DENSE   16
#define TOUCHED UINT32_MAX // sibling of a node that is in use and not linked yet

static uint32_t node_of(const struct tree_paths *paths, const struct history_sum *sum)
{
	return sum->node < paths->history->given.node_count ? sum->node : 0;
}

// Of few stacks the nodes are listed, so that many threads with few each cost little.
static void forget(struct tree_paths *paths)
{
	if (!paths->nodes)
		paths->nodes = os_page_source.resize(NULL, 0, nodes_bytes(paths->history));
	if (paths->is_dense)
		memset(paths->nodes, 0, nodes_bytes(paths->history));
	for (size_t i = 0; i < paths->touched.n; i++)
		paths->nodes[paths->touched.v[i]] = (struct tree_node){ 0 };
	paths->nodes[0] = (struct tree_node){ 0 };
	paths->touched.n = 0;
	paths->is_dense = false;
}

static void touch(struct tree_paths *paths, uint32_t node)
{
	while (node && !paths->nodes[node].sibling && !paths->is_dense) {
		paths->nodes[node].sibling = TOUCHED;
		vec_push(&paths->touched, node);
		node = history_parent(paths->history, node);
		paths->is_dense = paths->touched.n > paths->history->given.node_count / DENSE;
	}
}

static int compare_nodes(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void touch_all(struct tree_paths *paths, const struct history_sum *const *sums, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		touch(paths, node_of(paths, sums[i]));
		paths->nodes[node_of(paths, sums[i])].start = 1;
	}
	if (paths->is_dense)
		paths->touched.n = 0;
	else if (paths->touched.n)
		qsort(paths->touched.v, paths->touched.n, sizeof(*paths->touched.v), compare_nodes);
}

// The nodes that may be in use, ascending; not the one above all.
static uint32_t used_count(const struct tree_paths *paths)
{
	return paths->is_dense ? paths->history->given.node_count - 1 : (uint32_t)paths->touched.n;
}

static uint32_t used(const struct tree_paths *paths, uint32_t i)
{
	return paths->is_dense ? i + 1 : paths->touched.v[i];
}

// Counts in start how many nodes with stacks of their own lie at and below each, and links them. Callers have the
// lower numbers.
static void link_nodes(struct tree_paths *paths)
{
	for (uint32_t i = used_count(paths); i-- > 0;) {
		uint32_t node = used(paths, i);
		struct tree_node *at = &paths->nodes[node], *caller;

		if (!at->start)
			continue;
		caller = &paths->nodes[history_parent(paths->history, node)];
		caller->start += at->start;
		at->sibling = caller->child;
		caller->child = node;
	}
}

// The stacks that end at a node come before those that pass on from it.
static void place_called(struct tree_paths *paths, uint32_t caller, uint32_t start)
{
	for (uint32_t node = paths->nodes[caller].child; node; node = paths->nodes[node].sibling) {
		uint32_t count = paths->nodes[node].start;

		paths->nodes[node].start = start;
		start += count;
	}
}

static void place_stacks(struct tree_paths *paths, const struct history_sum *const *sums,
                         size_t count)
{
	size_t sum = 0;

	place_called(paths, 0, 0);
	for (uint32_t i = 0; i < used_count(paths); i++) {
		uint32_t node = used(paths, i), start = paths->nodes[node].start;
		bool ends = sum < count && node_of(paths, sums[sum]) == node;

		for (; sum < count && node_of(paths, sums[sum]) == node; sum++) {
			paths->stacks.v[start].count += sums[sum]->count;
			paths->stacks.v[start].bytes += sums[sum]->bytes;
		}
		if (paths->nodes[node].child)
			place_called(paths, node, start + ends);
	}
	paths->nodes[0].start = 0;
}

// Each stack's sums become those of all before it.
static void sum_up_before(struct tree_paths *paths)
{
	struct tree_before before = { 0 };

	for (size_t i = 0; i < paths->stacks.n; i++) {
		struct tree_before own = paths->stacks.v[i];

		paths->stacks.v[i] = before;
		before.count += own.count;
		before.bytes += own.bytes;
	}
}

void tree_paths_take(struct tree_paths *paths, const struct history_sum *const *sums, size_t count)
{
	forget(paths);
	touch_all(paths, sums, count);
	link_nodes(paths);
	paths->stacks.n = 0;
	vec_reserve(&paths->stacks, paths->nodes[0].start + 1u);
	paths->stacks.n = paths->nodes[0].start + 1u;
	memset(paths->stacks.v, 0, paths->stacks.n * sizeof(*paths->stacks.v));
	place_stacks(paths, sums, count);
	sum_up_before(paths);
}

struct tree_before tree_paths_own(const struct tree_paths *paths, const struct tree_item *item)
{
	const struct tree_node *node = &paths->nodes[item->node];
	const struct tree_before *from = &paths->stacks.v[node->start], *to;

	if (!node->child)
		return (struct tree_before){ item->count, item->bytes };
	to = &paths->stacks.v[paths->nodes[node->child].start];
	return (struct tree_before){ to->count - from->count, to->bytes - from->bytes };
}

void tree_paths_called(const struct tree_paths *paths, const struct tree_item *item,
                       struct tree_items *ret)
{
	const struct tree_before *start = &paths->stacks.v[paths->nodes[item->node].start];
	const struct tree_before end = { start->count + item->count, start->bytes + item->bytes };

	for (uint32_t node = paths->nodes[item->node].child; node;) {
		uint32_t next = paths->nodes[node].sibling;
		const struct tree_before *from = &paths->stacks.v[paths->nodes[node].start];
		const struct tree_before *to =
			next ? &paths->stacks.v[paths->nodes[next].start] : &end;

		vec_push(&ret->list, ((struct tree_item){ .count = to->count - from->count,
		                                          .bytes = to->bytes - from->bytes,
		                                          .node = node }));
		node = next;
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

	history_frames_of(paths->history, item->node, &frames, &count);
	for (uint32_t i = item->next; i-- > 0;) {
		if (!tree_takes(paths, branch->frame, &frames[i]))
			continue;
		arrive(item, &frames[i], i, ret);
		return true;
	}
	return false;
}

static void push_called(struct tree_paths *paths, const struct tree_item *caller)
{
	const struct history_frame *frames;
	size_t first = paths->pending.list.n, count;

	tree_paths_called(paths, caller, &paths->pending);
	for (size_t i = first; i < paths->pending.list.n; i++) {
		struct tree_item *item = &paths->pending.list.v[i];

		history_frames_of(paths->history, item->node, &frames, &count);
		item->next = (uint32_t)count;
	}
}

static void step_inwards(struct tree_paths *paths, const struct tree_item *from,
                         struct history_branch *branch, struct tree_items *ret)
{
	struct tree_item item = *from;

	for (;;) {
		if (!step_through(paths, &item, branch, ret)) {
			struct tree_before own = tree_paths_own(paths, &item);

			branch->own_count += own.count;
			branch->own_bytes += own.bytes;
			push_called(paths, &item);
		}
		if (!paths->pending.list.n)
			break;
		item = paths->pending.list.v[--paths->pending.list.n];
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
