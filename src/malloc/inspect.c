// SPDX-License-Identifier: MIT
// Looks at the heap from inside the program: the block at an address, all blocks of a zone, and the
// full check of a zone's metadata. Called by the debugging features, the introspection table and tests.
#include "malloc/malloc_impl.h"

// --- one block ------------------------------------------------------------------------------------
static struct malloc_note *note_of(const struct malloc_slab *slab, uint32_t index)
{
	return slab->notes ? (struct malloc_note *)slab->notes + index : NULL;
}

static struct malloc_block slab_block(struct core_zone *zone, uint32_t slice, uint32_t index)
{
	struct malloc_slab *slab = slice_slab(slice);
	bool never_used = index >= __atomic_load_n(&slab->bump, __ATOMIC_RELAXED);

	return (struct malloc_block){
		.start = (void *)(slice_address(slice) + index * slab->bytes),
		.bytes = slab->bytes,
		.zone = &zone->face,
		.note = note_of(slab, index),
		.never_used = never_used,
		.freed = !never_used && malloc_slab_block_freed(slab, index),
		.whole_pages = slab->bytes % PAGE_BYTES == 0,
	};
}

static struct malloc_block big_block(struct core_zone *zone, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);

	return (struct malloc_block){
		.start = (void *)slice_address(slice),
		.bytes = slab->bytes,
		.zone = &zone->face,
		.note = note_of(slab, 0),
		.whole_pages = true,
	};
}

// Of a slice within a span or large block the first one is found step by step: nothing but messages
// about misuse depends on how long that takes.
static bool big_at(struct core_zone *zone, uint32_t slice, uint32_t kind, uintptr_t address,
                   struct malloc_block *ret)
{
	uint32_t rest = kind | 1;

	while (word_kind(slice_word(slice)) == rest)
		slice--;
	if (word_kind(slice_word(slice)) != (rest & ~1u))
		return false;
	*ret = big_block(zone, slice);
	return address - (uintptr_t)ret->start < ret->bytes;
}

bool malloc_block_at(const void *address, struct malloc_block *ret)
{
	uintptr_t at = (uintptr_t)address;
	uint32_t word = malloc_word_at(at), kind = word_kind(word), slice = address_slice(at),
		 index;
	struct core_zone *zone;

	if (word == MALLOC_NONE || !(zone = malloc_core_zones[word >> 16]))
		return false;
	if (kind == MALLOC_FREE_SPAN || kind == MALLOC_FREE_REST)
		return false;
	if (!word_is_slab(word))
		return big_at(zone, slice, kind, at, ret);
	slice -= kind & 0xf;
	index = class_index(word & 0xff, (uint32_t)(at - slice_address(slice)));
	if (index >= slice_slab(slice)->block_count)
		return false;
	*ret = slab_block(zone, slice, index);
	return true;
}

// --- all blocks -----------------------------------------------------------------------------------
struct walk {
	struct core_zone *zone;
	bool (*each)(void *context, const struct malloc_block *);
	void *context;
};

static bool may_live(const struct malloc_block *block)
{
	if (block->note)
		return block->note->flags & MALLOC_NOTE_LIVE;
	return !block->never_used && !block->freed;
}

static bool walk_slab(const struct walk *walk, uint32_t slice)
{
	uint32_t bump = slice_slab(slice)->bump;

	for (uint32_t i = 0; i < bump; i++) {
		struct malloc_block block = slab_block(walk->zone, slice, i);

		if (may_live(&block) && !walk->each(walk->context, &block))
			return false;
	}
	return true;
}

// How many slices of a word's object there are is read before it is shown, for it may be freed then.
static bool walk_extent(const struct walk *walk, const struct extent *extent)
{
	uint32_t end = address_slice(extent->open_end), slices;

	for (uint32_t slice = address_slice(extent->start); slice < end; slice += slices) {
		uint32_t word = slice_word(slice), kind = word_kind(word);
		struct malloc_block block;

		slices = 1;
		if (word >> 16 != walk->zone->number ||
		    !(kind == MALLOC_SLAB || kind == MALLOC_SPAN))
			continue;
		slices = slice_slab(slice)->slice_count;
		block = big_block(walk->zone, slice);
		if (kind == MALLOC_SLAB ? !walk_slab(walk, slice)
		                        : may_live(&block) && !walk->each(walk->context, &block))
			return false;
		if (!slices)
			slices = 1;
	}
	return true;
}

