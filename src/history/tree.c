// SPDX-License-Identifier: MIT
// Call trees out of sums over stacks: equal sequences of functions become one branch. Standard mode goes
// from the outermost function inwards, inverted mode from the one that called malloc outwards, flat mode
// lists every function once with all that was made below it.
#include <stdlib.h>
#include <string.h>

#include "history/history_impl.h"

#define FIRST_INDEX_COUNT 1024
#define ROOT              0
#define DEEPEST           1024
#define UNKNOWN_KEY       UINT32_MAX
#define BEFORE_KEY        (UINT32_MAX - 1)

struct builder {
	struct history *history;
	const struct history_tree_options *options;
	struct history_tree *tree;
	uint32_t *index; // branch + 1, 0: empty; by parent and key
	size_t index_count;
	VEC(uint32_t) keys; // of the branches: what tells a branch from its siblings
	VEC(uint32_t) seen; // of the branches, flat: the sum that counted it last, from 1
	VEC(const struct history_frame *) stack; // innermost first
	struct known *known; // standard: per node, where its stack ends in the tree
	VEC(uint32_t) nodes;
};

struct known {
	uint32_t branch; // 0: not known
	uint32_t thread;
};

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

static uint32_t *branch_at(const struct builder *builder, uint32_t parent, uint32_t key)
{
	uint64_t hash = ((uint64_t)parent << 32 | key) * 0x9e3779b97f4a7c15u;
	size_t at = (size_t)(hash >> 32) & (builder->index_count - 1);

	for (; builder->index[at]; at = (at + 1) & (builder->index_count - 1)) {
		uint32_t branch = builder->index[at] - 1;

		if (builder->tree->branches.v[branch].parent == parent &&
		    builder->keys.v[branch] == key)
			break;
	}
	return &builder->index[at];
}

static void index_grow(struct builder *builder)
{
	if (builder->index)
		os_page_source.resize(builder->index,
		                      builder->index_count * sizeof(*builder->index), 0);
	builder->index_count = builder->index_count ? builder->index_count * 2 : FIRST_INDEX_COUNT;
	builder->index =
		os_page_source.resize(NULL, 0, builder->index_count * sizeof(*builder->index));
	for (size_t i = 1; i < builder->tree->branches.n; i++)
		*branch_at(builder, builder->tree->branches.v[i].parent, builder->keys.v[i]) =
			(uint32_t)i + 1;
}

// The child of a branch for a function, a thread (no frame) or a stack that is not known (neither).
static uint32_t child_of(struct builder *builder, uint32_t parent, uint32_t key,
                         const struct history_frame *frame, uint32_t thread)
{
	struct history_branch *branches, added;
	uint32_t *at;

	if ((builder->tree->branches.n + 1) * 2 > builder->index_count)
		index_grow(builder);
	at = branch_at(builder, parent, key);
	branches = builder->tree->branches.v;
	if (*at) {
		struct history_branch *branch = &branches[*at - 1];

		branch->several |= frame && frame->address != branch->frame->address;
		return *at - 1;
	}
	added = (struct history_branch){ .frame = frame,
		                         .thread = thread,
		                         .parent = parent,
		                         .depth = branches[parent].depth + 1 };
	vec_push(&builder->tree->branches, added); // branches may have moved
	vec_push(&builder->keys, key);
	vec_push(&builder->seen, 0);
	*at = (uint32_t)builder->tree->branches.n;
	return *at - 1;
}

// The frames of a stack that take part, innermost first (inverted and flat mode).
static void load_stack(struct builder *builder, uint32_t node)
{
	const struct history_frame *frames;
	struct log_node at;
	size_t count;

	builder->stack.n = 0;
	for (size_t depth = 0; depth < DEEPEST && history_node(builder->history, node, &at);
	     depth++, node = at.parent) {
		history_frames_of(builder->history, node, &frames, &count);
		for (size_t i = 0; i < count; i++) {
			size_t n = builder->stack.n;

			if (builder->options->charge_system_libraries && is_system(&frames[i]))
				continue;
			if (builder->options->collapse_recursion && n &&
			    builder->stack.v[n - 1]->key == frames[i].key)
				continue;
			vec_push(&builder->stack, &frames[i]);
		}
	}
}

