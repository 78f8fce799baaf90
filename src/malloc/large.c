// SPDX-License-Identifier: MIT
// Blocks above 32 MiB, and those that realloc made longer than 2 MiB: each has its own mapping of whole
// slices, of which the block's pages are used. Growth moves pages, not bytes, and takes more addresses
// than asked for, so that a block that grows again and again is rarely moved. The list of a zone's
// large blocks is linked by slice numbers. Nothing here needs a lock that a signal handler might have
// interrupted, so a handler can always get a block of this kind.
#include "malloc/malloc_impl.h"

#define KEPT_BYTES ((size_t)32 << 20)

static size_t whole_slices(size_t bytes)
{
	return (bytes + MALLOC_SLICE_BYTES - 1) & -(size_t)MALLOC_SLICE_BYTES;
}

static size_t whole_pages(size_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & -(size_t)PAGE_BYTES;
}

// Changed under the lock, read without it.
static uint64_t large_bytes(const struct core_zone *zone)
{
	return __atomic_load_n(&zone->large_bytes, __ATOMIC_RELAXED);
}

static void large_bytes_add(struct core_zone *zone, uint64_t more)
{
	__atomic_store_n(&zone->large_bytes, zone->large_bytes + more, __ATOMIC_RELAXED);
}

static void list_add(struct core_zone *zone, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);
	uint64_t signals = malloc_lock_quietly(&zone->large_lock);

	slab->previous = 0;
	slab->next = zone->large;
	if (zone->large)
		slice_slab(zone->large)->previous = slice;
	zone->large = slice;
	large_bytes_add(zone, slab->bytes);
	malloc_zone_peak(zone, false);
	malloc_unlock_quiet(&zone->large_lock, signals);
}

static void list_remove(struct core_zone *zone, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);
	uint64_t signals = malloc_lock_quietly(&zone->large_lock);

	if (slab->next)
		slice_slab(slab->next)->previous = slab->previous;
	if (slab->previous)
		slice_slab(slab->previous)->next = slab->next;
	else
		zone->large = slab->next;
	large_bytes_add(zone, -slab->bytes);
	malloc_unlock_quiet(&zone->large_lock, signals);
}

// The descriptor first, then the words. The region's number stands in freed_count.
static void describe(struct core_zone *zone, uint32_t slice, size_t bytes, size_t room,
                     uint64_t notes)
{
	struct malloc_slab *slab = slice_slab(slice);

	slab->freed = 0;
	slab->notes = notes;
	slab->bytes = bytes;
	slab->requested = 0;
	slab->block_count = 1;
	slab->slice_count = (uint32_t)(room >> MALLOC_SLICE_BITS);
	slab->freed_count = malloc_region_add(slice_address(slice), slice_address(slice) + room,
	                                      MALLOC_REGION_LARGE, zone->number);
	slab->stack = 0;
	slab->flags = MALLOC_SPAN_ZEROED;
	list_add(zone, slice);
	malloc_map_set(slice, slab->slice_count, malloc_word(zone->number, MALLOC_LARGE, 0),
	               malloc_word(zone->number, MALLOC_LARGE_REST, 0));
}

static void forget(struct core_zone *zone, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);

	malloc_map_set(slice, slab->slice_count, MALLOC_NONE, MALLOC_NONE);
	list_remove(zone, slice);
	malloc_region_remove(slab->freed_count);
}

static void *map_room(size_t bytes, size_t alignment)
{
	void *memory = inside_map(bytes, alignment, INSIDE_READ_WRITE);

	if (!memory)
		return NULL;
	if (!malloc_map_cover((uintptr_t)memory, bytes)) {
		inside_unmap(memory, bytes);
		return NULL;
	}
	inside_name(memory, bytes, "malloc large");
	return memory;
}

// Pages of a shorter kept mapping, moved to where there is room for more.
static void *move_kept(uintptr_t start, size_t bytes, size_t room)
{
	void *memory = map_room(room, MALLOC_SLICE_BYTES);

	if (memory && !inside_move((void *)start, bytes, memory, room))
		return memory;
	if (memory)
		inside_unmap(memory, room);
	inside_unmap((void *)start, bytes);
	return NULL;
}