static bool walk_large(const struct walk *walk)
{
	const struct malloc_region *regions = (void *)heapwright_malloc.regions;

	for (uint32_t i = 0; i < heapwright_malloc.region_count; i++) {
		uint32_t slice = address_slice(regions[i].start);
		struct malloc_block block;

		if (regions[i].kind != MALLOC_REGION_LARGE ||
		    regions[i].zone != walk->zone->number ||
		    word_kind(slice_word(slice)) != MALLOC_LARGE)
			continue;
		block = big_block(walk->zone, slice);
		if (may_live(&block) && !walk->each(walk->context, &block))
			return false;
	}
	return true;
}

void malloc_blocks_each(malloc_zone_t *zone,
                        bool (*each)(void *context, const struct malloc_block *), void *context)
{
	struct walk walk = { (struct core_zone *)zone, each, context };

	for (struct extent *extent = walk.zone->pool.extents; extent; extent = extent->next)
		if (!walk_extent(&walk, extent))
			return;
	walk_large(&walk);
}

// --- check ----------------------------------------------------------------------------------------
static bool wrong(struct core_zone *zone, uint32_t slice, const char *what)
{
	malloc_message("*** zone %p: %s at %p", (void *)zone, what, (void *)slice_address(slice));
	return false;
}

static bool check_slab(struct core_zone *zone, uint32_t slice)
{
	const struct malloc_slab *slab = slice_slab(slice);
	uint32_t class = slice_word(slice) & 0xff, bump = slab->bump, freed = 0;
	const uint64_t *bits = (const uint64_t *)slab->freed;

	if (class >= CLASS_COUNT || slab->bytes != malloc_classes[class].bytes ||
	    slab->block_count != malloc_classes[class].blocks ||
	    slab->slice_count != malloc_classes[class].slices)
		return wrong(zone, slice, "slab does not fit its class");
	if (bump > slab->block_count)
		return wrong(zone, slice, "slab has handed out more blocks than it has");
	for (uint32_t i = 1; i < slab->slice_count; i++)
		if (slice_word(slice + i) != malloc_word(zone->number, MALLOC_SLAB + i, class))
			return wrong(zone, slice + i, "slice is not of the slab before it");
	for (uint32_t i = bump; i < malloc_classes[class].words * 64u; i++)
		if (__atomic_load_n(&bits[i / 64], __ATOMIC_RELAXED) >> i % 64 & 1)
			return wrong(zone, slice, "block that was never handed out is marked free");
	for (uint32_t i = 0; i < malloc_classes[class].words; i++)
		freed += (uint32_t)__builtin_popcountll(bits[i]);
	if (freed != slab->freed_count)
		return wrong(zone, slice, "slab miscounts its free blocks");
	return true;
}

static bool check_rest(struct core_zone *zone, uint32_t slice, uint32_t kind)
{
	uint32_t count = slice_slab(slice)->slice_count;

	if (!count)
		return wrong(zone, slice, "span of no slices");
	for (uint32_t i = 1; i < count; i++)
		if (slice_word(slice + i) != malloc_word(zone->number, kind, 0))
			return wrong(zone, slice + i, "slice is not of the span before it");
	if (kind == MALLOC_FREE_REST && slice_slab(slice + count - 1)->slice_count != count)
		return wrong(zone, slice, "free run whose ends differ");
	if (kind != MALLOC_FREE_REST && slice_slab(slice)->bytes > (size_t)count
	                                                                   << MALLOC_SLICE_BITS)
		return wrong(zone, slice, "span longer than its slices");
	return true;
}

static bool is_rest(uint32_t kind)
{
	return kind == MALLOC_FREE_REST || kind == MALLOC_SPAN_REST ||
	       (kind > MALLOC_SLAB && kind < MALLOC_SPAN);
}

// Free runs, and what was cut from them, may reach over the end of an extent into the one behind it.
static bool check_extent(struct core_zone *zone, const struct extent *extent)
{
	uint32_t end = address_slice(extent->open_end), slice = address_slice(extent->start);

	while (slice < end && is_rest(word_kind(slice_word(slice))))
		slice++;
	while (slice < end) {
		uint32_t word = slice_word(slice), kind = word_kind(word);
		bool fine;

		if (word >> 16 != zone->number)
			return wrong(zone, slice, "slice of another zone");
		if (kind == MALLOC_SLAB)
			fine = check_slab(zone, slice);
		else if (kind == MALLOC_SPAN || kind == MALLOC_FREE_SPAN)
			fine = check_rest(zone, slice, kind + 1);
		else
			fine = wrong(zone, slice, "slice without a start");
		if (!fine)
			return false;
		slice += slice_slab(slice)->slice_count;
	}
	return true;
}

