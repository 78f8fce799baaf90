// SPDX-License-Identifier: MIT
// Where the blocks of a group were allocated (stringdups.c): the most frequent stacks, or with -callTrees
// all of them as one tree, in the form of malloc_history -callTree.
#include "report/stringdups_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/frames.h"
#include "report/stacks_impl.h"

struct stack_sum {
	uint32_t node; // 0: not known
	uint64_t count, bytes;
};

// A function in a tree; [0] is the total.
struct branch {
	const struct history_frame *frame;          // one of its calls; NULL: the total
	uint32_t parent, first_child, next_sibling; // 0 none
	uint64_t count, bytes;                      // with all below it
	bool several;                               // calls from several places
};

struct tree {
	struct emitter *e;
	struct look *look;
	struct arena *arena; // of the stacks
	VEC(struct branch) branches;
	VEC(char) rails; // what stands left of a line
};

// --- sums ----------------------------------------------------------------------------------------
static int compare_node(const void *a, const void *b)
{
	const struct stack_sum *x = a, *y = b;

	return x->node < y->node ? -1 : x->node > y->node;
}

static int compare_count(const void *a, const void *b)
{
	const struct stack_sum *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return compare_node(a, b);
}

// The stacks of a group's blocks, most frequent first; in arena.
static struct stack_sum *sum_up(struct arena *arena, const struct dups *dups,
                                const struct dups_group *group, size_t *ret)
{
	struct stack_sum *sums = arena_array(arena, group->count, sizeof(*sums));
	size_t n = 0;

	for (uint32_t i = 0; i < group->count; i++) {
		uint32_t block = dups->members.v[group->members + i].block;

		bool of_heap = block < dups->look->heaps->block_count;

		sums[i] = (struct stack_sum){ of_heap ? stacks_node(dups->look, block) : 0, 1,
			                      dups_block(dups, block)->hb_size };
	}
	qsort(sums, group->count, sizeof(*sums), compare_node);
	for (uint32_t i = 0; i < group->count; i++) {
		if (n && sums[n - 1].node == sums[i].node) {
			sums[n - 1].count++;
			sums[n - 1].bytes += sums[i].bytes;
		} else {
			sums[n++] = sums[i];
		}
	}
	qsort(sums, n, sizeof(*sums), compare_count);
	*ret = n;
	return sums;
}

static void print_sums(struct emitter *e, struct look *look, const struct stack_sum *sums, size_t n)
{
	emit_array(e, "stacks");
	for (size_t i = 0; i < n && i < DUPS_STACKS; i++) {
		if (!sums[i].node)
			continue;
		emit_object(e, NULL);
		emit_u64(e, "count", sums[i].count, "        Call stack of %" PRIu64 ": ");
		emit_u64(e, "bytes", sums[i].bytes, NULL);
		stacks_print_line(e, look, sums[i].node);
		stacks_emit(e, "frames", look, sums[i].node);
		emit_text(e, "\n");
		emit_object_end(e);
	}
	emit_array_end(e);
	if (n > DUPS_STACKS)
		emit_text(e, "        and %zu more call stacks\n", n - DUPS_STACKS);
}

// --- the tree ------------------------------------------------------------------------------------
static bool same_function(const struct history_frame *a, const struct history_frame *b)
{
	if (a->module != b->module || a->inlined != b->inlined || !a->function != !b->function)
		return false;
	return a->function ? !strcmp(a->function, b->function) : a->address == b->address;
}

static uint32_t child_of(struct tree *tree, uint32_t parent, const struct history_frame *frame)
{
	uint32_t last = 0, at;

	for (at = tree->branches.v[parent].first_child; at;
	     at = tree->branches.v[at].next_sibling) {
		struct branch *branch = &tree->branches.v[at];

		last = at;
		if (!same_function(branch->frame, frame))
			continue;
		branch->several |= branch->frame->address != frame->address;
		return at;
	}
	at = (uint32_t)tree->branches.n;
	vec_push(&tree->branches, ((struct branch){ .frame = frame, .parent = parent }));
	if (last)
		tree->branches.v[last].next_sibling = at;
	else
		tree->branches.v[parent].first_child = at;
	return at;
}

