// SPDX-License-Identifier: MIT
// Records of runs and the map from a page to its record. Both are out of line, between pages that
// fault, and only ever grow: a record stays with its run. The map has a leaf of one number per page
// for each GiB that holds runs; only the first page of a run, the page behind it and the page where
// its block starts are marked, so that a huge run costs no more than a small one.
#include "guard/guard_impl.h"

#include <errno.h>

static uint32_t **root; // [GUARD_ROOT_LEAVES]

void *guard_metadata_map(size_t bytes)
{
	size_t inner = round_up(bytes, GUARD_PAGE_BYTES);
	char *outer = inside_map(inner + 2 * GUARD_PAGE_BYTES, GUARD_PAGE_BYTES, INSIDE_NO_ACCESS);

	if (!outer)
		return NULL;
	if (inside_protect(outer + GUARD_PAGE_BYTES, inner, INSIDE_READ_WRITE)) {
		inside_unmap(outer, inner + 2 * GUARD_PAGE_BYTES);
		return NULL;
	}
	inside_name(outer, inner + 2 * GUARD_PAGE_BYTES, "heapwright guard metadata");
	return outer + GUARD_PAGE_BYTES;
}

int guard_records_start(void)
{
	root = guard_metadata_map(GUARD_ROOT_LEAVES * sizeof(*root));
	guard_descriptor.tables = (uintptr_t)guard_metadata_map(GUARD_TABLES * sizeof(uint64_t));
	guard_descriptor.records_per_table = GUARD_TABLE_RECORDS;
	guard_descriptor.record_bytes = sizeof(struct guard_record);
	return root && guard_descriptor.tables ? 0 : -ENOMEM;
}

// Record 0 is none, so that unmarked pages have none.
uint32_t guard_record_create(void)
{
	uint32_t number = guard_descriptor.record_count ? guard_descriptor.record_count : 1;
	uint64_t *table = (uint64_t *)guard_descriptor.tables + number / GUARD_TABLE_RECORDS;

	if (number / GUARD_TABLE_RECORDS >= GUARD_TABLES)
		return 0;
	if (!*table)
		*table = (uintptr_t)guard_metadata_map(GUARD_TABLE_RECORDS *
		                                       sizeof(struct guard_record));
	if (!*table)
		return 0;
	__atomic_store_n(&guard_descriptor.record_count, number + 1, __ATOMIC_RELEASE);
	return number;
}

static uint32_t *mark_of(uint64_t address)
{
	uint32_t *leaf;

	if (address >> GUARD_LEAF_BITS >= GUARD_ROOT_LEAVES)
		return NULL;
	leaf = __atomic_load_n(&root[address >> GUARD_LEAF_BITS], __ATOMIC_ACQUIRE);
	return leaf ? &leaf[address >> GUARD_PAGE_BITS & (GUARD_LEAF_PAGES - 1)] : NULL;
}

// Without the lock: two threads may make the same leaf, one of which is then dropped.
static int make_leaf(uint64_t address)
{
	uint32_t **place = &root[address >> GUARD_LEAF_BITS];
	uint32_t *leaf = guard_metadata_map(GUARD_LEAF_PAGES * sizeof(*leaf));
	uint32_t *none = NULL;

	if (!leaf)
		return -ENOMEM;
	if (!__atomic_compare_exchange_n(place, &none, leaf, false, __ATOMIC_ACQ_REL,
	                                 __ATOMIC_RELAXED))
		inside_unmap((char *)leaf - GUARD_PAGE_BYTES,
		             GUARD_LEAF_PAGES * sizeof(*leaf) + 2 * GUARD_PAGE_BYTES);
	return 0;
}

int guard_record_mark(uint64_t address, uint32_t number)
{
	uint32_t *mark = mark_of(address);

	if (!mark) {
		int error = make_leaf(address);

		if (error)
			return error;
		mark = mark_of(address);
	}
	__atomic_store_n(mark, number, __ATOMIC_RELEASE);
	return 0;
}

static bool in_used_part(uint64_t start, uint64_t end)
{
	const struct guard_extent *extents = (const void *)guard_descriptor.extents;

	for (uint32_t i = 0; i < guard_descriptor.extent_count; i++)
		if (start > extents[i].start && start < end && end <= extents[i].used)
			return true;
	return false;
}

// A run that could not be marked whole was given up, and is not in the used part.
bool guard_record_sound(uint32_t number)
{
	const struct guard_record *record = guard_record_at(number);
	uint64_t start = record->run_start, end = guard_run_end(record);

	if (guard_state(record) == GUARD_UNUSED)
		return true;
	return guard_state(record) <= GUARD_CHECKED && !(start % GUARD_PAGE_BYTES) &&
	       in_used_part(start, end + GUARD_PAGE_BYTES) &&
	       guard_record_marked(start) == record && guard_record_marked(end) == record;
}

uint32_t guard_record_number(const struct guard_record *record)
{
	return __atomic_load_n(mark_of(record->run_start), __ATOMIC_ACQUIRE);
}

struct guard_record *guard_record_marked(uint64_t address)
{
	const uint32_t *mark = mark_of(address);
	uint32_t number = mark ? __atomic_load_n(mark, __ATOMIC_ACQUIRE) : 0;

	return number ? guard_record_at(number) : NULL;
}

// The mark at or before the page of address that is nearest; 0 when there is none.
static uint32_t mark_before(uint64_t address)
{
	for (uint64_t leaf = address >> GUARD_LEAF_BITS;; leaf--) {
		const uint32_t *mark = mark_of(address);

		if (!mark)
			return 0;
		for (uint64_t page = address >> GUARD_PAGE_BITS & (GUARD_LEAF_PAGES - 1);; page--) {
			uint32_t number = __atomic_load_n(mark--, __ATOMIC_ACQUIRE);

			if (number)
				return number;
			if (!page)
				break;
		}
		if (!leaf)
			return 0;
		address = (leaf << GUARD_LEAF_BITS) - 1;
	}
}

bool guard_record_covers(uint64_t address)
{
	const struct guard_extent *extents = (const void *)guard_descriptor.extents;
	uint32_t count = __atomic_load_n(&guard_descriptor.extent_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count; i++)
		if (address >= extents[i].start && address < extents[i].end)
			return true;
	return false;
}

struct guard_record *guard_record_around(uint64_t address)
{
	struct guard_record *record;
	uint32_t number;

	// Every run has a mark on its first page, so the way back to it is not longer than the run.
	if (!guard_record_covers(address))
		return NULL;
	number = mark_before(address);
	if (!number)
		return NULL;
	record = guard_record_at(number);
	if (address < record->run_start || address >= guard_run_end(record) + GUARD_PAGE_BYTES)
		return NULL;
	return record;
}