static uint32_t frame_child(struct builder *builder, uint32_t parent,
                            const struct history_frame *frame)
{
	return child_of(builder, parent, frame->key, frame, HISTORY_NO_THREAD);
}

static uint32_t start_of(struct builder *builder, const struct history_sum *sum)
{
	if (!builder->options->by_thread || sum->thread == HISTORY_NO_THREAD)
		return ROOT;
	return child_of(builder, ROOT, sum->thread, NULL, sum->thread);
}

// The branch below `at` for the frames of one node, outermost first.
static uint32_t descend(struct builder *builder, uint32_t at, uint32_t node)
{
	const struct history_frame *frames;
	size_t count;

	history_frames_of(builder->history, node, &frames, &count);
	while (count--) {
		const struct history_frame *frame = &frames[count];

		if (builder->options->charge_system_libraries && is_system(frame))
			continue;
		if (builder->options->collapse_recursion && at != ROOT &&
		    builder->keys.v[at] == frame->key && builder->tree->branches.v[at].frame)
			continue;
		at = frame_child(builder, at, frame);
	}
	return at;
}

// Goes out to the first node whose branch is known, and back inwards.
static uint32_t standard_path(struct builder *builder, const struct history_sum *sum)
{
	uint32_t at = start_of(builder, sum), node = sum->node;
	struct log_node found;

	builder->nodes.n = 0;
	for (; history_node(builder->history, node, &found); node = found.parent) {
		if (builder->known[node].branch && builder->known[node].thread == sum->thread) {
			at = builder->known[node].branch;
			break;
		}
		vec_push(&builder->nodes, node);
	}
	for (size_t i = builder->nodes.n; i-- > 0;) {
		at = descend(builder, at, builder->nodes.v[i]);
		builder->known[builder->nodes.v[i]] = (struct known){ at, sum->thread };
	}
	return at;
}

static uint32_t inverted_path(struct builder *builder, const struct history_sum *sum)
{
	uint32_t at = start_of(builder, sum);

	load_stack(builder, sum->node);
	for (size_t i = 0; i < builder->stack.n; i++)
		at = frame_child(builder, at, builder->stack.v[i]);
	return at;
}

// Where nothing of the stack is left, because it is not known or all of it belongs to the system.
static uint32_t path_of(struct builder *builder, const struct history_sum *sum)
{
	uint32_t at = builder->options->mode == HISTORY_TREE_INVERTED ? inverted_path(builder, sum)
	                                                              : standard_path(builder, sum);

	if (at == ROOT || !builder->tree->branches.v[at].frame)
		at = child_of(builder, at, sum->before ? BEFORE_KEY : UNKNOWN_KEY, NULL,
		              HISTORY_NO_THREAD);
	return at;
}

static void add_path(struct builder *builder, const struct history_sum *sum)
{
	struct history_branch *branch;
	uint32_t at = path_of(builder, sum);

	vec_push(&builder->tree->ends, at);
	branch = &builder->tree->branches.v[at];
	branch->own_count += sum->count;
	branch->own_bytes += sum->bytes;
	branch->node = sum->node;
	branch->before = sum->before && !branch->frame;
}

// Children stand behind their parents.
static void add_up(struct history_tree *tree)
{
	for (size_t i = tree->branches.n; i-- > 0;) {
		struct history_branch *branch = &tree->branches.v[i];

		branch->count += branch->own_count;
		branch->bytes += branch->own_bytes;
		if (!i)
			break;
		tree->branches.v[branch->parent].count += branch->count;
		tree->branches.v[branch->parent].bytes += branch->bytes;
	}
}

