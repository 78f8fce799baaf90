// SPDX-License-Identifier: MIT
// A call tree as text, in the form of sample and malloc_history, and as a list in JSON: a stack can be
// deeper than readers of JSON nest. Flat mode is a table.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/frames.h"
#include "report/history_impl.h"
#include "report/line.h"

#define FEWEST_REPEATS 5 // shown in the list of what stands in a stack more than once

struct walk {
	struct emitter *e;
	struct history_view *view;
	const struct history_tree *tree;
	const struct tree_content *content; // NULL: not asked for
	VEC(char) rails;                    // what stands at the columns left of a line
	struct line line;
	VEC(uint32_t) order; // number in the list, by branch
	uint32_t printed;
	unsigned connectors;
};

static void put_frame(struct line *line, const struct history_branch *branch)
{
	const struct history_frame *frame = branch->frame;
	const char *several = branch->several ? ",..." : "";

	line_text(line, frame->function ? frame->function : "???");
	line_text(line, "  (in ");
	line_text(line, frame_image(frame));
	if (frame->function) {
		line_text(line, ") + ");
		line_decimal(line, frame->offset);
	} else {
		line_text(line, ")  load address 0x");
		line_hex(line, frame->module ? frame->module->start : 0);
		line_text(line, " + 0x");
		line_hex(line, frame->offset);
	}
	line_text(line, several);
	line_text(line, "  [0x");
	line_hex(line, frame->address);
	line_text(line, several);
	line_text(line, "]");
	if (frame->file) {
		line_text(line, "  ");
		line_text(line, text_base_name(frame->file));
		line_text(line, ":");
		line_decimal(line, frame->line);
	}
	line_text(line, frame->inlined ? " [inlined]" : "");
}

static void put_name(struct walk *walk, const struct history_branch *branch)
{
	const struct log_thread *thread = history_thread(walk->view->history, branch->thread);
	struct line *line = &walk->line;

	if (branch->frame) {
		put_frame(line, branch);
	} else if (branch->parent == UINT32_MAX) {
		line_text(line, "<< TOTAL >>");
	} else if (thread) {
		line_text(line, "Thread_");
		line_hex(line, (uint32_t)thread->id);
		if (thread->name && *thread->name) {
			line_text(line, "   ");
			line_text(line, text_printable(walk->view->arena, thread->name));
		}
	} else {
		line_text(line, branch->before ? "(before the recording)" : "(no stack)");
	}
	line_text(line, "\n");
}

static void print_line(struct walk *walk)
{
	emit_bytes(walk->e, walk->line.bytes.v, walk->line.bytes.n);
	line_clear(&walk->line);
}

static void print_json_name(struct walk *walk, const struct history_branch *branch)
{
	const struct history_frame *frame = branch->frame;
	const struct log_thread *thread = history_thread(walk->view->history, branch->thread);
	struct emitter *e = walk->e;

	if (thread)
		emit_u64(e, "thread", (uint64_t)thread->id, NULL);
	if (branch->before)
		emit_bool(e, "before_recording", true, NULL);
	if (!frame)
		return;
	frame_emit(e, frame);
}

static void print_json_branch(struct walk *walk, const struct history_branch *branch)
{
	struct emitter *e = walk->e;

	if (branch->parent == UINT32_MAX)
		emit_null(e, "parent");
	else
		emit_u64(e, "parent", walk->order.v[branch->parent], NULL);
	emit_u64(e, "depth", branch->depth, NULL);
	print_json_name(walk, branch);
	emit_u64(e, "count", branch->count, NULL);
	emit_u64(e, "bytes", branch->bytes, NULL);
	emit_u64(e, "own_count", branch->own_count, NULL);
	emit_u64(e, "own_bytes", branch->own_bytes, NULL);
	if (branch->cut)
		emit_bool(e, "cut", true, NULL);
}

