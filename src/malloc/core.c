// SPDX-License-Identifier: MIT
// Allocate, free and resize on a core zone: by size a block of a slab, a span of slices, or a large
// block; by address the same. Below it are slab.c, extent.c and large.c, and the caches of threads in
// front of the slabs.
#include "malloc/malloc_impl.h"

#include <errno.h>
#include <string.h>

enum { PURGE_EVERY_MS = 250, PURGE_AGE_MS = 500, NS_PER_MS = 1000000 };

// A program that gets NULL deals with it: only one that asked to end here is told.
static void *no_memory(size_t bytes)
{
	if (malloc_settings.abort_on_error)
		malloc_fault(MALLOC_FAULT_NO_MEMORY, "*** can't allocate %zu bytes", bytes);
	errno = ENOMEM;
	return NULL;
}

static uint32_t slices_of(size_t bytes)
{
	return (uint32_t)((bytes + MALLOC_SLICE_BYTES - 1) >> MALLOC_SLICE_BITS);
}

static size_t whole_pages(size_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & -(size_t)PAGE_BYTES;
}

// --- allocate -------------------------------------------------------------------------------------
static void *slab_block(struct core_zone *zone, unsigned class)
{
	struct cache *cache = malloc_cache_enter();
	struct malloc_bin *bin = malloc_cache_bin(cache, zone, class);
	void *block = malloc_cache_take(cache, zone, bin, class);

	malloc_cache_leave(cache);
	return block;
}

// Under the lock of the pool.
static void span_count(struct core_zone *zone, uint64_t more)
{
	__atomic_store_n(&zone->span_bytes, zone->span_bytes + more, __ATOMIC_RELAXED);
	malloc_zone_peak(zone, false);
}

static void span_describe(struct core_zone *zone, struct run run, size_t bytes, uint32_t slices,
                          void *notes)
{
	struct malloc_slab *slab = slice_slab(run.slice);

	slab->freed = 0;
	slab->notes = (uintptr_t)notes;
	slab->bytes = whole_pages(bytes);
	slab->requested = 0;
	slab->stack = 0;
	slab->block_count = 1;
	slab->slice_count = slices;
	slab->flags = 0;
	malloc_map_set(run.slice, slices, malloc_word(zone->number, MALLOC_SPAN, 0),
	               malloc_word(zone->number, MALLOC_SPAN_REST, 0));
}

static struct run span_take(struct core_zone *zone, size_t bytes, size_t alignment)
{
	uint32_t slices = slices_of(bytes);
	struct malloc_note *notes = NULL;
	struct run run = { 0 };

	if (notes_kept() && !(notes = malloc_meta_take(sizeof(*notes))))
		return run;
	if (malloc_lock(&zone->pool.lock)) {
		run = malloc_run_take(&zone->pool, slices, slices_of(alignment), RUN_DIRTY);
		if (run.slice) {
			span_describe(zone, run, bytes, slices, notes);
			malloc_span_taken(&zone->pool, run);
			span_count(zone, whole_pages(bytes));
		}
		inside_unlock(&zone->pool.lock);
	}
	if (!run.slice)
		malloc_meta_give(notes, sizeof(*notes));
	return run;
}

static void *span_block(struct core_zone *zone, size_t bytes, size_t alignment, bool *ret_zeroed)
{
	struct cache *cache = malloc_cache_enter();
	struct run run;

	if (!zone->number && malloc_pool_grows(&zone->pool, slices_of(bytes)))
		malloc_depot_look(cache, true);
	run = span_take(zone, bytes, alignment);

	malloc_cache_leave(cache);
	*ret_zeroed = run.zeroed;
	return (void *)slice_address(run.slice);
}

static void *large_block(struct core_zone *zone, size_t bytes, size_t alignment, bool *zeroed)
{
	struct cache *cache;
	void *block;

	if (bytes > PTRDIFF_MAX - MALLOC_SLICE_BYTES || alignment > PTRDIFF_MAX - bytes)
		return NULL;
	cache = malloc_cache_enter();
	block = malloc_large_take(zone, bytes, alignment, zeroed);
	malloc_cache_leave(cache);
	return block;
}

