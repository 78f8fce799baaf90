// SPDX-License-Identifier: MIT
// The tables of footprint: columns, sizes in the chosen form, rows by category, regions. Called by
// footprint.c.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/footprint_impl.h"

#define KB 1024ull
#define MB (1024 * KB)
#define GB (1024 * MB)

static const struct {
	const char *title, *key, *word; // key: in JSON; word: of --sort
	int width, width_in_bytes;
	size_t offset;
} columns[COLUMN_COUNT] = {
	[COLUMN_DIRTY] = { "Dirty", "dirty_bytes", "dirty", 7, 15,
	                   offsetof(struct footprint_counts, dirty_bytes) },
	[COLUMN_SWAPPED] = { "(Swapped)", "swapped_bytes", "swapped", 11, 15,
	                     offsetof(struct footprint_counts, swapped_bytes) },
	[COLUMN_WIRED] = { "(Wired)", "wired_bytes", "wired", 11, 15,
	                   offsetof(struct footprint_counts, wired_bytes) },
	[COLUMN_CLEAN] = { "Clean", "clean_bytes", "clean", 11, 15,
	                   offsetof(struct footprint_counts, clean_bytes) },
	[COLUMN_RECLAIMABLE] = { "Reclaimable", "reclaimable_bytes", "reclaimable", 13, 15,
	                         offsetof(struct footprint_counts, reclaimable_bytes) },
	[COLUMN_REGIONS] = { "Regions", "region_count", "regions", 11, 11,
	                     offsetof(struct footprint_counts, region_count) },
	[COLUMN_CATEGORY] = { "Category", NULL, "category", 0, 0, 0 },
};

struct error *footprint_check_words(const struct footprint_settings *settings)
{
	const char *format = settings->format;

	if (format && strcmp(format, "bytes") && strcmp(format, "formatted") &&
	    strcmp(format, "pages"))
		return error_new(ERROR_USAGE, "'%s' is no format: bytes, formatted or pages",
		                 format);
	if (footprint_sort_column(settings) == COLUMN_COUNT)
		return error_new(ERROR_USAGE,
		                 "'%s' is no column: dirty, swapped, wired, clean, reclaimable, "
		                 "regions or category",
		                 settings->sort);
	return NULL;
}

// COLUMN_COUNT when there is no such column.
enum footprint_column footprint_sort_column(const struct footprint_settings *settings)
{
	enum footprint_column column = COLUMN_DIRTY;

	if (!settings->sort)
		return column;
	while (column < COLUMN_COUNT && strcmp(columns[column].word, settings->sort))
		column++;
	return column;
}

uint64_t footprint_column_value(const struct footprint_counts *counts, enum footprint_column column)
{
	return *(const uint64_t *)((const char *)counts + columns[column].offset);
}

static bool in_format(const struct footprint_view *view, const char *word)
{
	return view->settings->format && !strcmp(view->settings->format, word);
}

// To the nearest unit, four digits at most.
char *footprint_size(const struct footprint_view *view, uint64_t bytes,
                     char buffer[FOOTPRINT_SIZE_BYTES])
{
	const char *form = "%" PRIu64 " B";
	uint64_t value = bytes;

	if (in_format(view, "pages")) {
		form = "%" PRIu64;
		value = bytes / os_page_bytes();
	} else if (in_format(view, "bytes") || bytes < KB) {
		value = bytes;
	} else if ((bytes + KB / 2) / KB <= 9999) {
		form = "%" PRIu64 " KB";
		value = (bytes + KB / 2) / KB;
	} else if ((bytes + MB / 2) / MB <= 9999) {
		form = "%" PRIu64 " MB";
		value = (bytes + MB / 2) / MB;
	} else {
		form = "%" PRIu64 " GB";
		value = (bytes + GB / 2) / GB;
	}
	snprintf(buffer, FOOTPRINT_SIZE_BYTES, form, value);
	return buffer;
}

static bool is_shown(const struct footprint_view *view, enum footprint_column column)
{
	return column == COLUMN_SWAPPED ? view->settings->swapped
	       : column == COLUMN_WIRED ? view->settings->wired
	                                : column != COLUMN_CATEGORY;
}

static int width_of(const struct footprint_view *view, enum footprint_column column)
{
	return in_format(view, "bytes") ? columns[column].width_in_bytes : columns[column].width;
}

void footprint_emit_counts(struct emitter *e, const struct footprint_counts *counts)
{
	for (enum footprint_column i = 0; i < COLUMN_CATEGORY; i++)
		emit_u64(e, columns[i].key, footprint_column_value(counts, i), NULL);
}

