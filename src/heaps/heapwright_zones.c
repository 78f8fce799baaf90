// SPDX-License-Identifier: MIT
// Zones and regions of our malloc library, from its tables; and the claims that keep readers which
// go by structure out of its memory.
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "heaps/heapwright.h"

enum {
	ZONES_REGIONS_MAX = 1 << 24, // each costs 32 bytes of the program's memory
	ZONES_MAX = 1 << 16,         // what heap_block.hb_zone can hold
};

// --- zones ----------------------------------------------------------------------------------------
static void add_zone(struct heapwright *heap, uint32_t number, struct malloc_zone_record *record)
{
	struct heap_build *build = heap->build;

	if (!record->address || build->zones.n >= ZONES_MAX)
		return;
	record->name[sizeof(record->name) - 1] = '\0';
	const char *name = *record->name ? record->name : "MallocZone";
	heap->zone_of[number] = build_zone(build, name, "heapwright", record->address);
	if (heap->main_zone == HEAPWRIGHT_NO_ZONE)
		heap->main_zone = heap->zone_of[number];
}

void heapwright_zones(struct heapwright *heap)
{
	const struct malloc_descriptor *d = &heap->descriptor;
	struct window window;
	uint32_t i;

	heap->main_zone = HEAPWRIGHT_NO_ZONE;
	heap->zone_of = arena_array(heap->build->arena, MALLOC_ZONES_MAX, sizeof(*heap->zone_of));
	memset(heap->zone_of, 0xff, MALLOC_ZONES_MAX * sizeof(*heap->zone_of));
	window_init(&window, heap->target);
	for (i = 0; i < d->zone_count; i++) {
		struct malloc_zone_record record;
		uint64_t at = d->zones + i * sizeof(record);
		const uint8_t *bytes = window_bytes(&window, at, sizeof(record));

		if (!bytes)
			break;
		memcpy(&record, bytes, sizeof(record));
		add_zone(heap, i, &record);
	}
	window_deinit(&window);
	if (heap->main_zone == HEAPWRIGHT_NO_ZONE)
		heap->main_zone = build_zone(heap->build, "MallocZone", "heapwright", 0);
	if (i < d->zone_count)
		heapwright_fault(heap, heap->main_zone, d->zones, "table of zones", d->zone_count,
		                 i, "only %u of %u zones can be read at 0x%llx", i, d->zone_count,
		                 (unsigned long long)d->zones);
}

uint32_t heapwright_zone(const struct heapwright *heap, uint32_t number)
{
	if (number >= MALLOC_ZONES_MAX || heap->zone_of[number] == HEAPWRIGHT_NO_ZONE)
		return heap->main_zone;
	return heap->zone_of[number];
}

