// SPDX-License-Identifier: MIT
// Regions as lines of vmmap's list: sharing mode from what the kernel counted, attributes in words,
// equal neighbours merged. Called by vmmap.c and vmmap_diff.c.
#include <string.h>

#include "report/vmmap_impl.h"

static const char *const sharing_names[] = {
	[SHARING_COW] = "COW",          [SHARING_PRIVATE] = "PRV", [SHARING_EMPTY] = "NUL",
	[SHARING_ALIASED] = "ALI",      [SHARING_SHARED] = "SHM",  [SHARING_ZERO] = "ZER",
	[SHARING_SHARED_ALIAS] = "S/A",
};

const char *vmmap_sharing_name(enum sharing sharing)
{
	return sharing_names[sharing];
}

bool vmmap_of_library(const struct region *region)
{
	return region->kind == REGION_TEXT || region->kind == REGION_CONST ||
	       region->kind == REGION_DATA || region->kind == REGION_BSS;
}

bool vmmap_reserved(const struct region *region)
{
	return region->kind == REGION_RESERVED || region->kind == REGION_MALLOC_RESERVED;
}

// --- sharing mode -------------------------------------------------------------------------------

// At how many addresses of this process the object's range lies, this one included.
static unsigned count_aliases(const struct look *look, const struct target_segment *segment)
{
	uint64_t bytes = segment->end - segment->start;
	unsigned count = 0;

	for (size_t i = 0; segment->file && i < look->target->segment_count; i++) {
		const struct target_segment *other = &look->target->segments[i];

		if (other->file == segment->file && other->shared &&
		    other->file_offset < segment->file_offset + bytes &&
		    segment->file_offset < other->file_offset + (other->end - other->start))
			count++;
	}
	return count;
}

// Each page counts as resident / its number of mappings in `proportional`: when that is less than our
// own mappings explain, others map the pages too.
static enum sharing sharing_of_shared(const struct look *look, const struct region *region)
{
	unsigned aliases = count_aliases(look, region->segment);
	const struct target_pages *pages = &region->pages;

	if (aliases < 2)
		return SHARING_SHARED;
	if (region->has_pages && (pages->proportional + 4096) * aliases < pages->resident)
		return SHARING_SHARED_ALIAS;
	return SHARING_ALIASED;
}

static enum sharing sharing_without_pages(const struct region *region)
{
	const struct target_segment *segment = region->segment;

	if (!segment->protection)
		return SHARING_EMPTY;
	return segment->file && !segment->file->anonymous ? SHARING_COW : SHARING_PRIVATE;
}

static enum sharing sharing_of(const struct look *look, const struct region *region)
{
	const struct target_segment *segment = region->segment;
	const struct target_pages *pages = &region->pages;

	// Pages of the kernel: not counted, and the same for everyone.
	if (region->kind == REGION_VDSO || region->kind == REGION_DEVICE)
		return SHARING_SHARED;
	if (segment->shared)
		return sharing_of_shared(look, region);
	if (!region->has_pages)
		return sharing_without_pages(region);
	if (!pages->resident && !pages->swapped)
		return segment->file || !segment->protection ? SHARING_EMPTY : SHARING_ZERO;
	// Copies of our own are the anonymous pages; shared ones wait for a write of us or a relative.
	if (pages->anonymous < pages->resident ||
	    (pages->shared_clean + pages->shared_dirty && pages->anonymous))
		return SHARING_COW;
	return SHARING_PRIVATE;
}

// --- attributes ---------------------------------------------------------------------------------

// VmFlags of smaps (Documentation/filesystems/proc.rst) that a user may ask about.
static const struct {
	char flag[3];
	const char *word;
} attributes[] = {
	{ "lo", "locked" },       { "dc", "dontfork" },     { "wf", "wipeonfork" },
	{ "hg", "hugepage" },     { "nh", "nohugepage" },   { "ht", "hugetlb" },
	{ "dd", "dontdump" },     { "gu", "guard" },        { "gd", "growsdown" },
	{ "nr", "noreserve" },    { "mg", "mergeable" },    { "um", "userfault-missing" },
	{ "uw", "userfault-wp" }, { "ss", "shadow-stack" }, { "mt", "tagged" },
	{ "sl", "sealed" },       { "io", "io" },           { "pf", "pfn" },
	{ "de", "dontexpand" },   { "sr", "sequential" },   { "rr", "random" },
	{ "dp", "droppable" },
};

static const char *attributes_of(const struct look *look, const struct region *region)
{
	const char *text = region->kind == REGION_STACK_GUARD ? "guard" : "";

	for (size_t i = 0; i < sizeof(attributes) / sizeof(*attributes); i++) {
		if (os_flags_have(region->pages.flags, attributes[i].flag))
			text = arena_format(look->arena, "%s%s%s", text, *text ? " " : "",
			                    attributes[i].word);
	}
	return text;
}

// --- rows ---------------------------------------------------------------------------------------

void vmmap_pages_add(struct target_pages *sum, const struct target_pages *more)
{
	sum->resident += more->resident;
	sum->proportional += more->proportional;
	sum->shared_clean += more->shared_clean;
	sum->shared_dirty += more->shared_dirty;
	sum->private_clean += more->private_clean;
	sum->private_dirty += more->private_dirty;
	sum->referenced += more->referenced;
	sum->anonymous += more->anonymous;
	sum->swapped += more->swapped;
	sum->swapped_proportional += more->swapped_proportional;
	sum->locked += more->locked;
	sum->huge += more->huge;
}

static bool equal_neighbours(const struct vmmap_row *row, const struct vmmap_row *next,
                             bool by_attributes)
{
	const struct region *a = row->region, *b = next->region;

	return row->end == next->start && a->kind == b->kind && a->zone == b->zone &&
	       a->thread == b->thread && a->segment->protection == b->segment->protection &&
	       a->segment->max_protection == b->segment->max_protection &&
	       a->segment->shared == b->segment->shared && row->sharing == next->sharing &&
	       strcmp(row->type, next->type) == 0 && strcmp(row->detail, next->detail) == 0 &&
	       row->has_pages == next->has_pages &&
	       (!by_attributes || strcmp(row->attributes, next->attributes) == 0);
}

static struct vmmap_row make_row(const struct look *look, const struct region *region)
{
	return (struct vmmap_row){
		.start = region->start,
		.end = region->end,
		.region = region,
		.type = region->type,
		.detail = region->zone < 0 ? region->detail
		                           : report_zone_name(look->heaps, (unsigned)region->zone,
		                                              look->arena),
		.sharing = sharing_of(look, region),
		.pages = region->pages,
		.has_pages = region->has_pages,
		.region_count = 1,
		.attributes = attributes_of(look, region),
	};
}

struct vmmap_rows vmmap_rows_make(const struct look *look, bool coalesce, bool by_attributes)
{
	const struct regions *regions = look->regions;
	struct vmmap_row *rows = arena_array(look->arena, regions->region_count, sizeof(*rows));
	size_t n = 0;

	for (size_t i = 0; i < regions->region_count; i++) {
		struct vmmap_row row = make_row(look, &regions->regions[i]);

		if (coalesce && n && equal_neighbours(&rows[n - 1], &row, by_attributes)) {
			rows[n - 1].end = row.end;
			rows[n - 1].region_count++;
			vmmap_pages_add(&rows[n - 1].pages, &row.pages);
			continue;
		}
		rows[n++] = row;
	}
	return (struct vmmap_rows){ rows, n };
}
