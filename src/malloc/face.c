// SPDX-License-Identifier: MIT
// The function table of core zones: malloc_zone_t as programs and the other rooms see it, and blocks
// by the batch. Relies on core.c for single blocks. zone.c asks it to fill in the table of a new zone.
#include "malloc/malloc_impl.h"

#include <errno.h>
#include <string.h>

static struct core_zone *core(malloc_zone_t *face)
{
	return (struct core_zone *)face;
}

static size_t face_size(malloc_zone_t *face, const void *p)
{
	struct place place = malloc_place_of(p);

	return place.zone == core(face) ? malloc_place_live_bytes(&place) : 0;
}

static void *face_malloc(malloc_zone_t *face, size_t bytes)
{
	return malloc_zone_allocate(core(face), bytes);
}

static void *face_calloc(malloc_zone_t *face, size_t count, size_t bytes)
{
	return malloc_zone_allocate_zeroed(core(face), count, bytes);
}

static void *aligned(malloc_zone_t *face, size_t alignment, size_t bytes, bool clear)
{
	bool zeroed;
	void *block = malloc_zone_allocate_aligned(core(face), alignment, bytes, &zeroed);

	return block && clear && !zeroed ? memset(block, 0, bytes) : block;
}

static void *face_valloc(malloc_zone_t *face, size_t bytes)
{
	return aligned(face, PAGE_BYTES, bytes, true);
}

static void *face_memalign(malloc_zone_t *face, size_t alignment, size_t bytes)
{
	return aligned(face, alignment, bytes, false);
}

static void *face_malloc_with_options(malloc_zone_t *face, size_t alignment, size_t bytes,
                                      uint64_t options)
{
	bool clear = options & 1; // MALLOC_NP_OPTION_CLEAR

	if (alignment > 16)
		return aligned(face, alignment, bytes, clear);
	return clear ? face_calloc(face, 1, bytes) : face_malloc(face, bytes);
}

static void face_free(malloc_zone_t *face, void *block)
{
	malloc_zone_free_block(core(face), block);
}

static void face_free_definite_size(malloc_zone_t *face, void *block, size_t bytes)
{
	(void)bytes;
	malloc_zone_free_block(core(face), block);
}

static void face_try_free_default(malloc_zone_t *face, void *block)
{
	(void)face;
	malloc_zone_free_block(NULL, block);
}

static void *face_realloc(malloc_zone_t *face, void *block, size_t bytes)
{
	return block ? malloc_zone_resize(core(face), block, bytes) : face_malloc(face, bytes);
}

static void face_destroy(malloc_zone_t *face)
{
	if (core(face)->number)
		malloc_zone_destroy(core(face));
	else
		malloc_fault(MALLOC_FAULT_MISUSE, "*** the default zone cannot be destroyed");
}

// --- batches --------------------------------------------------------------------------------------
// A refill yields its highest address first, the program gets them ascending.
static void reverse(void **results, uint32_t count)
{
	for (uint32_t i = 0; i < count / 2; i++) {
		void *low = results[i];

		results[i] = results[count - 1 - i];
		results[count - 1 - i] = low;
	}
}

static unsigned batch_of_class(struct core_zone *zone, unsigned class, void **results,
                               unsigned wanted)
{
	struct cache *cache = malloc_cache_enter();
	unsigned count = 0;

	if (!zone->number && malloc_slab_grows(cache, zone, class))
		malloc_depot_look(cache, true);
	while (count < wanted) {
		uint32_t got = malloc_slab_refill(cache, zone, class, (uint64_t *)results + count,
		                                  wanted - count, false);

		malloc_transit_end(cache);
		if (!got)
			break;
		reverse(results + count, got);
		count += got;
	}
	malloc_cache_leave(cache);
	return count;
}

static unsigned face_batch_malloc(malloc_zone_t *face, size_t bytes, void **results,
                                  unsigned wanted)
{
	unsigned count = 0;

	if (bytes <= MALLOC_SMALL_MAX)
		return batch_of_class(core(face), class_of(bytes), results, wanted);
	while (count < wanted && (results[count] = malloc_zone_allocate(core(face), bytes)))
		count++;
	return count;
}

// In a signal handler each block may have to be parked.
static void release_part(const uint64_t *blocks, uint32_t count)
{
	struct cache *cache;

	if (malloc_cache_busy()) {
		for (uint32_t i = 0; i < count; i++)
			malloc_zone_free_block(NULL, (void *)blocks[i]);
		return;
	}
	cache = malloc_cache_enter();
	malloc_slab_release(cache, blocks, count);
	malloc_cache_leave(cache);
}

// Blocks of slabs, of whatever zones, go back together; all others one by one.
static void face_batch_free(malloc_zone_t *face, void **blocks, unsigned count)
{
	enum { PART = 256 };
	uint64_t part[PART];
	uint32_t used = 0;

	(void)face;
	for (unsigned i = 0; i < count; i++) {
		struct place place = malloc_place_of(blocks[i]);

		if (place.kind != PLACE_SLAB) {
			malloc_zone_free_block(NULL, blocks[i]);
			continue;
		}
		part[used++] = (uintptr_t)blocks[i];
		if (used == PART) {
			release_part(part, used);
			used = 0;
		}
	}
	release_part(part, used);
}

static size_t face_pressure_relief(malloc_zone_t *face, size_t goal)
{
	return malloc_core_relieve(face, goal);
}

static boolean_t face_claimed_address(malloc_zone_t *face, void *address)
{
	return malloc_place_of(address).zone == core(face);
}

static const malloc_zone_t table = {
	.size = face_size,
	.malloc = face_malloc,
	.calloc = face_calloc,
	.valloc = face_valloc,
	.free = face_free,
	.realloc = face_realloc,
	.destroy = face_destroy,
	.batch_malloc = face_batch_malloc,
	.batch_free = face_batch_free,
	.introspect = &malloc_core_introspection,
	.version = 15,
	.memalign = face_memalign,
	.free_definite_size = face_free_definite_size,
	.pressure_relief = face_pressure_relief,
	.claimed_address = face_claimed_address,
	.try_free_default = face_try_free_default,
	.malloc_with_options = face_malloc_with_options,
};

// Word by word: a call of memcpy would be the first use of that page of libc in a short program.
MALLOC_AT_START void malloc_zone_face(malloc_zone_t *ret)
{
	const uintptr_t *from = (const uintptr_t *)&table;
	volatile uintptr_t *to = (volatile uintptr_t *)ret;

	for (size_t i = 0; i < sizeof(table) / sizeof(*from); i++)
		to[i] = from[i];
}