static void text_counts(struct emitter *e, const struct footprint_view *view,
                        const struct footprint_counts *counts)
{
	char size[FOOTPRINT_SIZE_BYTES];

	for (enum footprint_column i = 0; i < COLUMN_CATEGORY; i++) {
		uint64_t value = footprint_column_value(counts, i);

		if (!is_shown(view, i))
			continue;
		if (i == COLUMN_REGIONS)
			emit_text(e, "%*" PRIu64, width_of(view, i), value);
		else
			emit_text(e, "%*s", width_of(view, i), footprint_size(view, value, size));
	}
}

static void text_titles(struct emitter *e, const struct footprint_view *view)
{
	for (enum footprint_column i = 0; i < COLUMN_CATEGORY; i++)
		if (is_shown(view, i))
			emit_text(e, "%*s", width_of(view, i), columns[i].title);
	emit_text(e, "    Category\n");
}

static void text_rule(struct emitter *e, const struct footprint_view *view)
{
	for (enum footprint_column i = 0; i < COLUMN_CATEGORY; i++)
		if (is_shown(view, i))
			emit_text(e, "%*s", width_of(view, i), "---");
	emit_text(e, "    ---\n");
}

struct sorting {
	enum footprint_column column;
	bool shares;
};

static int compare_names(const struct footprint_category *a, const struct footprint_category *b)
{
	return strcmp(a->name, b->name);
}

static int compare_categories(const void *a, const void *b, void *context)
{
	const struct footprint_category *x = a, *y = b;
	const struct sorting *sorting = context;
	uint64_t p, q;

	if (sorting->column == COLUMN_CATEGORY)
		return compare_names(x, y);
	p = footprint_column_value(sorting->shares ? &x->share : &x->counts, sorting->column);
	q = footprint_column_value(sorting->shares ? &y->share : &y->counts, sorting->column);
	return p != q ? (p < q) - (p > q) : compare_names(x, y);
}

static void emit_category(struct emitter *e, struct footprint_view *view,
                          const struct footprint_category *category, bool shares)
{
	const struct footprint_counts *counts = shares ? &category->share : &category->counts;

	emit_object(e, NULL);
	text_counts(e, view, counts);
	emit_string(e, "name", text_printable(&view->arena, category->name), "    %s\n");
	footprint_emit_counts(e, counts);
	emit_object_end(e);
}

void footprint_emit_table(struct emitter *e, const struct footprint_view *view,
                          struct footprint *footprint, bool shares)
{
	struct sorting sorting = { footprint_sort_column(view->settings), shares };

	if (footprint->category_count)
		qsort_r(footprint->categories, footprint->category_count,
		        sizeof(*footprint->categories), compare_categories, &sorting);
	text_titles(e, view);
	text_rule(e, view);
	emit_array(e, "categories");
	for (size_t i = 0; i < footprint->category_count; i++)
		emit_category(e, (struct footprint_view *)view, &footprint->categories[i], shares);
	emit_array_end(e);
	if (footprint->category_count)
		text_rule(e, view);
	text_counts(e, view, shares ? &footprint->total.share : &footprint->total.counts);
	emit_text(e, "    TOTAL\n");
}

void footprint_emit_regions(struct emitter *e, struct footprint_view *view,
                            const struct footprint *footprint)
{
	bool cut = !view->settings->wide;

	emit_text(e, "\nRegions:\n");
	emit_array(e, "regions");
	for (size_t i = 0; i < footprint->region_count; i++) {
		const struct footprint_region *region = &footprint->regions[i];
		const char *name = text_printable(&view->arena, region->name);
		char protection[] = "----";

		for (unsigned bit = 0; bit < 3; bit++)
			if (region->protection & 1u << bit)
				protection[bit] = "rwx"[bit];
		protection[3] = region->shared ? 's' : 'p';
		emit_object(e, NULL);
		text_counts(e, view, &region->counts);
		emit_string(e, "category", text_printable(&view->arena, region->category),
		            "    %-22s");
		emit_address(e, "start", region->start, " %012" PRIx64);
		emit_address(e, "end", region->end, "-%012" PRIx64);
		emit_string(e, "protection", protection, " %s");
		emit_string(e, "name", name, NULL);
		emit_text(e, " %s\n", cut ? text_base_name(name) : name);
		footprint_emit_counts(e, &region->counts);
		emit_object_end(e);
	}
	emit_array_end(e);
}