static void tree_add(struct tree *tree, const struct stack_sum *sum, bool invert)
{
	struct stack stack;
	uint32_t at = 0;

	stack_read(tree->look, sum->node, tree->arena, &stack);
	for (size_t i = 0; i <= stack.n; i++) {
		tree->branches.v[at].count += sum->count;
		tree->branches.v[at].bytes += sum->bytes;
		if (i < stack.n)
			at = child_of(tree, at, stack.frames[invert ? i : stack.n - 1 - i]);
	}
}

static void print_name(struct emitter *e, const struct branch *branch)
{
	const struct history_frame *frame = branch->frame;

	if (!frame) {
		emit_text(e, "<< TOTAL >>\n");
		return;
	}
	emit_text(e, "%s  (in %s) + %" PRIu64 "%s  [0x%" PRIx64 "]",
	          frame->function ? frame->function : "???", frame_image(frame), frame->offset,
	          branch->several ? ",..." : "", frame->address);
	frame_print_place(e, frame, true);
	emit_text(e, "\n");
}

static void print_branch(struct tree *tree, uint32_t at)
{
	const struct branch *branch = &tree->branches.v[at];
	struct emitter *e = tree->e;
	char size[TEXT_SIZE_BYTES];

	emit_text(e, "%.*s%" PRIu64 " (%s) ", (int)tree->rails.n, tree->rails.v, branch->count,
	          text_size(branch->bytes, size));
	print_name(e, branch);
	emit_object(e, NULL);
	emit_known_u64(e, "parent", at, branch->parent, NULL);
	emit_u64(e, "count", branch->count, NULL);
	emit_u64(e, "bytes", branch->bytes, NULL);
	if (at)
		frame_emit(e, branch->frame);
	emit_object_end(e);
}

// In the order of their numbers: a child stands somewhere behind its parent. Text goes depth first.
static void print_tree(struct tree *tree)
{
	const struct branch *v = tree->branches.v;
	uint32_t at = 0;

	if (!emit_is_text(tree->e)) {
		for (at = 0; at < tree->branches.n; at++)
			print_branch(tree, at);
		return;
	}
	for (;;) {
		print_branch(tree, at);
		if (v[at].first_child) {
			vec_push(&tree->rails, v[at].next_sibling ? '+' : ' ');
			vec_push(&tree->rails, ' ');
			at = v[at].first_child;
			continue;
		}
		while (at && !v[at].next_sibling) {
			at = v[at].parent;
			tree->rails.n -= 2;
		}
		if (!at)
			return;
		at = v[at].next_sibling;
	}
}

static void print_as_tree(struct emitter *e, struct look *look, struct arena *arena,
                          const struct stack_sum *sums, size_t n, bool invert)
{
	struct tree tree = { .e = e, .look = look, .arena = arena };

	vec_init(&tree.branches, &os_page_source);
	vec_init(&tree.rails, &os_page_source);
	(void)vec_add(&tree.branches);
	for (int i = 0; i < 8; i++)
		vec_push(&tree.rails, ' ');
	for (size_t i = 0; i < n; i++)
		tree_add(&tree, &sums[i], invert);
	emit_array(e, "tree");
	print_tree(&tree);
	emit_array_end(e);
	vec_deinit(&tree.branches);
	vec_deinit(&tree.rails);
}

void dups_print_stacks(struct emitter *e, const struct dups *dups, const struct dups_group *group)
{
	const struct stringdups_settings *settings = dups->settings;
	struct stack_sum *sums;
	struct arena arena;
	size_t n;

	if (settings->no_stacks || !stacks_known(dups->look))
		return;
	arena_init(&arena, &os_page_source);
	sums = sum_up(&arena, dups, group, &n);
	if (n == 1 && !sums[0].node)
		n = 0;
	if (n && (settings->call_trees || settings->invert_call_trees))
		print_as_tree(e, dups->look, &arena, sums, n, settings->invert_call_trees);
	else if (n)
		print_sums(e, dups->look, sums, n);
	arena_deinit(&arena);
}
