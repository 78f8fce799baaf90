// SPDX-License-Identifier: MIT
// The blocks of Guard Malloc, from its records (layout/guard.h). Each lies on pages of its own in
// extents that all guarded zones share. Blocks that could not be guarded are the core's and found as
// such.
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/search.h"
#include "heaps/heapwright.h"

enum {
	GUARD_PIECE_RECORDS = 4096 / sizeof(struct guard_record),
	GUARD_ZONES_READ = 1 << 16,
};

// --- what there is --------------------------------------------------------------------------------
static bool descriptor_known(const struct guard_descriptor *d)
{
	return memcmp(d->magic, GUARD_MAGIC, sizeof(d->magic)) == 0 &&
	       d->version == GUARD_VERSION && d->bytes == sizeof(*d) &&
	       d->record_bytes == sizeof(struct guard_record) &&
	       d->extent_bytes == sizeof(struct guard_extent) &&
	       d->records_per_table == GUARD_TABLE_RECORDS && d->extent_count <= GUARD_EXTENTS &&
	       d->record_count <= (uint64_t)GUARD_TABLES * GUARD_TABLE_RECORDS;
}

static bool read_descriptor(struct heapwright *heap)
{
	struct guard_descriptor *d = &heap->guard;
	uint64_t at = heap->descriptor.guard;

	if (!at)
		return false;
	if (target_read_some(heap->target, at, d, sizeof(*d)) == sizeof(*d) && descriptor_known(d))
		return true;
	const char *evidence = arena_format(heap->build->arena,
	                                    "its descriptor at 0x%llx is of another version, %u",
	                                    (unsigned long long)at, d->version);
	build_unknown(heap->build, "Guard Malloc", evidence);
	memset(d, 0, sizeof(*d));
	return false;
}

static void metadata(struct heapwright *heap, uint64_t start, uint64_t count, uint64_t bytes)
{
	uint64_t end;

	if (start && checked_mul(count, bytes, &end) && checked_add(start, end, &end))
		build_range(heap->build, start, end, HEAP_RANGE_METADATA, heap->main_zone);
}

// Addresses of the tables that are in use, and all of the library's own memory as such: each record
// holds the address of its block.
static void read_tables(struct heapwright *heap)
{
	const struct guard_descriptor *d = &heap->guard;
	size_t bytes = GUARD_TABLES * sizeof(*heap->guard_tables);

	heap->guard_tables = arena_alloc(heap->build->arena, bytes);
	if (target_read_some(heap->target, d->tables, heap->guard_tables, bytes) != bytes)
		heapwright_fault(heap, heap->main_zone, d->tables, "tables of Guard Malloc", bytes,
		                 0, "the tables of Guard Malloc at 0x%llx cannot be read",
		                 (unsigned long long)d->tables);
	metadata(heap, heap->descriptor.guard, 1, sizeof(*d));
	metadata(heap, d->tables, GUARD_TABLES, sizeof(uint64_t));
	metadata(heap, d->extents, d->extent_count, sizeof(struct guard_extent));
	metadata(heap, d->zones, d->zone_count, sizeof(uint64_t));
	for (size_t i = 0; i < GUARD_TABLES; i++)
		metadata(heap, heap->guard_tables[i], GUARD_TABLE_RECORDS,
		         sizeof(struct guard_record));
}