// zeroed: whether the block should be zero, then whether it is.
static void *big_block(struct core_zone *zone, size_t bytes, size_t alignment, bool *zeroed)
{
	if (bytes <= SPAN_BYTES_MAX && alignment <= SPAN_BYTES_MAX / 2)
		return span_block(zone, bytes, alignment, zeroed);
	return large_block(zone, bytes, alignment, zeroed);
}

// zeroed as of big_block; slabs do not tell.
static inline void *block_of(struct core_zone *zone, size_t bytes, bool *zeroed)
{
	if (unlikely(bytes > MALLOC_SMALL_MAX))
		return big_block(zone, bytes, 1, zeroed);
	*zeroed = false;
	return slab_block(zone, class_of(bytes));
}

// When the system has nothing more: what is free in slabs of other classes and in this thread's cache
// may serve, and address space that nobody uses may serve for bookkeeping or a large block. Sizes that
// nothing could serve are not worth it. A signal handler that interrupted this thread here may only have
// missed a lock that the thread holds: it gets a mapping of its own.
static bool relieve_for(struct core_zone *zone, size_t bytes)
{
	if (bytes >= PTRDIFF_MAX >> 8)
		return false;
	malloc_core_relieve(NULL, 0);
	malloc_pool_shrink(&malloc_zone_default.pool);
	malloc_pool_shrink(&zone->pool);
	return true;
}

static void *block_after_relief(struct core_zone *zone, size_t bytes, bool *zeroed)
{
	void *block = NULL;

	if (malloc_cache_busy())
		block = large_block(zone, bytes, 1, zeroed);
	else if (relieve_for(zone, bytes))
		block = block_of(zone, bytes, zeroed);
	return block ? block : no_memory(bytes);
}

void *malloc_zone_allocate(struct core_zone *zone, size_t bytes)
{
	bool zeroed = false;
	void *block = block_of(zone, bytes, &zeroed);

	return likely(block) ? block : block_after_relief(zone, bytes, &zeroed);
}

// Blocks of slabs were used before, more often than not, and are short: they are cleared always. Fresh
// pages of big ones are not touched.
void *malloc_zone_allocate_zeroed(struct core_zone *zone, size_t count, size_t each)
{
	bool zeroed = true;
	size_t bytes;
	void *block;

	if (unlikely(__builtin_mul_overflow(count, each, &bytes)))
		return no_memory(SIZE_MAX);
	block = block_of(zone, bytes, &zeroed);
	if (unlikely(!block)) {
		zeroed = true;
		block = block_after_relief(zone, bytes, &zeroed);
	}
	if (unlikely(!block))
		return NULL;
	return zeroed ? block : memset(block, 0, bytes);
}

static void *aligned_block(struct core_zone *zone, size_t power, size_t bytes, bool *zeroed)
{
	*zeroed = false;
	if (bytes > MALLOC_SMALL_MAX)
		return big_block(zone, bytes, power, zeroed);
	for (unsigned class = class_of(bytes); class < CLASS_COUNT; class ++)
		if (malloc_classes[class].bytes % power == 0)
			return slab_block(zone, class);
	return big_block(zone, MALLOC_SMALL_MAX + 1, power, zeroed);
}

void *malloc_zone_allocate_aligned(struct core_zone *zone, size_t alignment, size_t bytes,
                                   bool *ret_zeroed)
{
	size_t power = 16;
	void *block;

	while (power < alignment && power < PTRDIFF_MAX / 2)
		power *= 2;
	if (power < alignment || bytes > PTRDIFF_MAX)
		return no_memory(bytes);
	block = aligned_block(zone, power, bytes, ret_zeroed);
	if (likely(block))
		return block;
	if (malloc_cache_busy()) // as in block_after_relief
		block = large_block(zone, bytes, power, ret_zeroed);
	else if (power < PTRDIFF_MAX >> 8 && relieve_for(zone, bytes))
		block = aligned_block(zone, power, bytes, ret_zeroed);
	return block ? block : no_memory(bytes);
}

