// SPDX-License-Identifier: MIT
// Blocks that are free but in the hands of threads: in their caches, or on the way between a cache and
// the slabs. The order in which the library writes (layout/malloc.h) makes it exact: a block is in a
// slab's bits, in a cache or published as in transit until the program owns it. Two cases are left
// where one look cannot tell; those blocks count as used, but never as leaked:
//  - the slot at the top of a cache while its thread stands in the library: a free that is half done,
//    or what the last malloc left behind;
//  - the group of a flush that is being set just now: another thread may have taken it already.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "heaps/heapwright.h"

enum {
	CACHES_NODES_MAX = 1 << 22,   // threads and their caches of zones, in all
	CACHES_ENTRIES_MAX = 1 << 20, // of one cache or transit
	CACHES_PIECE_ENTRIES = 512,
	CACHES_SPARE_ENTRIES = 1 << 20, // more entries than there are blocks: slack for damage
};

// One cache that is being read, for the texts of faults.
struct cache {
	struct heapwright *heap;
	uint64_t thread; // address of its malloc_thread
	uint32_t zone, class;
	bool lenient; // contradictions are those of a thread that was stopped half way
};

typedef void entry_taker(const struct cache *cache, uint64_t at, uint64_t block);

// The block that starts at address; NULL when none does or it was never handed out.
static struct heap_block *block_at(const struct heapwright *heap, uint64_t address,
                                   const struct heapwright_slab **ret_slab)
{
	const struct heapwright_slab *slab = heapwright_slab_at(heap, address);

	*ret_slab = slab;
	if (!slab || (address - slab->start) % slab->step)
		return NULL;
	uint64_t index = (address - slab->start) / slab->step;
	return index < slab->count ? &heap->build->blocks.v[slab->first + index] : NULL;
}

static void cache_fault(const struct cache *cache, uint64_t at, uint64_t block, const char *text)
{
	struct heapwright *heap = cache->heap;

	if (cache->lenient)
		return;
	heapwright_fault(heap, heapwright_zone(heap, cache->zone), at, "cache of a thread", 0,
	                 block,
	                 "the cache of class %u at 0x%llx of the thread at 0x%llx: 0x%llx %s",
	                 cache->class, (unsigned long long)at, (unsigned long long)cache->thread,
	                 (unsigned long long)block, text);
}

static void take_cached(const struct cache *cache, uint64_t at, uint64_t entry)
{
	const struct heapwright_slab *slab;
	struct heap_block *block = block_at(cache->heap, entry, &slab);

	if (!block)
		cache_fault(cache, at, entry, "is not a block");
	else if (slab->class != cache->class || slab->zone != cache->zone)
		cache_fault(cache, at, entry, "is a block of another class or zone");
	else if (block->hb_state == HEAP_FREE)
		cache_fault(cache, at, entry, "is free in its slab too");
	else if (block->hb_state == HEAP_CACHED)
		cache_fault(cache, at, entry, "is in a cache already: it was freed twice");
	else
		cache->heap->cached_count++;
	if (block && block->hb_state == HEAP_USED) {
		block->hb_state = HEAP_CACHED;
		block->hb_flags &= HEAP_MMAPPED; // another thread's top slot may have shown it too
	}
}

static void take_transit(const struct cache *cache, uint64_t at, uint64_t entry)
{
	const struct heapwright_slab *slab;
	struct heap_block *block = block_at(cache->heap, entry, &slab);

	(void)at;
	if (!block || block->hb_state != HEAP_USED)
		return;
	block->hb_state = HEAP_CACHED;
	block->hb_flags &= HEAP_MMAPPED;
	cache->heap->transit_count++;
}

static void take_ambiguous(const struct cache *cache, uint64_t at, uint64_t entry)
{
	const struct heapwright_slab *slab;
	struct heap_block *block = block_at(cache->heap, entry, &slab);

	(void)at;
	if (!block || block->hb_state != HEAP_USED)
		return;
	block->hb_flags |= HEAP_TRANSIT | HEAP_LOADER;
	cache->heap->transit_count++;
}