// Each function of a stack gets its bytes once, however often it stands in it.
static void add_flat(struct builder *builder, const struct history_sum *sum, uint32_t number)
{
	size_t n;

	load_stack(builder, sum->node);
	n = builder->stack.n;
	for (size_t i = 0; i < n; i++) {
		uint32_t at = frame_child(builder, ROOT, builder->stack.v[i]);
		struct history_branch *branch = &builder->tree->branches.v[at];

		if (!i) {
			branch->own_count += sum->count;
			branch->own_bytes += sum->bytes;
			branch->node = sum->node;
		}
		if (builder->seen.v[at] == number)
			continue;
		builder->seen.v[at] = number;
		branch->count += sum->count;
		branch->bytes += sum->bytes;
	}
	builder->tree->branches.v[ROOT].count += sum->count;
	builder->tree->branches.v[ROOT].bytes += sum->bytes;
}

// --- order ---------------------------------------------------------------------------------------
struct ranked {
	uint32_t branch, parent;
	uint64_t count, bytes;
	const char *name;
};

static int compare_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	if (strcmp(x->name, y->name))
		return strcmp(x->name, y->name);
	return x->branch < y->branch ? -1 : 1;
}

static bool is_big_enough(const struct builder *builder, const struct history_branch *branch)
{
	return branch->count >= builder->options->least_count &&
	       branch->bytes >= builder->options->least_bytes;
}

// Links children, biggest first.
static void link_children(struct builder *builder)
{
	struct history_branch *v = builder->tree->branches.v;
	size_t n = builder->tree->branches.n, kept = 0;
	struct ranked *ranked = os_page_source.resize(NULL, 0, n * sizeof(*ranked));

	for (size_t i = 1; i < n; i++) {
		const struct history_frame *frame = v[i].frame;

		if (is_big_enough(builder, &v[i]))
			ranked[kept++] =
				(struct ranked){ (uint32_t)i, v[i].parent, v[i].count, v[i].bytes,
				                 frame && frame->function ? frame->function : "" };
	}
	qsort(ranked, kept, sizeof(*ranked), compare_ranked);
	for (size_t i = kept; i-- > 0;) {
		v[ranked[i].branch].next_sibling = v[ranked[i].parent].first_child;
		v[ranked[i].parent].first_child = ranked[i].branch;
	}
	os_page_source.resize(ranked, n * sizeof(*ranked), 0);
}

static size_t known_bytes(const struct history *history)
{
	return ((size_t)history->given.node_count + 1) * sizeof(struct known);
}

static void builder_init(struct builder *builder)
{
	struct history_tree *tree = builder->tree;

	vec_init(&tree->branches, &os_page_source);
	vec_init(&tree->ends, &os_page_source);
	vec_init(&builder->keys, &os_page_source);
	vec_init(&builder->seen, &os_page_source);
	vec_init(&builder->stack, &os_page_source);
	vec_init(&builder->nodes, &os_page_source);
	vec_push(&tree->branches,
	         ((struct history_branch){ .thread = HISTORY_NO_THREAD, .parent = UINT32_MAX }));
	vec_push(&builder->keys, 0);
	vec_push(&builder->seen, 0);
	builder->known = os_page_source.resize(NULL, 0, known_bytes(builder->history));
}

static void builder_deinit(struct builder *builder)
{
	if (builder->index)
		os_page_source.resize(builder->index,
		                      builder->index_count * sizeof(*builder->index), 0);
	os_page_source.resize(builder->known, known_bytes(builder->history), 0);
	vec_deinit(&builder->keys);
	vec_deinit(&builder->seen);
	vec_deinit(&builder->stack);
	vec_deinit(&builder->nodes);
}

void history_tree_build(struct history *history, const struct history_sums *sums,
                        const struct history_tree_options *options, struct history_tree *ret)
{
	struct builder builder = { .history = history, .options = options, .tree = ret };

	builder_init(&builder);
	for (size_t i = 0; i < sums->sums.n; i++)
		if (options->mode == HISTORY_TREE_FLAT)
			add_flat(&builder, &sums->sums.v[i], (uint32_t)i + 1);
		else
			add_path(&builder, &sums->sums.v[i]);
	if (options->mode != HISTORY_TREE_FLAT)
		add_up(ret);
	link_children(&builder);
	builder_deinit(&builder);
}

void history_tree_free(struct history_tree *tree)
{
	vec_deinit(&tree->branches);
	vec_deinit(&tree->ends);
}
