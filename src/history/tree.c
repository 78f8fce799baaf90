// SPDX-License-Identifier: MIT
// Call trees out of sums over stacks: equal sequences of functions become one branch. Standard mode goes
// from the outermost function inwards, inverted mode from the one that called malloc outwards, flat mode
// lists every function once with all that was made below it.
//
// A tree grows level by level: what came to a branch is parted by the next function of its stacks. Parts
// that are too small are dropped before they grow, and a branch whose children are more than the tree may
// still have stays without them. So memory is bounded however deep and different the stacks are.
#include <stdlib.h>
#include <string.h>

#include "history/tree_impl.h"

#define ROOT 0

// Which items came to a branch.
struct part {
	uint32_t branch;
	size_t first, last;
};

struct parts {
	VEC(struct part) list;
};

struct member {
	uint32_t thread, sum;
};

struct builder {
	const struct history_tree_options *options;
	const struct history_sums *sums;
	struct history_tree *tree;
	struct tree_paths paths;
	VEC(struct member) members;             // all sums, thread by thread
	VEC(const struct history_sum *) stacks; // of the thread, with a frame that takes part
	struct history_sum without[2];          // the others: unknown, from before
	struct tree_items items, items_below;   // of a level, of the one below it
	struct parts parts, parts_below;
	size_t most; // branches, for this thread
};

static bool is_big_enough(const struct history_tree_options *options, uint64_t count,
                          uint64_t bytes)
{
	return count >= options->least_count && bytes >= options->least_bytes;
}

static uint32_t add_branch(struct builder *builder, uint32_t parent,
                           const struct history_branch *branch)
{
	struct history_branch added = *branch;

	added.parent = parent;
	added.depth = builder->tree->branches.v[parent].depth + 1;
	vec_push(&builder->tree->branches, added);
	return (uint32_t)builder->tree->branches.n - 1;
}

// --- growing -------------------------------------------------------------------------------------
static int compare_items(const void *a, const void *b)
{
	const struct tree_item *x = a, *y = b;

	if (x->frame->key != y->frame->key)
		return x->frame->key < y->frame->key ? -1 : 1;
	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	return x->next < y->next ? -1 : x->next > y->next;
}

// Makes one of the items [first, last), all of one function, whose rest is the same; returns their end.
static size_t merge(struct tree_item *v, size_t first, size_t last)
{
	size_t kept = first;

	for (size_t i = first + 1; i < last; i++) {
		if (v[i].node == v[kept].node && v[i].next == v[kept].next) {
			v[kept].count += v[i].count;
			v[kept].bytes += v[i].bytes;
		} else {
			v[++kept] = v[i];
		}
	}
	return kept + 1;
}

// The branch that the items make, not yet in the tree.
static struct history_branch branch_of(const struct tree_item *v, size_t first, size_t last)
{
	struct history_branch branch = { .frame = v[first].frame, .thread = HISTORY_NO_THREAD };

	for (size_t i = first; i < last; i++) {
		branch.count += v[i].count;
		branch.bytes += v[i].bytes;
		branch.several |= v[i].frame->address != branch.frame->address;
	}
	return branch;
}

static size_t end_of_function(const struct tree_item *v, size_t first, size_t last)
{
	size_t end = first + 1;

	while (end < last && v[end].frame->key == v[first].frame->key)
		end++;
	return end;
}

// One child: false when the tree has no room for it.
static bool add_child(struct builder *builder, uint32_t parent, size_t first, size_t last)
{
	struct tree_item *v = builder->items_below.list.v;
	struct history_branch branch = branch_of(v, first, last);
	struct part part = { .first = builder->items_below.list.n };
	size_t count;

	if (!is_big_enough(builder->options, branch.count, branch.bytes))
		return true;
	if (builder->tree->branches.n >= builder->most)
		return false;
	count = merge(v, first, last) - first;
	memmove(v + part.first, v + first, count * sizeof(*v));
	part.last = builder->items_below.list.n += count;
	part.branch = add_branch(builder, parent, &branch);
	vec_push(&builder->parts_below.list, part);
	return true;
}

// All children of a branch, or none, out of the items [first, ...) below it.
static void add_children(struct builder *builder, uint32_t parent, size_t first)
{
	struct tree_item *v = builder->items_below.list.v;
	size_t last = builder->items_below.list.n, end;
	size_t branches = builder->tree->branches.n, parts = builder->parts_below.list.n;

	builder->items_below.list.n = first;
	if (last - first > 1)
		qsort(v + first, last - first, sizeof(*v), compare_items);
	for (size_t i = first; i < last; i = end) {
		end = end_of_function(v, i, last);
		if (add_child(builder, parent, i, end))
			continue;
		builder->tree->branches.n = branches;
		builder->parts_below.list.n = parts;
		builder->items_below.list.n = first;
		builder->tree->branches.v[parent].cut = true;
		builder->tree->cut++;
		return;
	}
}