// --- what an address is ---------------------------------------------------------------------------
// PLACE_INSIDE: the address is in memory of the zone, but no block starts there.
struct place malloc_place_of(const void *address)
{
	uint32_t word = malloc_word_at((uintptr_t)address), kind = word_kind(word);
	struct place place = { .kind = PLACE_NONE,
		               .class = word & 0xff,
		               .slice = address_slice((uintptr_t)address) };
	uint64_t offset;

	if (kind == MALLOC_NONE || kind == MALLOC_FREE_SPAN || kind == MALLOC_FREE_REST)
		return place;
	place.zone = malloc_core_zones[word >> 16];
	place.kind = PLACE_INSIDE;
	if (!place.zone)
		place.kind = PLACE_NONE;
	if (kind == MALLOC_SPAN || kind == MALLOC_LARGE) {
		place.slab = slice_slab(place.slice);
		if ((uintptr_t)address == slice_address(place.slice))
			place.kind = PLACE_BIG;
	} else if (word_is_slab(word)) {
		place.slice -= kind & 0xf;
		place.slab = slice_slab(place.slice);
		offset = (uintptr_t)address - slice_address(place.slice);
		place.index = class_index(place.class, (uint32_t)offset);
		if (offset * malloc_divisor[place.class] < malloc_divisor[place.class] &&
		    place.index < place.slab->block_count)
			place.kind = PLACE_SLAB;
	}
	return place;
}

static size_t usable_bytes(const struct place *place)
{
	if (place->kind == PLACE_SLAB)
		return malloc_classes[place->class].bytes;
	return place->kind == PLACE_BIG ? place->slab->bytes : 0;
}

// Also not for a block that lies free in its slab.
size_t malloc_place_live_bytes(const struct place *place)
{
	if (place->kind == PLACE_SLAB &&
	    (place->index >= __atomic_load_n(&place->slab->bump, __ATOMIC_RELAXED) ||
	     malloc_slab_block_freed(place->slab, place->index)))
		return 0;
	return usable_bytes(place);
}

static void fault_pointer(const struct place *place, const void *block, const char *doing)
{
	if (place->kind == PLACE_INSIDE)
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being %s was not allocated "
		             "(it points into a block)",
		             block, doing);
	else
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being %s was not allocated", block,
		             doing);
}

// --- free -----------------------------------------------------------------------------------------
static void purge_now_and_then(struct cache *cache, struct pool *pool)
{
	uint64_t now = inside_coarse_ns();

	if (now - __atomic_load_n(&pool->purged_ns, __ATOMIC_RELAXED) <=
	    (uint64_t)PURGE_EVERY_MS * NS_PER_MS)
		return;
	malloc_depot_look(cache, false);
	malloc_pool_purge(pool, (uint64_t)PURGE_AGE_MS * NS_PER_MS);
	malloc_keep_purge((uint64_t)PURGE_AGE_MS * NS_PER_MS);
}

static void free_span(const struct place *place)
{
	struct pool *pool = &place->zone->pool;
	struct malloc_slab *slab = place->slab;
	void *notes = (void *)slab->notes;

	if (!malloc_lock(&pool->lock)) {
		if (!malloc_span_give_late(pool, place->slice))
			malloc_fault(MALLOC_FAULT_MISUSE, "*** error for object %p: double free",
			             (void *)slice_address(place->slice));
		return;
	}
	slab->notes = 0;
	span_count(place->zone, -slab->bytes);
	malloc_run_give_locked(pool, place->slice, slab->slice_count, false);
	inside_unlock(&pool->lock);
	malloc_meta_give(notes, sizeof(struct malloc_note));
}

static void free_big(const struct place *place)
{
	struct cache *cache = malloc_cache_enter();

	if (word_kind(slice_word(place->slice)) == MALLOC_LARGE)
		malloc_large_give(place->zone, place->slice);
	else
		free_span(place);
	purge_now_and_then(cache, &place->zone->pool);
	malloc_cache_leave(cache);
}

