// SPDX-License-Identifier: MIT
// Leaked blocks as trees, as a list and as JSON (leaks.c).
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/leaks_impl.h"
#include "report/stacks.h"

// A linked list of a million blocks is a tree a million levels deep: what lies deeper than this is
// summed up in one line; -list shows every block.
#define DEEPEST_LEVEL 24

#define LIST_CONTENT_BYTES 128
#define TREE_CONTENT_BYTES 32
#define JSON_CONTENT_BYTES 64

static const char *const kind_titles[] = {
	[LEAK_ROOT] = "ROOT LEAK: ",
	[LEAK_CYCLE] = "ROOT CYCLE: ",
	[LEAK_INDIRECT] = "",
};

static const char *const kind_words[] = {
	[LEAK_ROOT] = "root_leak",
	[LEAK_CYCLE] = "root_cycle",
	[LEAK_INDIRECT] = "indirect",
};

const char *leaks_block_text(struct look *look, uint32_t block)
{
	const struct type *type = types_of(look->types, block);
	const char *name = type ? type->name : stacks_block_name(look, block);
	uint64_t address = look->heaps->blocks[block].hb_address;

	if (!name)
		return arena_format(look->arena, "0x%" PRIx64, address);
	return arena_format(look->arena, "<%s 0x%" PRIx64 ">", name, address);
}

#define LINE_BYTES 16

// "47455420 2f696e64 65782e68 746d6c00 <tab>GET /index.html."
static void print_content_line(struct emitter *e, const uint8_t *bytes, size_t n, int indent)
{
	char hex[2 * LINE_BYTES + 1], text[LINE_BYTES + 1] = "";

	memset(hex, ' ', sizeof(hex));
	text_hex(bytes, n, hex);
	hex[2 * n] = ' ';
	for (size_t i = 0; i < n; i++)
		text[i] = bytes[i] >= 32 && bytes[i] < 127 ? (char)bytes[i] : '.';
	emit_text(e, "%*s%.8s %.8s %.8s %.8s \t%s\n", indent, "", hex, hex + 8, hex + 16, hex + 24,
	          text);
}

static void print_content(struct emitter *e, const struct leaks_view *view, uint32_t leak,
                          int indent, size_t limit)
{
	const struct heap_block *block = view_block(view, leak);
	uint8_t bytes[LIST_CONTENT_BYTES];
	size_t n = block->hb_size < limit ? block->hb_size : limit;

	if (view->settings->common.no_content)
		return;
	n = target_read_some(view->look->target, block->hb_address, bytes, n);
	for (size_t at = 0; at < n; at += LINE_BYTES)
		print_content_line(e, bytes + at, n - at < LINE_BYTES ? n - at : LINE_BYTES,
		                   indent);
}

// --- trees --------------------------------------------------------------------------------------

// Leaks that are shown as one line: one of them, or all siblings of one type and size.
struct group {
	const uint32_t *members;
	size_t n;
	uint64_t count, bytes; // of all their subtrees
};

static const struct leak *group_leak(const struct leaks_view *view, const struct group *group)
{
	return &view->look->graph->leaks[group->members[0]];
}

static void group_sum(const struct leaks_view *view, struct group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct leak *leak = &view->look->graph->leaks[group->members[i]];

		group->count += leak->lk_tree_count;
		group->bytes += leak->lk_tree_bytes;
	}
}

static const struct leaks_view *sorting_view;

// Same kind, type and size next to each other, so that they merge.
static int compare_alike(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct leak *x = &sorting_view->look->graph->leaks[i];
	const struct leak *y = &sorting_view->look->graph->leaks[k];
	const struct type *s = types_of(sorting_view->look->types, x->lk_block);
	const struct type *t = types_of(sorting_view->look->types, y->lk_block);
	uint64_t m = view_block(sorting_view, i)->hb_size, n = view_block(sorting_view, k)->hb_size;

	if (x->lk_kind != y->lk_kind)
		return x->lk_kind < y->lk_kind ? -1 : 1;
	if (s != t)
		return (s ? s->id : 0) < (t ? t->id : 0) ? -1 : 1;
	return m < n ? -1 : m > n;
}

static int compare_groups(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->members[0] < y->members[0] ? -1 : x->members[0] > y->members[0];
}

