// SPDX-License-Identifier: MIT
// Shares the page counts of a segment out to the parts it was split into. The kernel counts whole
// mappings only, so the parts get shares by their present pages; the shares add up to the segment's
// numbers exactly. Called by regions.c.
#include <string.h>

#include "regions/regions_impl.h"

// Every number of struct target_pages, in one order.
static const size_t number_offsets[] = {
	offsetof(struct target_pages, resident),
	offsetof(struct target_pages, proportional),
	offsetof(struct target_pages, shared_clean),
	offsetof(struct target_pages, shared_dirty),
	offsetof(struct target_pages, private_clean),
	offsetof(struct target_pages, private_dirty),
	offsetof(struct target_pages, referenced),
	offsetof(struct target_pages, anonymous),
	offsetof(struct target_pages, swapped),
	offsetof(struct target_pages, swapped_proportional),
	offsetof(struct target_pages, locked),
	offsetof(struct target_pages, huge),
};

enum { NUMBERS = sizeof(number_offsets) / sizeof(*number_offsets) };

static uint64_t *number_at(const struct target_pages *pages, size_t index)
{
	return (uint64_t *)((char *)pages + number_offsets[index]);
}

static void add_present(void *context, uint64_t start, uint64_t end)
{
	*(uint64_t *)context += end - start;
}

static struct error *present_bytes(struct regions_own *own, const struct region *region,
                                   uint64_t *ret)
{
	*ret = 0;
	if (region->kind == REGION_STACK_GUARD)
		return NULL;
	return target_present(own->open.target, region->start, region->end, add_present, ret);
}

// value * part / whole in units of pages, without overflow.
static uint64_t share_of(const struct regions_own *own, uint64_t value, uint64_t part,
                         uint64_t whole)
{
	uint64_t pages = value / own->page_bytes;

	return (uint64_t)((__uint128_t)pages * part / whole) * own->page_bytes;
}

// Each part takes the difference between two running sums, so that nothing is lost by rounding.
static void share_number(struct regions_own *own, struct region *first, size_t count, size_t index,
                         const uint64_t *present, uint64_t whole)
{
	uint64_t value = *number_at(&first->segment->pages, index), before = 0, given = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t now;

		before += present[i];
		now = before == whole ? value : share_of(own, value, before, whole);
		*number_at(&first[i].pages, index) = now - given;
		given = now;
	}
}

struct error *regions_share_pages(struct regions_own *own, struct region *first, size_t count)
{
	const struct target_segment *segment;
	uint64_t *present, whole = 0;

	if (!count || !first->segment->has_pages)
		return NULL;
	segment = first->segment;
	present = arena_array(&own->arena, count, sizeof(*present));
	for (size_t i = 0; i < count; i++) {
		first[i].has_pages = true;
		memcpy(first[i].pages.flags, segment->pages.flags, sizeof(segment->pages.flags));
		if (count > 1)
			TRY(present_bytes(own, &first[i], &present[i]));
		whole += present[i];
	}
	if (!whole) { // nothing is present, or it is whole: its first part takes the numbers
		present[0] = whole = 1;
	}
	for (size_t i = 0; i < NUMBERS; i++)
		share_number(own, first, count, i, present, whole);
	return NULL;
}