// With the shard's lock: the list is linked both ways and of slabs of this class and arena.
static bool check_shard(struct core_zone *zone, unsigned class, unsigned arena)
{
	uint32_t before = 0, word = malloc_word(zone->number, MALLOC_SLAB, class);
	const struct shard *shard = zone_shard(zone, class, arena);

	for (uint32_t slice = shard->list; slice; slice = slice_slab(slice)->next) {
		const struct malloc_slab *slab = slice_slab(slice);

		if (slice_word(slice) != word)
			return wrong(zone, slice, "listed slab is of another class");
		if (slab_arena(slab) != arena)
			return wrong(zone, slice, "listed slab is of another arena");
		if (slab->previous != before)
			return wrong(zone, slice, "list of slabs is broken");
		if (!slab->freed_count)
			return wrong(zone, slice, "listed slab has no free block");
		before = slice;
	}
	if (shard->fresh && slice_word(shard->fresh) != word)
		return wrong(zone, shard->fresh, "fresh slab is of another class");
	return true;
}

static bool check_runs(struct core_zone *zone)
{
	uint64_t slices[RUN_STATES] = { 0 };

	for (unsigned state = 0; state < RUN_STATES; state++)
		for (unsigned bin = 0; bin < RUN_BINS; bin++)
			for (uint32_t s = zone->pool.runs[state][bin]; s; s = slice_slab(s)->next) {
				if (slice_word(s) != malloc_word(zone->number, MALLOC_FREE_SPAN, 0))
					return wrong(zone, s, "listed run is not free");
				slices[state] += slice_slab(s)->slice_count;
			}
	if (slices[RUN_DIRTY] != zone->pool.dirty_slices ||
	    slices[RUN_CLEAN] != zone->pool.clean_slices)
		return wrong(zone, 0, "free slices are miscounted");
	return true;
}

static bool check_holes(struct core_zone *zone)
{
	uint64_t holes = 0;

	for (struct extent *extent = zone->pool.extents; extent; extent = extent->next)
		for (uint32_t s = address_slice(extent->start); s < address_slice(extent->open_end);
		     s++)
			holes += (slice_slab(s)->flags & MALLOC_HOLES_MASK) >> MALLOC_HOLES_SHIFT;
	return holes == zone->pool.holes || wrong(zone, 0, "pages out of memory are miscounted");
}

static bool check_zone(struct core_zone *zone)
{
	bool fine = true;

	for (unsigned arena = 0; arena < zone_arenas(zone); arena++)
		for (unsigned class = 0; class < CLASS_COUNT && fine; class ++)
			fine = check_shard(zone, class, arena);
	fine = fine && check_runs(zone) && check_holes(zone);
	for (struct extent *extent = zone->pool.extents; extent && fine; extent = extent->next)
		fine = check_extent(zone, extent);
	return fine;
}

// All locks are held as around a fork, so that nothing changes meanwhile.
bool malloc_core_check(malloc_zone_t *zone_or_null)
{
	bool fine = true;

	malloc_fork_prepare();
	if (zone_or_null)
		fine = check_zone((struct core_zone *)zone_or_null);
	for (uint32_t i = 0; !zone_or_null && i < heapwright_malloc.zone_count && fine; i++)
		if (malloc_core_zones[i])
			fine = check_zone(malloc_core_zones[i]);
	malloc_fork_parent();
	return fine;
}

// --- relief ---------------------------------------------------------------------------------------
static size_t relieve(struct core_zone *zone)
{
	struct cache *cache = malloc_cache_enter();
	size_t returned = 0;

	if (malloc_interrupts) { // of whom nothing can be taken
		malloc_cache_leave(cache);
		return 0;
	}
	for (unsigned class = 0; class < CLASS_COUNT; class ++)
		malloc_slab_trim(zone, class);
	returned = malloc_zone_thin(zone) + malloc_pool_purge(&zone->pool, 0);
	malloc_cache_leave(cache);
	return returned;
}

// The caller's own cache and the depot go first; those of other threads cannot be reached.
size_t malloc_core_relieve(malloc_zone_t *zone_or_null, size_t goal)
{
	struct cache *cache = malloc_cache_enter();
	size_t returned = 0;

	malloc_cache_flush(cache);
	malloc_depot_look(cache, true);
	malloc_cache_leave(cache);
	if (zone_or_null)
		return relieve((struct core_zone *)zone_or_null);
	returned = malloc_keep_purge(0);
	for (uint32_t i = 0; i < heapwright_malloc.zone_count; i++) {
		inside_lock(&malloc_zones_lock); // no zone is destroyed meanwhile
		if (malloc_core_zones[i] && (!goal || returned < goal))
			returned += relieve(malloc_core_zones[i]);
		inside_unlock(&malloc_zones_lock);
	}
	return returned;
}
