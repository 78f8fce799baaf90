// SPDX-License-Identifier: MIT
// The blocks at the branches of a call tree, as they are in the process now: address, size, class, text.
// Blocks that ended since the recording was read are left out. Called by tree.c.
#include <inttypes.h>
#include <stdlib.h>

#include "base/search.h"
#include "os/os.h"
#include "report/history_impl.h"

#define MOST_SHOWN 20 // per branch
#define UNKNOWN    UINT32_MAX
#define LEFT_OUT   (UINT32_MAX - 1)

struct shown {
	uint32_t branch;
	uint32_t block; // index in the look's heaps
};

struct tree_content {
	const struct history_sums *sums;
	const struct history_tree *tree;
	const struct history_tree_options *options;
	struct history *history;
	VEC(uint32_t) ends; // per sum: its branch, UNKNOWN, LEFT_OUT
	struct look look;
	VEC(struct shown) blocks; // by branch
};

static uint32_t thread_of(const struct tree_content *content, const struct history_block *block)
{
	return content->options->by_thread ? block->thread : HISTORY_NO_THREAD;
}

// Sums are sorted by node and thread.
static size_t sum_of(const struct tree_content *content, const struct history_block *block)
{
	uint32_t thread = thread_of(content, block);
	const struct history_sum *sums = content->sums->sums.v;

	return first_index(content->sums->sums.n, i,
	                   sums[i].node > block->node ||
	                           (sums[i].node == block->node && sums[i].thread >= thread));
}

// The branch where the block's stack ends, or LEFT_OUT.
static uint32_t branch_of(struct tree_content *content, const struct history_block *block)
{
	size_t sum = sum_of(content, block);

	if (sum >= content->ends.n)
		return LEFT_OUT;
	if (content->ends.v[sum] == UNKNOWN &&
	    !history_tree_end(content->history, content->tree, content->options,
	                      &content->sums->sums.v[sum], &content->ends.v[sum]))
		content->ends.v[sum] = LEFT_OUT;
	return content->ends.v[sum];
}

static void take_block(void *context, const struct history_block *block,
                       const struct log_event *death)
{
	struct tree_content *content = context;
	const struct heaps *heaps = content->look.heaps;
	ssize_t found = death ? -1 : heaps_find(heaps, block->address);
	struct shown shown;

	if (found < 0 || heaps->blocks[found].hb_state != HEAP_USED)
		return;
	shown = (struct shown){ branch_of(content, block), (uint32_t)found };
	if (shown.branch != LEFT_OUT)
		vec_push(&content->blocks, shown);
}

static int compare(const void *a, const void *b)
{
	const struct shown *x = a, *y = b;

	if (x->branch != y->branch)
		return x->branch < y->branch ? -1 : 1;
	return x->block < y->block ? -1 : x->block > y->block;
}

struct error *tree_content_open(struct history_view *view, const struct history_question *question,
                                const struct history_tree_options *tree_options,
                                const struct history_sums *sums, const struct history_tree *tree,
                                struct tree_content **ret)
{
	struct target_options options = { .want = TARGET_WANT_MEMORY };
	struct tree_content *content;

	if (!view->recording->pid)
		return error_new(ERROR_USAGE, "-showContent needs a process that runs");
	content = arena_alloc(view->arena, sizeof(*content));
	TRY(look_open(arena_format(view->arena, "%d", view->recording->pid), &options, LOOK_TYPES,
	              &content->look));
	content->sums = sums;
	content->tree = tree;
	content->options = tree_options;
	content->history = view->history;
	vec_init(&content->blocks, &os_page_source);
	vec_init(&content->ends, &os_page_source);
	for (size_t i = 0; i < sums->sums.n; i++)
		vec_push(&content->ends, UNKNOWN);
	*ret = content;
	TRY(history_each_counted(view->history, question, take_block, content));
	if (content->blocks.n)
		qsort(content->blocks.v, content->blocks.n, sizeof(*content->blocks.v), compare);
	return NULL;
}

// '>' the program wrote behind its end, '<' before its start, ' ' neither.
static char side_of(const struct heaps *heaps, uint64_t address)
{
	for (size_t i = 0; i < heaps->damage_count; i++)
		if (heaps->damage[i].address == address &&
		    heaps->damage[i].kind != HEAP_DAMAGE_FREED)
			return heaps->damage[i].kind == HEAP_DAMAGE_BEHIND ? '>' : '<';
	return ' ';
}

static void print_block(struct emitter *e, const struct tree_content *content, uint32_t block)
{
	struct look *look = (struct look *)&content->look; // texts go to its arena
	const struct heap_block *b = &look->heaps->blocks[block];
	const struct type *type = types_of(look->types, block);

	emit_object(e, NULL);
	emit_string(e, "type", type ? type->name : NULL, NULL);
	emit_text(e, "<%s", type ? type->name : "non-object");
	emit_address(e, "address", b->hb_address, " 0x%" PRIx64 ">");
	emit_u64(e, "size_bytes", b->hb_size, " [%" PRIu64 "]");
	emit_string(e, "text", report_block_text(look, block), "  %s");
	emit_object_end(e);
	emit_text(e, "\n");
}

void tree_content_print(struct emitter *e, const struct tree_content *content, uint32_t branch,
                        const char *indent, size_t indent_bytes)
{
	size_t at = first_index(content->blocks.n, i, content->blocks.v[i].branch >= branch);
	size_t n = 0;

	emit_array(e, "blocks");
	for (; at < content->blocks.n && content->blocks.v[at].branch == branch; at++) {
		uint64_t address =
			content->look.heaps->blocks[content->blocks.v[at].block].hb_address;

		if (n++ >= MOST_SHOWN)
			continue;
		emit_text(e, "%.*s%c ", (int)indent_bytes, indent,
		          side_of(content->look.heaps, address));
		print_block(e, content, content->blocks.v[at].block);
	}
	emit_array_end(e);
	if (n > MOST_SHOWN)
		emit_text(e, "%.*s  and %zu more\n", (int)indent_bytes, indent, n - MOST_SHOWN);
}

void tree_content_close(struct tree_content *content)
{
	if (!content)
		return;
	vec_deinit(&content->blocks);
	vec_deinit(&content->ends);
	look_close(&content->look);
}