// --- arrays of entries ----------------------------------------------------------------------------
static void take_entries(const struct cache *cache, uint64_t at, uint64_t count, entry_taker *take)
{
	struct heapwright *heap = cache->heap;

	while (count) {
		uint64_t entries[CACHES_PIECE_ENTRIES];
		uint64_t n = count < CACHES_PIECE_ENTRIES ? count : CACHES_PIECE_ENTRIES;
		const uint8_t *bytes =
			window_bytes(&heap->entry_window, at, n * sizeof(entries[0]));

		if (!bytes || n > heap->entry_room) {
			cache_fault(cache, at, 0, "and what follows cannot be read");
			return;
		}
		heap->entry_room -= n;
		memcpy(entries, bytes, n * sizeof(entries[0]));
		for (uint64_t i = 0; i < n; i++)
			take(cache, at + i * sizeof(entries[0]), entries[i]);
		at += n * sizeof(entries[0]);
		count -= n;
	}
}

static bool bin_closes(const struct malloc_bin *bin)
{
	uint64_t base = (uintptr_t)bin->base, top = (uintptr_t)bin->top,
		 limit = (uintptr_t)bin->limit;

	return base <= top && top <= limit && !((base | top | limit) & 7) &&
	       limit - base <= CACHES_ENTRIES_MAX * sizeof(uint64_t);
}

static uint32_t first_class(struct heapwright *heap, const struct malloc_bin *bin)
{
	const struct heapwright_slab *slab = NULL;
	uint64_t first;

	if (bin->top != bin->base && target_read_some(heap->target, (uintptr_t)bin->base, &first,
	                                              sizeof(first)) == sizeof(first))
		block_at(heap, first, &slab);
	return slab ? slab->class : 0;
}

static void read_bin(const struct cache *cache, const struct malloc_bin *bin, bool inside)
{
	uint64_t base = (uintptr_t)bin->base, top = (uintptr_t)bin->top,
		 limit = (uintptr_t)bin->limit;

	if (!bin_closes(bin)) {
		cache_fault(cache, base, top, "is an impossible top");
		return;
	}
	take_entries(cache, base, (top - base) / sizeof(uint64_t), take_cached);
	if (inside && top < limit)
		take_entries(cache, top, 1, take_ambiguous);
}

// --- threads --------------------------------------------------------------------------------------
static bool stands_inside(const struct heapwright *heap, const struct target_thread *thread)
{
	return thread->pc >= heap->descriptor.text_start && thread->pc < heap->descriptor.text_end;
}

static int compare_owners(const void *a, const void *b)
{
	const struct heapwright_owner *x = a, *y = b;

	return (x->thread_id > y->thread_id) - (x->thread_id < y->thread_id);
}

void heapwright_owners(struct heapwright *heap)
{
	const struct target *target = heap->target;

	for (size_t i = 0; i < target->thread_count; i++) {
		struct heapwright_owner owner = { target->threads[i].own_tid,
			                          stands_inside(heap, &target->threads[i]) };

		heap->inside = heap->inside || owner.inside;
		vec_push(&heap->owners, owner);
	}
	if (heap->owners.n)
		qsort(heap->owners.v, heap->owners.n, sizeof(*heap->owners.v), compare_owners);
}

// Whether the owner of a cache stands in the library's code. A cache that names no thread there is may
// be the one that a thread takes over just now.
static bool owner_inside(const struct heapwright *heap, const struct malloc_thread *thread)
{
	struct heapwright_owner key = { thread->thread_id, false }, *owner = NULL;

	if (heap->inside && heap->owners.n)
		owner = bsearch(&key, heap->owners.v, heap->owners.n, sizeof(key), compare_owners);
	return owner ? owner->inside : heap->inside;
}

// Blocks between the cache and the slabs. A refill and the growth of an array have no group.
static void read_transit(struct heapwright *heap, uint64_t at, const struct malloc_thread *thread)
{
	const struct malloc_transit *transit = &thread->transit;
	struct cache cache = { heap, at, 0, transit->class, true };
	uint64_t done = transit->done, count = transit->count, group = transit->group;

	if (!transit->entries || count > CACHES_ENTRIES_MAX || done > count)
		return;
	if (group > count - done) // of the group before
		group = count - done;
	take_entries(&cache, transit->entries + done * 8, group, take_ambiguous);
	take_entries(&cache, transit->entries + (done + group) * 8, count - done - group,
	             take_transit);
}

// A thread that stands inside may have a bin half emptied. One whose address is in the transit record has
// nothing that does not stand there too. bins_at: where in the program the bins are.
static void read_bins(struct heapwright *heap, uint64_t at, const struct malloc_thread *thread,
                      const struct malloc_bin *bins, uint64_t bins_at, uint32_t zone, bool inside)
{
	uint64_t moving = thread->transit.entries ? thread->transit.bin : 0;
	bool lenient = inside || thread->transit.entries || (zone && heap->inside);

	for (uint32_t i = 0; i < heap->descriptor.class_count; i++) {
		struct cache cache = { heap, at, zone, i, lenient };

		if (!(bins[i].limit || bins[i].top || bins[i].base) ||
		    bins_at + i * sizeof(*bins) == moving)
			continue;
		if (thread->depot)
			cache.class = first_class(heap, &bins[i]);
		read_bin(&cache, &bins[i], inside);
	}
}