static int compare_extents(const void *a, const void *b)
{
	const struct guard_extent *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void read_extents(struct heapwright *heap)
{
	const struct guard_descriptor *d = &heap->guard;

	for (uint32_t i = 0; i < d->extent_count; i++) {
		struct guard_extent extent;
		uint64_t at = d->extents + i * sizeof(extent);
		bool read = target_read_some(heap->target, at, &extent, sizeof(extent)) ==
		            sizeof(extent);

		if (read && extent.start < extent.end && extent.used >= extent.start &&
		    extent.used <= extent.end) {
			vec_push(&heap->extents, extent);
			vec_push(&heap->build->claims,
			         ((struct heap_claim){ extent.start, extent.end }));
			continue;
		}
		heapwright_fault(heap, heap->main_zone, at, "extent of Guard Malloc", 0, 0,
		                 "extent %u of Guard Malloc at 0x%llx is impossible", i,
		                 (unsigned long long)at);
	}
	if (heap->extents.n)
		qsort(heap->extents.v, heap->extents.n, sizeof(*heap->extents.v), compare_extents);
	for (size_t i = 0; i < heap->extents.n; i++) {
		const struct guard_extent *extent = &heap->extents.v[i];

		build_range_typed(heap->build, extent->start, extent->used, HEAP_RANGE_BLOCKS,
		                  heap->main_zone, "MALLOC guarded");
		build_range_typed(heap->build, extent->used, extent->end, HEAP_RANGE_RESERVED,
		                  heap->main_zone, "MALLOC guard page");
	}
}

// --- zones ----------------------------------------------------------------------------------------
// The table of zones tells names by the addresses that the program knows: those of guarded zones.
static uint32_t zone_of_guarded(const struct heapwright *heap, uint64_t address)
{
	const struct heap_build *build = heap->build;

	for (size_t i = 0; i < build->zones.n; i++)
		if (build->zones.v[i].address == address)
			return (uint32_t)i;
	return heap->main_zone;
}

static void read_zones(struct heapwright *heap)
{
	uint32_t count = heap->guard.zone_count;

	heap->guard_zone_count = count < GUARD_ZONES_READ ? count : GUARD_ZONES_READ;
	heap->guard_zones =
		arena_array(heap->build->arena, heap->guard_zone_count, sizeof(*heap->guard_zones));
	for (uint32_t i = 0; i < heap->guard_zone_count; i++) {
		uint64_t zone;

		heap->guard_zones[i] = heap->main_zone;
		if (!target_read_word(heap->target, heap->guard.zones + i * sizeof(zone), &zone))
			heap->guard_zones[i] = zone_of_guarded(heap, zone);
	}
}

void heapwright_guard_probe(struct heapwright *heap)
{
	if (!read_descriptor(heap))
		return;
	read_zones(heap);
	read_tables(heap);
	read_extents(heap);
}

// --- blocks ---------------------------------------------------------------------------------------
static bool in_extent(const struct heapwright *heap, uint64_t address, uint64_t bytes)
{
	size_t at = first_index(heap->extents.n, i, heap->extents.v[i].end > address);

	return at < heap->extents.n && address >= heap->extents.v[at].start &&
	       checked_within(address - heap->extents.v[at].start, bytes,
	                      heap->extents.v[at].used - heap->extents.v[at].start);
}

static void take_record(struct heapwright *heap, uint64_t at, const struct guard_record *record)
{
	bool live = record->state == GUARD_LIVE || record->state == GUARD_CHECKED;

	if (!live && record->state != GUARD_FREED)
		return;
	if (!in_extent(heap, record->block, record->bytes) || !heap->block_room) {
		heapwright_fault(
			heap, heap->main_zone, at, "record of Guard Malloc", 0, record->block,
			"the record at 0x%llx of Guard Malloc tells of a block of %llu bytes "
			"at 0x%llx, which is outside",
			(unsigned long long)at, (unsigned long long)record->bytes,
			(unsigned long long)record->block);
		return;
	}
	heap->block_room--;
	uint32_t zone = record->zone < heap->guard_zone_count ? heap->guard_zones[record->zone]
	                                                      : heap->main_zone;
	vec_push(&heap->build->blocks,
	         ((struct heap_block){ .hb_address = record->block,
	                               .hb_size = record->bytes,
	                               .hb_zone = zone,
	                               .hb_state = live ? HEAP_USED : HEAP_CACHED }));
	if (live)
		vec_push(&heap->build->requested,
		         ((struct heap_requested){ record->block, record->bytes }));
}

// Up to count records of one table.
static void read_table(struct heapwright *heap, uint64_t table, uint32_t count)
{
	for (uint32_t done = 0; done < count; done += GUARD_PIECE_RECORDS) {
		struct guard_record records[GUARD_PIECE_RECORDS];
		uint64_t at = table + (uint64_t)done * sizeof(records[0]);
		uint32_t n =
			count - done < GUARD_PIECE_RECORDS ? count - done : GUARD_PIECE_RECORDS;
		const uint8_t *bytes =
			window_bytes(&heap->entry_window, at, n * sizeof(records[0]));

		if (!bytes) {
			heapwright_fault(heap, heap->main_zone, at, "records of Guard Malloc", n, 0,
			                 "the records of Guard Malloc at 0x%llx cannot be read",
			                 (unsigned long long)at);
			return;
		}
		memcpy(records, bytes, n * sizeof(records[0]));
		for (uint32_t i = 0; i < n; i++)
			take_record(heap, at + i * sizeof(records[0]), &records[i]);
	}
}

static int compare_blocks(const void *a, const void *b)
{
	const struct heap_block *x = a, *y = b;

	return x->hb_address < y->hb_address ? -1 : x->hb_address > y->hb_address;
}

// Each block has a run of its own: two in one place are damage.
static void drop_overlapping(struct heapwright *heap, size_t first)
{
	struct heap_block *v = heap->build->blocks.v;
	size_t kept = first;

	for (size_t i = first; i < heap->build->blocks.n; i++) {
		const struct heap_block *before = kept > first ? &v[kept - 1] : NULL;

		if (!before || (before->hb_address != v[i].hb_address &&
		                before->hb_address + before->hb_size <= v[i].hb_address)) {
			v[kept++] = v[i];
			continue;
		}
		heapwright_fault(heap, v[i].hb_zone, v[i].hb_address, "record of Guard Malloc",
		                 before->hb_address + before->hb_size, v[i].hb_address,
		                 "the guarded block at 0x%llx overlaps the one at 0x%llx",
		                 (unsigned long long)v[i].hb_address,
		                 (unsigned long long)before->hb_address);
	}
	heap->build->blocks.n = kept;
}

void heapwright_guard_blocks(struct heapwright *heap)
{
	struct heap_build *build = heap->build;
	size_t first = build->blocks.n;
	uint32_t left = heap->guard.record_count;

	for (size_t i = 0; i < GUARD_TABLES && left; i++) {
		uint32_t count = left < GUARD_TABLE_RECORDS ? left : GUARD_TABLE_RECORDS;

		if (heap->guard_tables[i])
			read_table(heap, heap->guard_tables[i], count);
		left -= count;
	}
	heap->guarded_count = build->blocks.n - first;
	if (!heap->guarded_count)
		return;
	qsort(build->blocks.v + first, heap->guarded_count, sizeof(*build->blocks.v),
	      compare_blocks);
	drop_overlapping(heap, first);
}