static void *take_kept(struct core_zone *zone, size_t *room)
{
	size_t bytes;
	uintptr_t start = zone->number ? 0 : malloc_keep_take(*room, &bytes);

	if (!start)
		return NULL;
	if (bytes < *room)
		return move_kept(start, bytes, *room);
	*room = bytes;
	return (void *)start;
}

void *malloc_large_take(struct core_zone *zone, size_t bytes, size_t alignment, bool *zeroed)
{
	size_t room = whole_slices(bytes);
	struct malloc_note *notes = NULL;
	void *memory = NULL;

	if (alignment < MALLOC_SLICE_BYTES)
		alignment = MALLOC_SLICE_BYTES;
	if (notes_kept() && !(notes = malloc_meta_take(sizeof(*notes))))
		return NULL;
	if (!*zeroed && alignment == MALLOC_SLICE_BYTES)
		memory = take_kept(zone, &room);
	if (!memory) {
		memory = map_room(room, alignment);
		*zeroed = true;
	}
	if (!memory) {
		malloc_meta_give(notes, sizeof(*notes));
		return NULL;
	}
	describe(zone, address_slice((uintptr_t)memory), whole_pages(bytes), room,
	         (uintptr_t)notes);
	return memory;
}

// Of a zone's large blocks those of the default zone are kept for reuse, within a quarter of what is
// live; those of others are gone at once, for nobody else may use them.
void malloc_large_give(struct core_zone *zone, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);
	size_t room = (size_t)slab->slice_count << MALLOC_SLICE_BITS;

	forget(zone, slice);
	malloc_meta_give((void *)slab->notes, sizeof(struct malloc_note));
	if (zone->number)
		inside_unmap((void *)slice_address(slice), room);
	else
		malloc_keep_give(slice_address(slice), room, KEPT_BYTES + large_bytes(zone) / 4);
}

static void set_bytes(struct core_zone *zone, struct malloc_slab *slab, size_t bytes)
{
	uint64_t signals = malloc_lock_quietly(&zone->large_lock);

	large_bytes_add(zone, bytes - slab->bytes);
	malloc_zone_peak(zone, false);
	slab->bytes = bytes;
	malloc_unlock_quiet(&zone->large_lock, signals);
}

static void *move_pages(struct core_zone *zone, uint32_t slice, size_t bytes)
{
	struct malloc_slab *slab = slice_slab(slice);
	size_t old_room = (size_t)slab->slice_count << MALLOC_SLICE_BITS;
	size_t wish = whole_slices(bytes + bytes / 4), room = wish;
	uint64_t notes = slab->notes;
	void *memory = map_room(room, MALLOC_SLICE_BYTES);

	if (!memory) {
		room = whole_slices(bytes);
		memory = map_room(room, MALLOC_SLICE_BYTES);
	}
	if (!memory)
		return NULL;
	forget(zone, slice);
	if (inside_move((void *)slice_address(slice), old_room, memory, room)) {
		inside_unmap(memory, room);
		describe(zone, slice, slab->bytes, old_room, notes);
		return NULL;
	}
	describe(zone, address_slice((uintptr_t)memory), bytes, room, notes);
	return memory;
}

// NULL: there is no memory for it, and the block is as it was. The kernel lets a block shrink by
// discarding its tail and grow again into zeroed pages.
void *malloc_large_resize(struct core_zone *zone, uint32_t slice, size_t bytes)
{
	struct malloc_slab *slab = slice_slab(slice);
	char *block = (char *)slice_address(slice);
	size_t pages = whole_pages(bytes), before = slab->bytes;

	if (pages > (size_t)slab->slice_count << MALLOC_SLICE_BITS)
		return move_pages(zone, slice, pages);
	set_bytes(zone, slab, pages);
	if (pages < before)
		inside_discard(block + pages, before - pages);
	return block;
}

void malloc_large_destroy(struct core_zone *zone)
{
	while (zone->large)
		malloc_large_give(zone, zone->large);
}