// The caches of one thread for other zones. Of a zone that was destroyed since they hold nothing.
static void read_zone_caches(struct heapwright *heap, uint64_t at,
                             const struct malloc_thread *thread, const uint32_t *generations,
                             bool inside)
{
	uint64_t next = thread->zone_caches;

	for (uint32_t i = 0; next && i < MALLOC_ZONES_MAX; i++) {
		struct malloc_zone_cache cache;

		if (!heap->node_room ||
		    target_read_some(heap->target, next, &cache, sizeof(cache)) != sizeof(cache)) {
			struct cache name = { heap, at, 0, 0, false };

			cache_fault(&name, next, next, "is no cache of a zone");
			return;
		}
		heap->node_room--;
		if (cache.zone < MALLOC_ZONES_MAX && generations[cache.zone] == cache.generation)
			read_bins(heap, at, thread, cache.bins,
			          next + offsetof(struct malloc_zone_cache, bins), cache.zone,
			          inside);
		next = cache.next;
	}
}

static bool thread_read(struct heapwright *heap, uint64_t at, struct malloc_thread *ret)
{
	return heap->node_room &&
	       target_read_some(heap->target, at, ret, sizeof(*ret)) == sizeof(*ret);
}

// Calls each for every thread of the list.
static void each_thread(struct heapwright *heap, const uint32_t *generations,
                        void (*each)(struct heapwright *, uint64_t, const struct malloc_thread *,
                                     const uint32_t *))
{
	uint64_t at = heap->descriptor.threads, slow = at;

	for (unsigned i = 0; at; i++) {
		struct malloc_thread thread, behind;

		if (!thread_read(heap, at, &thread)) {
			struct cache name = { heap, at, 0, 0, false };

			cache_fault(&name, at, at, "is no thread of the list");
			return;
		}
		heap->node_room--;
		each(heap, at, &thread, generations);
		at = thread.next;
		// Another walker at half the pace meets this one when the list is a ring.
		if (i % 2 && thread_read(heap, slow, &behind))
			slow = behind.next;
		if (at && at == slow) {
			struct cache name = { heap, at, 0, 0, false };

			cache_fault(&name, at, at, "comes twice in the list of threads");
			return;
		}
	}
}

static void read_caches(struct heapwright *heap, uint64_t at, const struct malloc_thread *thread,
                        const uint32_t *generations)
{
	bool inside = !thread->depot && owner_inside(heap, thread);

	if (!thread->depot)
		heap->cache_count++;
	read_bins(heap, at, thread, thread->bins, at + offsetof(struct malloc_thread, bins), 0,
	          inside);
	read_zone_caches(heap, at, thread, generations, inside);
}

static void read_moves(struct heapwright *heap, uint64_t at, const struct malloc_thread *thread,
                       const uint32_t *generations)
{
	(void)generations;
	read_transit(heap, at, thread);
	heap->build->in_malloc = heap->build->in_malloc || thread->transit.entries;
}

static uint32_t *read_generations(struct heapwright *heap)
{
	uint32_t *generations =
		arena_array(heap->build->arena, MALLOC_ZONES_MAX, sizeof(*generations));
	struct window window;

	window_init(&window, heap->target);
	for (uint32_t i = 0; i < heap->descriptor.zone_count; i++) {
		struct malloc_zone_record record;
		const uint8_t *bytes = window_bytes(
			&window, heap->descriptor.zones + i * sizeof(record), sizeof(record));

		if (!bytes)
			break;
		memcpy(&record, bytes, sizeof(record));
		generations[i] = record.generation;
	}
	window_deinit(&window);
	return generations;
}

void heapwright_caches(struct heapwright *heap)
{
	const uint32_t *generations = read_generations(heap);

	heap->build->in_malloc = heap->build->in_malloc || heap->inside;
	heap->entry_room = heap->build->blocks.n + CACHES_SPARE_ENTRIES;
	heap->node_room = CACHES_NODES_MAX;
	each_thread(heap, generations, read_caches);
	each_thread(heap, generations, read_moves);
}