// Splits siblings into groups; without -groupByType each is its own.
static struct group *groups_make(const struct leaks_view *view, const uint32_t *members, size_t n,
                                 size_t *ret_count)
{
	struct group *groups = calloc(n ? n : 1, sizeof(*groups));
	uint32_t *sorted = malloc((n ? n : 1) * sizeof(*sorted));

	if (!groups || !sorted)
		abort();
	memcpy(sorted, members, n * sizeof(*sorted));
	*ret_count = 0;
	sorting_view = view;
	if (view->settings->group_by_type)
		qsort(sorted, n, sizeof(*sorted), compare_alike);
	for (size_t i = 0; i < n; i++) {
		if (!i || !view->settings->group_by_type ||
		    compare_alike(&sorted[i - 1], &sorted[i]))
			groups[(*ret_count)++] = (struct group){ .members = &sorted[i] };
		groups[*ret_count - 1].n++;
	}
	for (size_t i = 0; i < *ret_count; i++)
		group_sum(view, &groups[i]);
	if (view->settings->group_by_type)
		qsort(groups, *ret_count, sizeof(*groups), compare_groups);
	if (!*ret_count)
		free(sorted);
	return groups;
}

static void groups_free(struct group *groups, size_t count)
{
	const uint32_t *first = count ? groups[0].members : NULL;

	for (size_t i = 1; i < count; i++) // groups were sorted: the lowest pointer is the array's
		if (groups[i].members < first)
			first = groups[i].members;
	free((void *)first);
	free(groups);
}

static void print_line(struct emitter *e, const struct leaks_view *view, const struct group *group,
                       int indent)
{
	const struct leak *leak = group_leak(view, group);
	const struct type *type = types_of(view->look->types, leak->lk_block);
	char size[TEXT_SIZE_BYTES];

	emit_text(e, "%*s%" PRIu64 " (%s) ", indent, "", group->count,
	          text_size(group->bytes, size));
	if (leak->lk_kind == LEAK_INDIRECT)
		emit_text(e, "+%u --> ", leak->lk_owner_offset);
	emit_text(e, "%s", kind_titles[leak->lk_kind]);
	if (group->n > 1)
		emit_text(e, "%zu x <%s>", group->n, type ? type->name : "non-object");
	else
		emit_text(e, "%s", leaks_block_text(view->look, leak->lk_block));
	emit_text(e, " [%" PRIu64 "]", (uint64_t)view_block(view, group->members[0])->hb_size);
	if (group->n == 1 && !view->settings->common.no_content) {
		const char *text = report_block_text(view->look, leak->lk_block);

		if (text)
			emit_text(e, "  %s", text);
	}
	emit_text(e, "\n");
}

static void print_level(struct emitter *e, const struct leaks_view *view, const uint32_t *members,
                        size_t n, int indent, int level);

static void print_below(struct emitter *e, const struct leaks_view *view, const struct group *group,
                        int indent, int level)
{
	uint32_t *below;
	size_t n = 0;

	for (size_t i = 0; i < group->n; i++)
		n += view->child_start[group->members[i] + 1] -
		     view->child_start[group->members[i]];
	if (!n)
		return;
	below = malloc(n * sizeof(*below));
	if (!below)
		abort();
	n = 0;
	for (size_t i = 0; i < group->n; i++) {
		uint32_t from = view->child_start[group->members[i]];
		uint32_t to = view->child_start[group->members[i] + 1];

		memcpy(below + n, view->children + from, (to - from) * sizeof(*below));
		n += to - from;
	}
	print_level(e, view, below, n, indent, level);
	free(below);
}

static void print_rest(struct emitter *e, const struct leaks_view *view, const uint32_t *members,
                       size_t n, int indent)
{
	struct group rest = { members, n, 0, 0 };
	char size[TEXT_SIZE_BYTES];

	group_sum(view, &rest);
	emit_text(e, "%*s%" PRIu64 " (%s) deeper below; -list shows every block\n", indent, "",
	          rest.count, text_size(rest.bytes, size));
}

static void print_level(struct emitter *e, const struct leaks_view *view, const uint32_t *members,
                        size_t n, int indent, int level)
{
	struct group *groups;
	size_t count;

	if (level > DEEPEST_LEVEL) {
		print_rest(e, view, members, n, indent);
		return;
	}
	groups = groups_make(view, members, n, &count);
	for (size_t i = 0; i < count; i++) {
		print_line(e, view, &groups[i], indent);
		if (!level && groups[i].n == 1)
			print_content(e, view, groups[i].members[0], indent + 6,
			              TREE_CONTENT_BYTES);
		print_below(e, view, &groups[i], indent + 3, level + 1);
	}
	groups_free(groups, count);
}

void leaks_print_trees(struct emitter *e, const struct leaks_view *view)
{
	char size[TEXT_SIZE_BYTES];
	bool total = view->root_count > 1;

	if (!emit_is_text(e))
		return;
	if (total)
		emit_text(e, "    %" PRIu64 " (%s) << TOTAL >>\n\n", view->count,
		          text_size(view->bytes, size));
	for (size_t i = 0, n; i < view->root_count; i += n) {
		n = leaks_same_stack(view, i);
		leaks_print_stack(e, view, i, n);
		print_level(e, view, view->roots + i, n, total ? 6 : 4, 0);
		if (i + n < view->root_count)
			emit_text(e, "\n");
	}
}