// Whether the block is one of those that were freed last. The flush of the bin tells of the others.
static bool freed_just_now(const struct malloc_bin *bin, uintptr_t block)
{
	enum { LOOKED_AT = 16 };
	ptrdiff_t count = bin->top - bin->base;

	for (ptrdiff_t i = 1; i <= count && i <= LOOKED_AT; i++)
		if (bin->top[-i] == block)
			return true;
	return false;
}

static void free_slab_block(const struct place *place, uintptr_t block)
{
	struct cache *cache = malloc_cache_enter();
	struct malloc_bin *bin = malloc_cache_bin(cache, place->zone, place->class);

	if (bin && freed_just_now(bin, block)) {
		malloc_told_stacks.allocated = malloc_stack_of((void *)block);
		malloc_fault(MALLOC_FAULT_MISUSE, "*** error for object %p: double free",
		             (void *)block);
	} else {
		malloc_cache_put(cache, place->zone, bin, place->class, block);
	}
	malloc_cache_leave(cache);
}

void malloc_zone_free_block(struct core_zone *zone, void *block)
{
	struct place place = malloc_place_of(block);

	if (!block)
		return;
	if (zone && place.zone != zone)
		place.kind = PLACE_NONE;
	if (place.kind == PLACE_SLAB)
		free_slab_block(&place, (uintptr_t)block);
	else if (place.kind == PLACE_BIG)
		free_big(&place);
	else
		fault_pointer(&place, block, "freed");
}

// --- resize ---------------------------------------------------------------------------------------
// Blocks of the default zone go through the short paths.
static void *move_into(struct core_zone *zone, size_t before, size_t bytes)
{
	bool zeroed = false;

	if (bytes > before && bytes > SPAN_GROWN_BYTES_MAX)
		return large_block(zone, bytes, 1, &zeroed);
	return zone->number ? malloc_zone_allocate(zone, bytes) : malloc_core_allocate(bytes);
}

static void *move(struct core_zone *zone, void *block, size_t before, size_t bytes)
{
	void *moved = move_into(zone, before, bytes);

	if (!moved)
		return no_memory(bytes);
	memcpy(moved, block, before < bytes ? before : bytes);
	if (zone->number || !malloc_fast_free(block))
		malloc_zone_free_block(zone, block);
	return moved;
}

// A span keeps its slices; what it no longer needs of them goes back.
static bool span_resize(const struct place *place, size_t bytes)
{
	struct malloc_slab *slab = place->slab;
	uint32_t needed = slices_of(bytes), has = slab->slice_count;
	struct cache *cache;
	bool locked;

	if (bytes <= MALLOC_SMALL_MAX || needed > has)
		return false;
	cache = malloc_cache_enter();
	locked = malloc_lock(&place->zone->pool.lock);
	if (locked) {
		span_count(place->zone, whole_pages(bytes) - slab->bytes);
		slab->bytes = whole_pages(bytes);
		if (needed < has) {
			slab->slice_count = needed;
			malloc_run_give_locked(&place->zone->pool, place->slice + needed,
			                       has - needed, false);
		}
		inside_unlock(&place->zone->pool.lock);
	}
	malloc_cache_leave(cache);
	return locked;
}

static void *big_resize(const struct place *place, void *block, size_t bytes)
{
	struct cache *cache;

	if (word_kind(slice_word(place->slice)) == MALLOC_SPAN)
		return span_resize(place, bytes) ? block : NULL;
	if (bytes <= SPAN_GROWN_BYTES_MAX)
		return NULL;
	cache = malloc_cache_enter();
	block = malloc_large_resize(place->zone, place->slice, bytes);
	malloc_cache_leave(cache);
	return block;
}