static void print_text_branch(struct walk *walk, const struct history_branch *branch)
{
	struct line *line = &walk->line;
	char size[TEXT_SIZE_BYTES];

	line_bytes(line, walk->rails.v, walk->rails.n);
	line_decimal(line, branch->count);
	line_text(line, " (");
	line_text(line, text_size(branch->bytes, size));
	line_text(line, ") ");
	put_name(walk, branch);
	print_line(walk);
}

static void print_branch(struct walk *walk, uint32_t at)
{
	const struct history_branch *branch = &walk->tree->branches.v[at];

	walk->order.v[at] = walk->printed++;
	emit_object(walk->e, NULL);
	if (emit_is_text(walk->e))
		print_text_branch(walk, branch);
	else
		print_json_branch(walk, branch);
	if (walk->content)
		tree_content_print(walk->e, walk->content, at, walk->rails.v, walk->rails.n);
	emit_object_end(walk->e);
}

// The columns below a branch: a rail where brothers of it follow.
static void rails_enter(struct walk *walk, const struct history_branch *branch)
{
	static const char signs[] = "+!:|";

	vec_push(&walk->rails, branch->next_sibling ? signs[walk->connectors % 4] : ' ');
	vec_push(&walk->rails, ' ');
	walk->connectors += branch->next_sibling != 0;
}

static void rails_leave(struct walk *walk, const struct history_branch *branch)
{
	walk->rails.n -= 2;
	walk->connectors -= branch->next_sibling != 0;
}

// Down to children first, then to the next brother, then up: no recursion, stacks are deep.
static void walk_tree(struct walk *walk)
{
	const struct history_branch *v = walk->tree->branches.v;
	uint32_t at = 0;

	for (;;) {
		print_branch(walk, at);
		if (v[at].first_child) {
			rails_enter(walk, &v[at]);
			at = v[at].first_child;
			continue;
		}
		while (at && !v[at].next_sibling) {
			at = v[at].parent;
			rails_leave(walk, &v[at]);
		}
		if (!at)
			break;
		at = v[at].next_sibling;
	}
}

// --- "Total number in stack" ---------------------------------------------------------------------
struct repeat {
	const struct history_frame *frame; // any of them
	uint64_t count;
};

struct repeats {
	VEC(struct repeat) v; // by key, which counts from 1 without gaps
};

static int compare_repeats(const void *a, const void *b)
{
	const struct repeat *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->frame->key < y->frame->key ? -1 : 1;
}

// How many branches each function has: those with enough, the most first.
static void count_repeats(const struct history_tree *tree, struct repeats *repeats)
{
	size_t kept = 0;

	for (size_t i = 0; i < tree->branches.n; i++) {
		const struct history_frame *frame = tree->branches.v[i].frame;
		struct repeat *repeat;

		if (!frame)
			continue;
		while (repeats->v.n <= frame->key)
			vec_push(&repeats->v, ((struct repeat){ 0 }));
		repeat = &repeats->v.v[frame->key];
		repeat->count++;
		if (!repeat->frame)
			repeat->frame = frame;
	}
	for (size_t i = 0; i < repeats->v.n; i++)
		if (repeats->v.v[i].count >= FEWEST_REPEATS)
			repeats->v.v[kept++] = repeats->v.v[i];
	repeats->v.n = kept;
	if (kept)
		qsort(repeats->v.v, kept, sizeof(*repeats->v.v), compare_repeats);
}

static void print_repeats(struct emitter *e, const struct history_tree *tree)
{
	struct repeats repeats;

	if (!emit_is_text(e))
		return;
	vec_init(&repeats.v, &os_page_source);
	count_repeats(tree, &repeats);
	emit_text(e, "\nTotal number in stack (recursive counted multiple, when >=%d):\n",
	          FEWEST_REPEATS);
	for (size_t i = 0; i < repeats.v.n; i++) {
		const struct history_frame *frame = repeats.v.v[i].frame;

		emit_text(e, "        %-7" PRIu64 " %s  (in %s) + %" PRIu64 "  [0x%" PRIx64 "]\n",
		          repeats.v.v[i].count, frame->function ? frame->function : "???",
		          frame_image(frame), frame->offset, frame->address);
	}
	vec_deinit(&repeats.v);
}

