// SPDX-License-Identifier: MIT
/*
 * One line of vmmap's list, in today's form or in that of 2008, and its JSON object.
 *
 * Today's: type, range, virtual, resident, dirty and swapped size, protection now and at most,
 * sharing mode, purge mode (never one on Linux), detail. That of 2008 has no headings: type with the
 * zone in parentheses, start, size, protections, sharing mode, end of the path or first words.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "report/stacks.h"
#include "report/vmmap_impl.h"

enum { DETAIL_COLUMNS = 40, DETAIL_COLUMNS_2008 = 29, TYPE_COLUMNS = 23, TYPE_COLUMNS_2008 = 48 };

char *vmmap_size(const struct vmmap_view *view, uint64_t bytes, char buffer[VMMAP_SIZE_BYTES])
{
	if (view->settings->pages)
		snprintf(buffer, VMMAP_SIZE_BYTES, "%" PRIu64, bytes / view->page_bytes);
	else
		text_size_k(bytes, buffer);
	return buffer;
}

// Length of the first n characters of UTF-8 text, which text_printable has made valid.
static size_t count_columns(const char *text)
{
	size_t columns = 0;

	for (; *text; text++)
		columns += (*text & 0xc0) != 0x80;
	return columns;
}

// A path of at most `most` columns: "...ts/MacOS/Clock". In the look's arena.
static const char *shorten(const struct vmmap_view *view, const char *text, size_t most)
{
	size_t columns = count_columns(text);

	if (view->settings->wide || columns <= most)
		return text;
	while (columns > most - 3) {
		text++;
		columns -= (*text & 0xc0) != 0x80;
	}
	return arena_format(view->look->arena, "...%s", text);
}

// As shorten, but the beginning stays: names of types and zones.
static const char *cut_end(const struct vmmap_view *view, const char *text, size_t most)
{
	const char *at = text;

	if (view->settings->wide || count_columns(text) <= most)
		return text;
	while (most) {
		at++;
		most -= (*at & 0xc0) != 0x80;
	}
	return arena_copy_n(view->look->arena, text, (size_t)(at - text));
}

static const char *protection_text(uint8_t protection, char buffer[4])
{
	buffer[0] = protection & TARGET_READ ? 'r' : '-';
	buffer[1] = protection & TARGET_WRITE ? 'w' : '-';
	buffer[2] = protection & TARGET_EXEC ? 'x' : '-';
	buffer[3] = '\0';
	return buffer;
}

static char *known_size(const struct vmmap_view *view, const struct vmmap_row *row, uint64_t bytes,
                        char buffer[VMMAP_SIZE_BYTES])
{
	if (row->has_pages)
		return vmmap_size(view, bytes, buffer);
	return strcpy(buffer, "-");
}

static void print_stack(struct emitter *e, const struct vmmap_view *view,
                        const struct vmmap_row *row)
{
	bool full = view->settings->full_stacks;
	uint32_t node;

	if (!emit_is_text(e) || (!full && !view->settings->stacks))
		return;
	node = stacks_mapping_node(view->look, row->start);
	if (!node)
		return;
	if (full) {
		stacks_print(e, view->look, node, true);
		return;
	}
	emit_text(e, "    ");
	stacks_print_line(e, view->look, node);
	emit_text(e, "\n");
}

// --- today's form -------------------------------------------------------------------------------

static void line_today(struct emitter *e, const struct vmmap_view *view,
                       const struct vmmap_row *row, const char *mark)
{
	const struct target_segment *segment = row->region->segment;
	// The columns behind the longer addresses of the kernel's half stay where they are.
	int type_columns = TYPE_COLUMNS - (row->start >> 48 ? 2 * (16 - 12) : 0);
	char v[VMMAP_SIZE_BYTES], r[VMMAP_SIZE_BYTES], d[VMMAP_SIZE_BYTES], s[VMMAP_SIZE_BYTES];
	char now[4], most[4];

	emit_text(e, "%s%-*s %12" PRIx64 "-%-12" PRIx64 " [%6s %6s %6s %6s] %s/%s SM=%s", mark,
	          type_columns, cut_end(view, row->type, TYPE_COLUMNS), row->start, row->end,
	          vmmap_size(view, row->end - row->start, v),
	          known_size(view, row, row->pages.resident, r),
	          known_size(view, row, vmmap_dirty_bytes(&row->pages), d),
	          known_size(view, row, row->pages.swapped, s),
	          protection_text(segment->protection, now),
	          protection_text(segment->max_protection, most), vmmap_sharing_name(row->sharing));
	if (*row->detail)
		emit_text(e, "          %s", shorten(view, row->detail, DETAIL_COLUMNS));
	if (view->settings->attributes && *row->attributes)
		emit_text(e, "  {%s}", row->attributes);
	emit_text(e, "\n");
	print_stack(e, view, row);
}

// --- the form of 2008 ---------------------------------------------------------------------------

static const char *type_2008(const struct vmmap_view *view, const struct vmmap_row *row)
{
	const struct region *region = row->region;
	struct arena *arena = view->look->arena;

	switch (region->kind) {
	case REGION_MALLOC:
		return arena_format(arena, "%s(%s)",
		                    strcmp(row->type, "MALLOC_LARGE") ? "MALLOC_USED"
		                                                      : "VALLOC_USED",
		                    row->detail);
	case REGION_MALLOC_META:
	case REGION_MALLOC_RESERVED:
		return "MALLOC_OTHER";
	case REGION_STACK:
		return region->thread < 0 ? "STACK"
		                          : arena_format(arena, "STACK[%d]", region->thread);
	case REGION_DEAD_STACK:
		return "STACK[ended]";
	case REGION_STACK_GUARD:
		return "STACK_GUARD";
	case REGION_ANONYMOUS:
	case REGION_RESERVED:
		return "";
	default:
		return row->type;
	}
}

// The first words (of 32 bits) of memory that has no other name; all four with -wide.
static const char *first_words(const struct vmmap_view *view, const struct vmmap_row *row)
{
	uint32_t words[4];

	if (row->sharing == SHARING_ZERO || row->sharing == SHARING_EMPTY ||
	    target_read(view->look->target, row->start, words, sizeof(words)))
		return "";
	if (!view->settings->wide)
		return arena_format(view->look->arena, "%08x %08x %08x...", words[0], words[1],
		                    words[2]);
	return arena_format(view->look->arena, "%08x %08x %08x %08x...", words[0], words[1],
	                    words[2], words[3]);
}

static const char *detail_2008(const struct vmmap_view *view, const struct vmmap_row *row)
{
	switch (row->region->kind) {
	case REGION_MALLOC:
	case REGION_MALLOC_META:
	case REGION_MALLOC_RESERVED:
	case REGION_STACK:
	case REGION_DEAD_STACK:
	case REGION_STACK_GUARD:
		return "";
	default:
		return *row->detail ? shorten(view, row->detail, DETAIL_COLUMNS_2008)
		                    : first_words(view, row);
	}
}

// "[ 124K]", with -resident "[ 124K/  40K]", and so on with -dirty and -swapped.
static void sizes_2008(struct emitter *e, const struct vmmap_view *view,
                       const struct vmmap_row *row)
{
	const struct vmmap_settings *settings = view->settings;
	const struct {
		bool wanted;
		uint64_t bytes;
	} more[] = {
		{ settings->resident, row->pages.resident },
		{ settings->dirty, vmmap_dirty_bytes(&row->pages) },
		{ settings->swapped, row->pages.swapped },
	};
	char size[VMMAP_SIZE_BYTES];

	emit_text(e, " [%5s", vmmap_size(view, row->end - row->start, size));
	for (size_t i = 0; i < sizeof(more) / sizeof(*more); i++)
		if (more[i].wanted)
			emit_text(e, "/%5s", known_size(view, row, more[i].bytes, size));
	emit_text(e, "]");
}

static void line_2008(struct emitter *e, const struct vmmap_view *view, const struct vmmap_row *row,
                      const char *mark)
{
	const struct target_segment *segment = row->region->segment;
	const char *detail = detail_2008(view, row);
	char now[4], most[4];

	emit_text(e, "%s%-13s %12" PRIx64, mark,
	          cut_end(view, type_2008(view, row), TYPE_COLUMNS_2008), row->start);
	sizes_2008(e, view, row);
	emit_text(e, " %s/%s SM=%s%s%s", protection_text(segment->protection, now),
	          protection_text(segment->max_protection, most), vmmap_sharing_name(row->sharing),
	          *detail ? "  " : "", detail);
	if (view->settings->attributes && *row->attributes)
		emit_text(e, "  {%s}", row->attributes);
	emit_text(e, "\n");
}

// --- JSON ---------------------------------------------------------------------------------------

static void json_pages(struct emitter *e, const struct vmmap_row *row)
{
	const struct target_pages *pages = &row->pages;
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {
		{ "resident_bytes", pages->resident },
		{ "dirty_bytes", vmmap_dirty_bytes(pages) },
		{ "swapped_bytes", pages->swapped },
		{ "proportional_bytes", pages->proportional },
		{ "private_clean_bytes", pages->private_clean },
		{ "private_dirty_bytes", pages->private_dirty },
		{ "shared_clean_bytes", pages->shared_clean },
		{ "shared_dirty_bytes", pages->shared_dirty },
		{ "anonymous_bytes", pages->anonymous },
		{ "locked_bytes", pages->locked },
		{ "huge_bytes", pages->huge },
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		emit_known_u64(e, numbers[i].key, row->has_pages, numbers[i].value, NULL);
}

static void json_row(struct emitter *e, const struct vmmap_view *view, const struct vmmap_row *row,
                     const char *key)
{
	const struct region *region = row->region;
	char buffer[4];

	emit_object(e, key);
	emit_address(e, "start", row->start, NULL);
	emit_address(e, "end", row->end, NULL);
	emit_string(e, "type", row->type, NULL);
	emit_u64(e, "virtual_bytes", row->end - row->start, NULL);
	json_pages(e, row);
	emit_string(e, "protection", protection_text(region->segment->protection, buffer), NULL);
	emit_string(e, "max_protection", protection_text(region->segment->max_protection, buffer),
	            NULL);
	emit_string(e, "sharing", vmmap_sharing_name(row->sharing), NULL);
	if (view->settings->stacks || view->settings->full_stacks)
		stacks_emit(e, "stack", view->look, stacks_mapping_node(view->look, row->start));
	emit_string(e, "detail", row->detail, NULL);
	emit_string(e, "zone", region->zone < 0 ? NULL : row->detail, NULL);
	if (region->thread < 0)
		emit_null(e, "thread");
	else
		emit_u64(e, "thread", (uint64_t)view->look->target->threads[region->thread].tid,
		         NULL);
	emit_string(e, "attributes", row->attributes, NULL);
	emit_u64(e, "region_count", row->region_count, NULL);
	emit_object_end(e);
}

// --- both ---------------------------------------------------------------------------------------

void vmmap_emit_heading(struct emitter *e, const struct vmmap_view *view)
{
	if (view->settings->form_2008)
		return;
	emit_text(e,
	          "%-*s %12s - %-10s [ VSIZE  RSDNT  DIRTY   SWAP] PRT/MAX SHRMOD PURGE    "
	          "REGION DETAIL\n",
	          TYPE_COLUMNS, "REGION TYPE", "START", "END");
}

void vmmap_emit_row(struct emitter *e, const struct vmmap_view *view, const struct vmmap_row *row,
                    const char *key, const char *mark)
{
	if (emit_is_text(e))
		(view->settings->form_2008 ? line_2008 : line_today)(e, view, row, mark);
	json_row(e, view, row, key);
}