void *malloc_zone_resize(struct core_zone *zone, void *block, size_t bytes)
{
	struct place place = malloc_place_of(block);
	size_t before = usable_bytes(&place);
	void *resized;

	if (!zone)
		zone = place.zone;
	if (place.zone != zone)
		place.kind = PLACE_NONE;
	if (place.kind != PLACE_SLAB && place.kind != PLACE_BIG) {
		fault_pointer(&place, block, "realloc'd");
		return NULL;
	}
	if (bytes > PTRDIFF_MAX)
		return no_memory(bytes);
	if (place.kind == PLACE_BIG) {
		resized = big_resize(&place, block, bytes);
		return resized ? resized : move(zone, block, before, bytes);
	}
	if (bytes <= before && before - bytes <= before / 4)
		return block;
	if (bytes <= MALLOC_SMALL_MAX && class_of(bytes) == place.class)
		return block;
	return move(zone, block, before, bytes);
}

// --- the default zone -----------------------------------------------------------------------------
// The bin of a small block that malloc_fast does not answer for, when the thread has one at hand.
static inline void *medium(struct malloc_thread *thread, size_t bytes)
{
	struct malloc_bin *bin = &thread->bins[malloc_class_of_small[(bytes + 255) / 256]];
	uint64_t *top = bin->top;
	uint64_t block;

	if (top == bin->base)
		return NULL;
	block = top[-1];
	in_this_order();
	bin->top = top - 1;
	return (void *)block;
}

static inline void *short_way(struct malloc_thread *thread, size_t bytes)
{
	void *block = malloc_fast_of(thread, bytes);

	if (block)
		return block;
	if (bytes > MALLOC_TINY_MAX && bytes <= MALLOC_SMALL_MAX)
		return medium(thread, bytes);
	return NULL;
}

void *malloc_core_allocate(size_t bytes)
{
	void *block = short_way(malloc_cache, bytes);

	return block ? block : malloc_zone_allocate(&malloc_zone_default, bytes);
}

void *malloc_core_allocate_zeroed(size_t count, size_t bytes)
{
	size_t all;
	void *block;

	if (likely(!__builtin_mul_overflow(count, bytes, &all)) && (block = malloc_fast(all)))
		return memset(block, 0, all);
	return malloc_zone_allocate_zeroed(&malloc_zone_default, count, bytes);
}

void *malloc_core_allocate_aligned(size_t alignment, size_t bytes)
{
	bool zeroed;

	return malloc_zone_allocate_aligned(&malloc_zone_default, alignment, bytes, &zeroed);
}

void *malloc_core_resize(void *block, size_t bytes)
{
	if (!block)
		return malloc_core_allocate(bytes);
	return malloc_zone_resize(NULL, block, bytes); // in whatever zone it is
}

void malloc_core_free(void *block)
{
	if (!malloc_fast_free(block))
		malloc_zone_free_block(NULL, block);
}

static inline void *lent_way(size_t bytes)
{
	struct cache *cache = malloc_cache_lend();
	void *block = NULL;

	if (likely(cache)) {
		block = short_way(&cache->thread, bytes);
		malloc_cache_take_back(cache);
	}
	return block;
}

void *malloc_core_pass_allocate(size_t bytes)
{
	void *block = lent_way(bytes);

	return likely(block) ? block : malloc_zone_allocate(&malloc_zone_default, bytes);
}

void *malloc_core_pass_allocate_zeroed(size_t count, size_t bytes)
{
	size_t all;
	void *block;

	if (likely(!__builtin_mul_overflow(count, bytes, &all)) && (block = lent_way(all)))
		return memset(block, 0, all);
	return malloc_zone_allocate_zeroed(&malloc_zone_default, count, bytes);
}

void malloc_core_pass_free(void *block)
{
	struct cache *cache = malloc_cache_lend();
	bool taken = false;

	if (likely(cache)) {
		taken = malloc_fast_free_of(&cache->thread, block);
		malloc_cache_take_back(cache);
	}
	if (unlikely(!taken))
		malloc_zone_free_block(NULL, block);
}

size_t malloc_core_size(const void *p)
{
	struct place place = malloc_place_of(p);

	return malloc_place_live_bytes(&place);
}

size_t malloc_core_good_size(size_t bytes)
{
	if (bytes <= MALLOC_SMALL_MAX)
		return malloc_classes[class_of(bytes)].bytes;
	return bytes > PTRDIFF_MAX - PAGE_BYTES ? bytes : whole_pages(bytes);
}