// --- list and JSON ------------------------------------------------------------------------------

static bool root_shown(const struct leaks_view *view, const bool *shown, uint32_t leak)
{
	const struct graph *graph = view->look->graph;
	const struct leak *root = graph_leak_of(graph, graph->leaks[leak].lk_root);

	return root && shown[root - graph->leaks];
}

// One flag per leak that is the root of a shown tree.
static bool *shown_roots(const struct leaks_view *view)
{
	bool *shown = arena_array(view->look->arena, view->look->graph->leak_count, sizeof(*shown));

	for (size_t i = 0; i < view->root_count; i++)
		shown[view->roots[i]] = true;
	return shown;
}

static void print_list_entry(struct emitter *e, const struct leaks_view *view, uint32_t i)
{
	struct look *look = view->look;
	const struct heap_block *block = view_block(view, i);
	const struct type *type = types_of(look->types, look->graph->leaks[i].lk_block);
	uint64_t requested;

	emit_text(e, "Leak: 0x%" PRIx64 "  size=%" PRIu64, block->hb_address,
	          (uint64_t)block->hb_size);
	if (heaps_requested(look->heaps, look->graph->leaks[i].lk_block, &requested))
		emit_text(e, "  requested=%" PRIu64, requested);
	emit_text(e, "  zone: %s", report_zone_name(look->heaps, block->hb_zone, look->arena));
	if (type)
		emit_text(e, "   %s  %s  %s", type->name, type->language, type->binary);
	emit_text(e, "\n");
	print_content(e, view, i, 8, LIST_CONTENT_BYTES);
	leaks_print_list_stack(e, view, i);
}

void leaks_print_list(struct emitter *e, const struct leaks_view *view)
{
	const bool *shown = shown_roots(view);

	for (uint32_t i = 0; i < view->look->graph->leak_count; i++)
		if (root_shown(view, shown, i))
			print_list_entry(e, view, i);
}

static void emit_content(struct emitter *e, const struct leaks_view *view, uint32_t leak)
{
	const struct heap_block *block = view_block(view, leak);
	unsigned char bytes[JSON_CONTENT_BYTES];
	char hex[2 * JSON_CONTENT_BYTES + 1] = "";
	size_t n = block->hb_size < sizeof(bytes) ? block->hb_size : sizeof(bytes);

	if (view->settings->common.no_content)
		return;
	n = target_read_some(view->look->target, block->hb_address, bytes, n);
	text_hex(bytes, n, hex);
	emit_string(e, "content_hex", hex, NULL);
}

static void emit_leak(struct emitter *e, const struct leaks_view *view, uint32_t i)
{
	const struct look *look = view->look;
	const struct leak *leak = &look->graph->leaks[i];
	const struct heap_block *block = view_block(view, i);
	const struct type *type = types_of(look->types, leak->lk_block);
	uint32_t stack = leaks_stack(view, i);
	uint64_t requested;

	emit_object(e, NULL);
	emit_address(e, "address", block->hb_address, NULL);
	emit_u64(e, "size_bytes", block->hb_size, NULL);
	if (heaps_requested(look->heaps, leak->lk_block, &requested))
		emit_u64(e, "requested_bytes", requested, NULL);
	emit_string(e, "kind", kind_words[leak->lk_kind], NULL);
	emit_string(e, "type", type ? type->name : NULL, NULL);
	if (stack)
		emit_u64(e, "stack_id", stack, NULL);
	emit_string(e, "zone", look->heaps->zones[block->hb_zone].name, NULL);
	emit_address(e, "root", look->heaps->blocks[leak->lk_root].hb_address, NULL);
	if (leak->lk_owner != GRAPH_NO_BLOCK) {
		emit_address(e, "owner", look->heaps->blocks[leak->lk_owner].hb_address, NULL);
		emit_u64(e, "owner_offset_bytes", leak->lk_owner_offset, NULL);
	}
	emit_u64(e, "tree_count", leak->lk_tree_count, NULL);
	emit_u64(e, "tree_bytes", leak->lk_tree_bytes, NULL);
	emit_content(e, view, i);
	emit_object_end(e);
}

void leaks_emit_json(struct emitter *e, const struct leaks_view *view)
{
	const bool *shown = shown_roots(view);

	if (emit_is_text(e))
		return;
	emit_array(e, "leaks");
	for (uint32_t i = 0; i < view->look->graph->leak_count; i++)
		if (root_shown(view, shown, i))
			emit_leak(e, view, i);
	emit_array_end(e);
	leaks_emit_stacks(e, view, shown);
}
