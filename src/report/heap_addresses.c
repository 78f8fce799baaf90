// SPDX-License-Identifier: MIT
// heap -addresses: the blocks whose class matches a pattern (heap.c). A pattern is
// "all" or an extended regular expression over the whole class name, "malloc" and
// "non-object" standing for blocks without one, and a size filter behind it:
// [n], [a-b], [a+], [-b].
#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/heap_impl.h"

struct pattern {
	bool everything, untyped;
	regex_t name;
	uint64_t low, high;
};

static struct error *wrong(const char *text)
{
	return error_new(ERROR_USAGE,
	                 "-addresses: '%s' is no pattern (all, or CLASS, or CLASS[low-high]; it is "
	                 "compared with whole names, so '^' is not needed)",
	                 text);
}

// "[n]", "[a-b]", "[a+]", "[-b]" with k and m suffixes.
static bool size_filter(struct arena *arena, const char *text, struct pattern *ret)
{
	size_t n = strlen(text);
	char *low, *high;

	if (n < 3 || text[n - 1] != ']')
		return false;
	low = arena_copy_n(arena, text + 1, n - 2);
	n = strlen(low);
	ret->high = UINT64_MAX;
	if (low[n - 1] == '+') {
		low[n - 1] = '\0';
		return !text_parse_u64(low, &ret->low);
	}
	high = strchr(low, '-');
	if (!high)
		return !text_parse_u64(low, &ret->low) && ((ret->high = ret->low), true);
	*high++ = '\0';
	return (!*low || !text_parse_u64(low, &ret->low)) &&
	       (!*high || !text_parse_u64(high, &ret->high)) && ret->low <= ret->high;
}

static struct error *pattern_read(struct arena *arena, const char *text, struct pattern *ret)
{
	const char *bracket = strrchr(text, '[');
	char *name = arena_copy(arena, text);

	*ret = (struct pattern){ .high = UINT64_MAX };
	if (bracket && text[strlen(text) - 1] == ']' &&
	    (bracket[1] == '-' || (bracket[1] >= '0' && bracket[1] <= '9'))) {
		if (!size_filter(arena, bracket, ret))
			return wrong(text);
		name[bracket - text] = '\0';
	}
	ret->everything = !*name || !strcmp(name, "all");
	ret->untyped = !strcmp(name, "malloc") || !strcmp(name, "non-object");
	if (*name == '^')
		return wrong(text);
	if (regcomp(&ret->name, arena_format(arena, "^(%s)$", name), REG_EXTENDED | REG_NOSUB))
		return wrong(text);
	return NULL;
}

static bool pattern_matches(const struct pattern *pattern, const struct heap_view *view,
                            uint32_t block)
{
	uint64_t size = view->look->heaps->blocks[block].hb_size;
	const struct type *type;

	if (size < pattern->low || size > pattern->high)
		return false;
	if (pattern->everything)
		return true;
	type = types_of(view->look->types, block);
	if (pattern->untyped)
		return !type;
	return type && !regexec(&pattern->name, type->name, 0, NULL, 0);
}

static void print_block(struct emitter *e, const struct heap_view *view, uint32_t block)
{
	const struct heap_block *b = &view->look->heaps->blocks[block];
	uint64_t requested;
	const char *text =
		view->settings->common.no_content ? NULL : report_block_text(view->look, block);

	emit_object(e, NULL);
	emit_address(e, "address", b->hb_address, "0x%" PRIx64 ": ");
	emit_string(e, "type", heap_block_name(view, block), "%s");
	emit_u64(e, "size_bytes", b->hb_size, " (%" PRIu64 " bytes");
	if (heaps_requested(view->look->heaps, block, &requested))
		emit_u64(e, "requested_bytes", requested, ", %" PRIu64 " requested");
	emit_text(e, ")");
	emit_string(e, "zone", view->look->heaps->zones[b->hb_zone].name, NULL);
	emit_string(e, "text", text, "  %s");
	emit_text(e, "\n");
	emit_object_end(e);
}

static const struct heap_block *sorting_blocks;

static int compare_sizes(const void *a, const void *b)
{
	const struct heap_block *x = &sorting_blocks[*(const uint32_t *)a];
	const struct heap_block *y = &sorting_blocks[*(const uint32_t *)b];

	if (x->hb_size != y->hb_size)
		return x->hb_size > y->hb_size ? -1 : 1;
	return x->hb_address < y->hb_address ? -1 : 1;
}

struct error *heap_find_addresses(struct heap_view *view)
{
	const struct heaps *heaps = view->look->heaps;
	uint32_t *found = arena_array(view->look->arena, heaps->block_count, sizeof(*found));
	struct pattern pattern;
	size_t n = 0;

	TRY(pattern_read(view->look->arena, view->settings->addresses, &pattern));
	for (uint32_t i = 0; i < heaps->block_count; i++)
		if (heap_counts(view, i) && pattern_matches(&pattern, view, i))
			found[n++] = i;
	regfree(&pattern.name);
	sorting_blocks = heaps->blocks;
	if (view->settings->by_size && n)
		qsort(found, n, sizeof(*found), compare_sizes);
	view->found = found;
	view->found_count = n;
	return NULL;
}

void heap_print_addresses(struct emitter *e, const struct heap_view *view)
{
	size_t n = view->found_count;

	emit_text(e, "Active blocks in all zones that match pattern '%s':\n",
	          text_printable(view->look->arena, view->settings->addresses));
	emit_array(e, "blocks");
	for (size_t i = 0; i < n; i++)
		print_block(e, view, view->found[i]);
	emit_array_end(e);
	emit_u64(e, "block_count", n, n == 1 ? "%" PRIu64 " block\n" : "%" PRIu64 " blocks\n");
	if (!n)
		emit_text(e,
		          "A pattern must match the whole name of a class: '.*Name.*' finds parts; "
		          "'non-object' stands for blocks without one.\n");
}
