// SPDX-License-Identifier: MIT
// Memory for the allocator's own records, in mappings of its own, so that no overrun of a block of the
// program reaches it: each lies between pages that fault. Powers of two from 64 bytes on; what is given
// back is kept in lists by size, and short records are halved when shorter ones are wanted. Not returned
// to the system: records are small and come back soon.
#include "malloc/malloc_impl.h"

enum {
	SMALLEST_BITS = 6,
	OWN_MAPPING_BITS = 17, // from here on: mapped and unmapped by itself
	STEP_BYTES = 256 << 10,
	FIRST_RECORD = 1 << SMALLEST_BITS,
	SPLIT_BITS_MAX = 13,
};

struct free_record {
	struct free_record *next;
	unsigned bits; // of a late one
};

struct inside_lock malloc_meta_lock;
static struct free_record *free_records[OWN_MAPPING_BITS];
static char *step_at, *step_end;
static struct free_record *late_records; // given back by who could not get the lock

static unsigned size_bits(size_t bytes)
{
	unsigned bits = SMALLEST_BITS;

	while ((size_t)1 << bits < bytes)
		bits++;
	return bits;
}

void *malloc_meta_map(size_t bytes)
{
	size_t whole = bytes + 2 * PAGE_BYTES;
	char *memory = inside_map(whole, PAGE_BYTES, INSIDE_NO_ACCESS);

	if (!memory)
		return NULL;
	inside_name(memory, whole, "malloc metadata");
	if (!inside_protect(memory + PAGE_BYTES, bytes, INSIDE_READ_WRITE))
		return memory + PAGE_BYTES;
	inside_unmap(memory, whole);
	return NULL;
}

static void meta_unmap(void *memory, size_t bytes)
{
	inside_unmap((char *)memory - PAGE_BYTES, bytes + 2 * PAGE_BYTES);
}

void malloc_meta_publish(uintptr_t start, size_t bytes)
{
	malloc_region_add(start - PAGE_BYTES, start, MALLOC_REGION_GUARD, 0);
	malloc_region_add(start, start + bytes, MALLOC_REGION_METADATA, 0);
	malloc_region_add(start + bytes, start + bytes + PAGE_BYTES, MALLOC_REGION_GUARD, 0);
}

static void put_record(struct free_record *record, unsigned bits)
{
	record->next = free_records[bits];
	free_records[bits] = record;
}

// The next record starts on a page; what is left of the last one is for smaller ones.
static void step_to_page(void)
{
	while ((uintptr_t)step_at % PAGE_BYTES) {
		size_t left = PAGE_BYTES - (uintptr_t)step_at % PAGE_BYTES;
		unsigned bits = 63 - (unsigned)__builtin_clzll(left);

		put_record((struct free_record *)step_at, bits);
		step_at += (size_t)1 << bits;
	}
}

// Records that nearly fill a page start on one, but those that are kept. The rest of the last step is
// lost: it was never touched.
static bool step(size_t bytes, bool kept)
{
	char *memory;

	if (bytes > PAGE_BYTES / 2 && !kept)
		step_to_page();
	if (step_end - step_at >= (ptrdiff_t)bytes)
		return true;
	memory = malloc_meta_map(STEP_BYTES);
	if (!memory)
		return false;
	step_at = memory + FIRST_RECORD; // malloc_fast_free reads two words before an array
	step_end = memory + STEP_BYTES;
	return true;
}

static void put_late(struct free_record *record, unsigned bits)
{
	record->bits = bits;
	record->next = __atomic_load_n(&late_records, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&late_records, &record->next, record, true,
	                                    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

static void take_late(void)
{
	struct free_record *next, *record;

	for (record = __atomic_exchange_n(&late_records, NULL, __ATOMIC_ACQUIRE); record;
	     record = next) {
		next = record->next;
		put_record(record, record->bits);
	}
}

static void *take_stepped(size_t bytes, bool kept)
{
	if (!step(bytes, kept))
		return NULL;
	step_at += bytes;
	return step_at - bytes;
}

// A free record, or a half of a longer one: bins that grow and shrink leave arrays of all lengths behind.
// Halves do not come together again, so only short ones are split.
static struct free_record *pop_record(unsigned bits)
{
	unsigned found = bits;
	struct free_record *record;

	while (found < SPLIT_BITS_MAX && !free_records[found])
		found++;
	record = free_records[found];
	if (!record)
		return NULL;
	free_records[found] = record->next;
	while (found-- > bits)
		put_record((struct free_record *)((char *)record + ((size_t)1 << found)), found);
	return record;
}

static void *take_record(unsigned bits)
{
	struct free_record *record;
	size_t bytes = (size_t)1 << bits;

	if (unlikely(__atomic_load_n(&late_records, __ATOMIC_RELAXED)))
		take_late();
	record = pop_record(bits);
	if (record) {
		for (size_t i = 0; i < bytes / 8; i++)
			((volatile uint64_t *)record)[i] = 0;
		return record;
	}
	return take_stepped(bytes, false);
}

// A mapping of its own, which can be given back as any record.
static void *map_record(size_t bytes)
{
	char *memory = malloc_meta_map(bytes + FIRST_RECORD);

	return memory ? memory + FIRST_RECORD : NULL;
}

static void *take(unsigned bits, size_t kept_bytes)
{
	char *before, *stepped;
	void *record;

	if (!malloc_lock(&malloc_meta_lock))
		return map_record(kept_bytes ? kept_bytes : (size_t)1 << bits);
	before = step_end;
	record = kept_bytes ? take_stepped(kept_bytes, true) : take_record(bits);
	stepped = step_end != before ? step_end : NULL;
	inside_unlock(&malloc_meta_lock);
	if (stepped) // without the lock: the list of regions may grow, and takes a record for it
		malloc_meta_publish((uintptr_t)stepped - STEP_BYTES, STEP_BYTES);
	return record;
}

void *malloc_meta_take(size_t bytes)
{
	unsigned bits = size_bits(bytes);

	if (bits >= OWN_MAPPING_BITS)
		return malloc_meta_map((size_t)1 << bits);
	return take(bits, 0);
}

void *malloc_meta_keep(size_t bytes)
{
	return take(0, (bytes + FIRST_RECORD - 1) & -(size_t)FIRST_RECORD);
}

void malloc_meta_give(void *memory, size_t bytes)
{
	unsigned bits = size_bits(bytes);

	if (!memory)
		return;
	if (bits >= OWN_MAPPING_BITS) {
		meta_unmap(memory, (size_t)1 << bits);
		return;
	}
	if (!malloc_lock(&malloc_meta_lock)) {
		put_late(memory, bits);
		return;
	}
	put_record(memory, bits);
	inside_unlock(&malloc_meta_lock);
}