// --- flat ----------------------------------------------------------------------------------------
static void print_flat(struct walk *walk)
{
	const struct history_branch *v = walk->tree->branches.v;
	struct emitter *e = walk->e;

	emit_text(e, "%12s %14s %12s %14s  %s\n", "COUNT", "BYTES", "OWN COUNT", "OWN BYTES",
	          "FUNCTION");
	emit_text(e, "%12s %14s %12s %14s  %s\n",
	          "=====", "=====", "=========", "=========", "========");
	for (uint32_t at = v[0].first_child; at; at = v[at].next_sibling) {
		emit_object(e, NULL);
		emit_u64(e, "count", v[at].count, "%12" PRIu64);
		emit_u64(e, "bytes", v[at].bytes, " %14" PRIu64);
		emit_u64(e, "own_count", v[at].own_count, " %12" PRIu64);
		emit_u64(e, "own_bytes", v[at].own_bytes, " %14" PRIu64 "  ");
		print_json_name(walk, &v[at]);
		put_name(walk, &v[at]);
		print_line(walk);
		emit_object_end(e);
	}
}

// The tree has no room for all that was asked for.
static void print_cut(struct emitter *e, const struct history_tree *tree)
{
	emit_u64(e, "cut_branches", tree->cut, NULL);
	emit_text(
		e,
		"\nThe tree ends at %zu branches, as many as fit: what is below %zu of them is not "
		"shown.\n-pruneMallocSize and -pruneCount make room by leaving out small branches.\n",
		tree->branches.n, tree->cut);
}

static void print_tree(struct emitter *e, struct history_view *view,
                       const struct history_tree *tree, const struct tree_content *content)
{
	struct walk walk = { .e = e, .view = view, .tree = tree, .content = content };
	bool flat = view->settings->flat;

	line_init(&walk.line);
	vec_init(&walk.rails, &os_page_source);
	vec_init(&walk.order, &os_page_source);
	vec_reserve(&walk.order, tree->branches.n);
	for (int i = 0; i < 4; i++)
		vec_push(&walk.rails, ' ');
	emit_array(e, flat ? "functions" : "tree");
	if (flat) {
		print_flat(&walk);
	} else {
		emit_text(e, "Call graph:\n");
		walk_tree(&walk);
	}
	emit_array_end(e);
	if (tree->cut)
		print_cut(e, tree);
	if (!flat)
		print_repeats(e, tree);
	line_deinit(&walk.line);
	vec_deinit(&walk.rails);
	vec_deinit(&walk.order);
}

struct error *history_print_tree(struct emitter *e, struct history_view *view)
{
	const struct history_settings *s = view->settings;
	struct history_tree_options options = {
		.mode = s->flat     ? HISTORY_TREE_FLAT
		        : s->invert ? HISTORY_TREE_INVERTED
		                    : HISTORY_TREE_STANDARD,
		.by_thread = !s->ignore_threads && !s->flat && history_log(view->history),
		.collapse_recursion = s->collapse_recursion,
		.charge_system_libraries = s->charge_system_libraries,
		.least_count = s->prune_count,
		.least_bytes = s->prune_bytes,
	};
	struct history_question question = view->question;
	struct history_sums sums;
	struct history_tree tree;
	struct tree_content *content = NULL;
	struct error *error = NULL;

	question.by_thread = options.by_thread;
	TRY(history_sum_up(view->history, &question, &sums));
	history_tree_build(view->history, &sums, &options, &tree);
	if (s->show_content)
		error = tree_content_open(view, &question, &options, &sums, &tree, &content);
	if (!error) {
		history_print_totals(e, view, &sums);
		print_tree(e, view, &tree, content);
	}
	tree_content_close(content);
	history_tree_free(&tree);
	history_sums_free(&sums);
	return error;
}