// --- regions --------------------------------------------------------------------------------------
static int compare_regions(const void *a, const void *b)
{
	const struct malloc_region *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static bool region_possible(const struct malloc_region *region)
{
	uint64_t limit = 1ull << (MALLOC_SLICE_BITS + MALLOC_LEAF_BITS + MALLOC_ROOT_BITS);

	return region->start < region->end && region->end <= limit && region->start % 4096 == 0 &&
	       region->end % 4096 == 0 && region->kind >= MALLOC_REGION_BLOCKS &&
	       region->kind <= MALLOC_REGION_GUARD;
}

static void read_regions(struct heapwright *heap)
{
	const struct malloc_descriptor *d = &heap->descriptor;
	uint32_t count = d->region_count < ZONES_REGIONS_MAX ? d->region_count : ZONES_REGIONS_MAX;
	struct window window;
	uint32_t i;

	window_init(&window, heap->target);
	for (i = 0; i < count; i++) {
		struct malloc_region region;
		const uint8_t *bytes =
			window_bytes(&window, d->regions + i * sizeof(region), sizeof(region));

		if (!bytes)
			break;
		memcpy(&region, bytes, sizeof(region));
		if (!region.start && !region.end)
			continue;
		if (region_possible(&region))
			vec_push(&heap->regions, region);
		else
			heapwright_fault(heap, heap->main_zone, d->regions + i * sizeof(region),
			                 "region", region.start, region.end,
			                 "region %u from 0x%llx to 0x%llx of kind %u is impossible",
			                 i, (unsigned long long)region.start,
			                 (unsigned long long)region.end, region.kind);
	}
	window_deinit(&window);
	if (i < d->region_count)
		heapwright_fault(heap, heap->main_zone, d->regions, "table of regions",
		                 d->region_count, i, "only %u of %u regions can be read at 0x%llx",
		                 i, d->region_count, (unsigned long long)d->regions);
}

// Extents that happen to be neighbours are one: runs of slices go on over their border.
static bool region_joins(const struct malloc_region *before, const struct malloc_region *region)
{
	return before->end == region->start && before->kind == MALLOC_REGION_BLOCKS &&
	       region->kind == MALLOC_REGION_BLOCKS && before->zone == region->zone;
}

// Drops what overlaps the region before it.
static void order_regions(struct heapwright *heap)
{
	struct malloc_region *v = heap->regions.v;
	size_t kept = 0;

	if (heap->regions.n)
		qsort(v, heap->regions.n, sizeof(*v), compare_regions);
	for (size_t i = 0; i < heap->regions.n; i++) {
		if (kept && region_joins(&v[kept - 1], &v[i])) {
			v[kept - 1].end = v[i].end;
			continue;
		}
		if (!kept || v[kept - 1].end <= v[i].start) {
			v[kept++] = v[i];
			continue;
		}
		heapwright_fault(heap, heap->main_zone, v[i].start, "region", v[kept - 1].end,
		                 v[i].start,
		                 "the region at 0x%llx overlaps the one from 0x%llx to 0x%llx",
		                 (unsigned long long)v[i].start,
		                 (unsigned long long)v[kept - 1].start,
		                 (unsigned long long)v[kept - 1].end);
	}
	heap->regions.n = kept;
}

static int compare_claims(const void *a, const void *b)
{
	const struct heap_claim *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void claim_regions(struct heapwright *heap)
{
	struct heap_build *build = heap->build;
	size_t kept = 0;

	for (size_t i = 0; i < heap->regions.n; i++)
		vec_push(&build->claims,
		         ((struct heap_claim){ heap->regions.v[i].start, heap->regions.v[i].end }));
	if (build->claims.n)
		qsort(build->claims.v, build->claims.n, sizeof(*build->claims.v), compare_claims);
	for (size_t i = 0; i < build->claims.n; i++) {
		struct heap_claim claim = build->claims.v[i];

		if (kept && build->claims.v[kept - 1].end >= claim.start) {
			if (build->claims.v[kept - 1].end < claim.end)
				build->claims.v[kept - 1].end = claim.end;
			continue;
		}
		build->claims.v[kept++] = claim;
	}
	build->claims.n = kept;
}

// The library's tables, wherever they lie, are no roots: what they point at is not thereby in use.
static void claim_tables(struct heapwright *heap)
{
	const struct malloc_descriptor *d = &heap->descriptor;
	const struct {
		uint64_t start, bytes;
	} tables[] = {
		{ heap->address, sizeof(*d) },
		{ d->root, MALLOC_ROOT_LEAVES * sizeof(uint64_t) },
		{ d->zones, (uint64_t)d->zone_count * sizeof(struct malloc_zone_record) },
		{ d->regions, (uint64_t)d->region_count * sizeof(struct malloc_region) },
		{ d->messages, sizeof(struct malloc_messages) },
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		uint64_t end;

		if (tables[i].start && checked_add(tables[i].start, tables[i].bytes, &end))
			build_range(heap->build, tables[i].start, end, HEAP_RANGE_METADATA,
			            heap->main_zone);
	}
}

void heapwright_regions(struct heapwright *heap)
{
	read_regions(heap);
	order_regions(heap);
	heapwright_guard_probe(heap);
	claim_regions(heap);
	claim_tables(heap);
	for (size_t i = 0; i < heap->regions.n; i++) {
		const struct malloc_region *region = &heap->regions.v[i];
		uint32_t zone = heapwright_zone(heap, region->zone);

		if (region->kind == MALLOC_REGION_METADATA)
			build_range(heap->build, region->start, region->end, HEAP_RANGE_METADATA,
			            zone);
		else if (region->kind == MALLOC_REGION_GUARD)
			build_range_typed(heap->build, region->start, region->end,
			                  HEAP_RANGE_RESERVED, zone, "MALLOC guard page");
	}
}