static void grow_branch(struct builder *builder, const struct part *part)
{
	size_t first = builder->items_below.list.n;

	for (size_t i = part->first; i < part->last; i++)
		tree_paths_step(&builder->paths, &builder->items.list.v[i],
		                &builder->tree->branches.v[part->branch], &builder->items_below);
	add_children(builder, part->branch, first);
}

// The items are at `start`.
static void grow(struct builder *builder, uint32_t start)
{
	vec_push(&builder->parts.list, ((struct part){ start, 0, builder->items.list.n }));
	while (builder->parts.list.n) {
		struct tree_items items = builder->items;
		struct parts parts = builder->parts;

		for (size_t i = 0; i < builder->parts.list.n; i++)
			grow_branch(builder, &builder->parts.list.v[i]);
		builder->items = builder->items_below;
		builder->parts = builder->parts_below;
		builder->items_below = items;
		builder->parts_below = parts;
		builder->items_below.list.n = builder->parts_below.list.n = 0;
	}
	builder->items.list.n = 0;
}

// --- thread by thread ----------------------------------------------------------------------------
static int compare_members(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->thread != y->thread)
		return x->thread < y->thread ? -1 : 1;
	return x->sum < y->sum ? -1 : x->sum > y->sum;
}

static void list_members(struct builder *builder)
{
	bool by_thread = builder->options->by_thread && builder->options->mode != HISTORY_TREE_FLAT;

	vec_reserve(&builder->members, builder->sums->sums.n);
	for (size_t i = 0; i < builder->sums->sums.n; i++) {
		uint32_t thread = builder->sums->sums.v[i].thread;

		vec_push(&builder->members,
		         ((struct member){ by_thread ? thread : HISTORY_NO_THREAD, (uint32_t)i }));
	}
	if (builder->members.n)
		qsort(builder->members.v, builder->members.n, sizeof(*builder->members.v),
		      compare_members);
}

static void take_members(struct builder *builder, size_t first, size_t last, uint64_t *ret_count,
                         uint64_t *ret_bytes)
{
	*ret_count = *ret_bytes = 0;
	builder->stacks.n = 0;
	memset(builder->without, 0, sizeof(builder->without));
	for (size_t i = first; i < last; i++) {
		const struct history_sum *sum = &builder->sums->sums.v[builder->members.v[i].sum];
		struct history_sum *without = &builder->without[sum->before];

		*ret_count += sum->count;
		*ret_bytes += sum->bytes;
		if (tree_takes_any(&builder->paths, sum->node)) {
			vec_push(&builder->stacks, sum);
			continue;
		}
		without->count += sum->count;
		without->bytes += sum->bytes;
	}
}

// Where nothing of a stack is left, because it is not known or all of it belongs to the system.
static void add_without(struct builder *builder, uint32_t start)
{
	for (int before = 0; before < 2; before++) {
		const struct history_sum *sum = &builder->without[before];

		if (sum->count && is_big_enough(builder->options, sum->count, sum->bytes))
			add_branch(builder, start,
			           &(struct history_branch){ .thread = HISTORY_NO_THREAD,
			                                     .count = sum->count,
			                                     .bytes = sum->bytes,
			                                     .own_count = sum->count,
			                                     .own_bytes = sum->bytes,
			                                     .before = before });
	}
}

// The item above all of the stacks.
static struct tree_item take_all(struct builder *builder)
{
	struct tree_item all = { 0 };

	tree_paths_take(&builder->paths, builder->stacks.v, builder->stacks.n);
	for (size_t i = 0; i < builder->stacks.n; i++) {
		all.count += builder->stacks.v[i]->count;
		all.bytes += builder->stacks.v[i]->bytes;
	}
	return all;
}

static void push_starts(struct builder *builder)
{
	if (builder->options->mode != HISTORY_TREE_INVERTED) {
		struct tree_item all = take_all(builder);

		vec_push(&builder->items.list, all);
		return;
	}
	for (size_t i = 0; i < builder->stacks.n; i++) {
		const struct history_sum *sum = builder->stacks.v[i];

		vec_push(&builder->items.list,
		         ((struct tree_item){
				 .count = sum->count, .bytes = sum->bytes, .node = sum->node }));
	}
}

// The sums [first, last) of members, which are of one thread.
static void build_thread(struct builder *builder, size_t first, size_t last)
{
	uint32_t thread = builder->members.v[first].thread, start = ROOT;
	struct history_branch branch = { .thread = thread };

	take_members(builder, first, last, &branch.count, &branch.bytes);
	builder->tree->branches.v[ROOT].count += branch.count;
	builder->tree->branches.v[ROOT].bytes += branch.bytes;
	if (thread != HISTORY_NO_THREAD) {
		if (!is_big_enough(builder->options, branch.count, branch.bytes))
			return;
		start = add_branch(builder, ROOT, &branch);
	}
	add_without(builder, start);
	if (builder->options->mode == HISTORY_TREE_FLAT) {
		struct tree_item all = take_all(builder);

		tree_flat_build(&builder->paths, &all, builder->tree);
		return;
	}
	push_starts(builder);
	grow(builder, start);
}

static size_t end_of_thread(const struct builder *builder, size_t first)
{
	size_t end = first;

	while (end < builder->members.n &&
	       builder->members.v[end].thread == builder->members.v[first].thread)
		end++;
	return end;
}

// What room the tree has left is parted evenly among the threads that are to come.
static void build_threads(struct builder *builder)
{
	size_t most = builder->options->most_branches ? builder->options->most_branches
	                                              : HISTORY_TREE_MOST_BRANCHES;
	size_t threads = 0, end;

	for (size_t i = 0; i < builder->members.n; i = end_of_thread(builder, i))
		threads++;
	for (size_t i = 0; i < builder->members.n; i = end) {
		size_t used = builder->tree->branches.n;

		end = end_of_thread(builder, i);
		builder->most = used + (most > used ? (most - used) / threads-- : 0);
		build_thread(builder, i, end);
	}
}

// --- order ---------------------------------------------------------------------------------------
struct ranked {
	uint32_t branch;
	uint64_t count, bytes;
	const char *name;
};

static int compare_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	int names;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	names = strcmp(x->name, y->name);
	if (names)
		return names;
	return x->branch < y->branch ? -1 : 1;
}

// ends, by branch: how many children it has; becomes where its children would end if all children stood side by
// side, parent by parent.
static void count_children(const struct history_tree *tree, uint32_t *ends)
{
	for (size_t i = 1; i < tree->branches.n; i++)
		ends[tree->branches.v[i].parent]++;
	for (size_t i = 1; i < tree->branches.n; i++)
		ends[i] += ends[i - 1];
}

// Puts each branch among its brothers; ends become starts.
static void group_children(const struct history_tree *tree, uint32_t *ends, struct ranked *ranked)
{
	for (size_t i = tree->branches.n; i-- > 1;) {
		const struct history_branch *branch = &tree->branches.v[i];
		const char *name = branch->frame ? branch->frame->function : NULL;

		ranked[--ends[branch->parent]] = (struct ranked){ (uint32_t)i, branch->count,
			                                          branch->bytes, name ? name : "" };
	}
}

static void link_brothers(const struct history_tree_options *options, struct history_tree *tree,
                          uint32_t parent, struct ranked *brothers, size_t count)
{
	struct history_branch *v = tree->branches.v;

	if (count > 1)
		qsort(brothers, count, sizeof(*brothers), compare_ranked);
	while (count--) {
		uint32_t branch = brothers[count].branch;

		if (!is_big_enough(options, v[branch].count, v[branch].bytes))
			continue;
		v[branch].next_sibling = v[parent].first_child;
		v[parent].first_child = branch;
	}
}

// Links children, biggest first.
static void link_children(const struct history_tree_options *options, struct history_tree *tree)
{
	size_t n = tree->branches.n;
	struct ranked *ranked = os_page_source.resize(NULL, 0, n * sizeof(*ranked));
	uint32_t *starts = os_page_source.resize(NULL, 0, n * sizeof(*starts));

	count_children(tree, starts);
	group_children(tree, starts, ranked);
	for (size_t i = 0; i < n; i++) {
		size_t end = i + 1 < n ? starts[i + 1] : n - 1;

		link_brothers(options, tree, (uint32_t)i, ranked + starts[i], end - starts[i]);
	}
	os_page_source.resize(ranked, n * sizeof(*ranked), 0);
	os_page_source.resize(starts, n * sizeof(*starts), 0);
}

// -------------------------------------------------------------------------------------------------
static void builder_init(struct builder *builder, struct history *history)
{
	vec_init(&builder->members, &os_page_source);
	vec_init(&builder->stacks, &os_page_source);
	vec_init(&builder->items.list, &os_page_source);
	vec_init(&builder->items_below.list, &os_page_source);
	vec_init(&builder->parts.list, &os_page_source);
	vec_init(&builder->parts_below.list, &os_page_source);
	tree_paths_init(&builder->paths, history, builder->options);
}

static void builder_deinit(struct builder *builder)
{
	tree_paths_deinit(&builder->paths);
	vec_deinit(&builder->members);
	vec_deinit(&builder->stacks);
	vec_deinit(&builder->items.list);
	vec_deinit(&builder->items_below.list);
	vec_deinit(&builder->parts.list);
	vec_deinit(&builder->parts_below.list);
}

void history_tree_build(struct history *history, const struct history_sums *sums,
                        const struct history_tree_options *options, struct history_tree *ret)
{
	struct builder builder = { .options = options, .sums = sums, .tree = ret };

	*ret = (struct history_tree){ 0 };
	vec_init(&ret->branches, &os_page_source);
	vec_push(&ret->branches,
	         ((struct history_branch){ .thread = HISTORY_NO_THREAD, .parent = UINT32_MAX }));
	builder_init(&builder, history);
	list_members(&builder);
	build_threads(&builder);
	builder_deinit(&builder);
	link_children(options, ret);
}

void history_tree_free(struct history_tree *tree)
{
	vec_deinit(&tree->branches);
}
