// SPDX-License-Identifier: MIT
// Address space of a zone: extents from the system, and in them runs of free slices, from which slabs
// and spans are cut. Extents grow with the zone and are opened step by step, so that limits on address
// space and on committed memory are met only by what is needed. A free run knows whether its pages
// read as zero (clean) or were used (dirty); runs of one state join their neighbours, dirty ones are
// used first and given back to the system when they were idle for a while.
//
// Both ends of a free run carry its length in slice_count; the time when it was first found dirty by a
// look for old ones stands in requested of the first: nobody asks for the time when a slab is released.
#include "malloc/malloc_impl.h"

#define MiB ((size_t)1 << 20)

enum {
	LAST_BIN = RUN_BINS - 1,
	LONG_RUNS_LOOKED_AT = 64,
	CHUNK_BYTES = 1024,
	SLICE_PAGES = MALLOC_SLICE_BYTES / PAGE_BYTES,
	SHED_SLICES_MAX = 15, // longer dirty runs are worth keeping
	SHED_PAGES_MIN = 4,   // fewer are not worth a call and what other processors do for it
	SHED_LOOKED_AT = 64,  // runs of a length
	HOLES_LOOKED_AT = 64, // slices of a run
	TAILS_PART = 8,       // a walk over all slices has to find one page in so many
};

// --- lists of free runs ---------------------------------------------------------------------------
static unsigned bin_of(uint32_t slices)
{
	return slices < LAST_BIN ? slices : LAST_BIN;
}

static enum run_state state_of(const struct malloc_slab *run)
{
	return run->flags & MALLOC_SPAN_ZEROED ? RUN_CLEAN : RUN_DIRTY;
}

// Which bins are not empty is read without the lock, too: malloc_pool_grows.
static void present_set(struct pool *pool, enum run_state state, uint64_t bins)
{
	__atomic_store_n(&pool->present[state], bins, __ATOMIC_RELAXED);
}

static uint64_t *slices_in(struct pool *pool, enum run_state state)
{
	return state == RUN_CLEAN ? &pool->clean_slices : &pool->dirty_slices;
}

static void run_link(struct pool *pool, uint32_t slice, uint32_t slices, bool zeroed,
                     uint64_t since)
{
	struct malloc_slab *first = slice_slab(slice);
	enum run_state state = zeroed ? RUN_CLEAN : RUN_DIRTY;
	uint32_t *head = &pool->runs[state][bin_of(slices)];

	slice_slab(slice + slices - 1)->slice_count = slices;
	first->slice_count = slices;
	first->flags = zeroed ? MALLOC_SPAN_ZEROED : first->flags & MALLOC_HOLES_MASK;
	first->requested = since;
	first->previous = 0;
	first->next = *head;
	if (*head)
		slice_slab(*head)->previous = slice;
	*head = slice;
	present_set(pool, state, pool->present[state] | 1ull << bin_of(slices));
	*slices_in(pool, state) += slices;
}

static void run_unlink(struct pool *pool, uint32_t slice)
{
	struct malloc_slab *first = slice_slab(slice);
	enum run_state state = state_of(first);
	unsigned bin = bin_of(first->slice_count);

	if (first->next)
		slice_slab(first->next)->previous = first->previous;
	if (first->previous)
		slice_slab(first->previous)->next = first->next;
	else
		pool->runs[state][bin] = first->next;
	if (!pool->runs[state][bin])
		present_set(pool, state, pool->present[state] & ~(1ull << bin));
	*slices_in(pool, state) -= first->slice_count;
}

static bool is_free_run(const struct pool *pool, uint32_t slice, uint32_t kind, bool zeroed)
{
	uint32_t word = slice_word(slice);

	if (word_kind(word) != kind || word >> 16 != pool->zone)
		return false;
	return kind != MALLOC_FREE_SPAN || (state_of(slice_slab(slice)) == RUN_CLEAN) == zeroed;
}

// The free run that ends before slice, 0 none. A run of one slice has only its first word.
static uint32_t run_before(const struct pool *pool, uint32_t slice, bool zeroed)
{
	uint32_t first;

	if (is_free_run(pool, slice - 1, MALLOC_FREE_SPAN, zeroed))
		return slice - 1;
	if (!is_free_run(pool, slice - 1, MALLOC_FREE_REST, zeroed))
		return 0;
	first = slice - slice_slab(slice - 1)->slice_count;
	return is_free_run(pool, first, MALLOC_FREE_SPAN, zeroed) ? first : 0;
}

// Links a run that its neighbours may join; the words of all its slices are written.
static void run_add(struct pool *pool, uint32_t slice, uint32_t slices, bool zeroed, uint64_t since)
{
	uint32_t before, behind = slice + slices;
	uint32_t rest = malloc_word(pool->zone, MALLOC_FREE_REST, 0);

	malloc_map_set(slice, slices, malloc_word(pool->zone, MALLOC_FREE_SPAN, 0), rest);
	if (is_free_run(pool, behind, MALLOC_FREE_SPAN, zeroed)) {
		run_unlink(pool, behind);
		slices += slice_slab(behind)->slice_count;
		malloc_map_set(behind, 1, rest, rest);
	}
	before = run_before(pool, slice, zeroed);
	if (before) {
		run_unlink(pool, before);
		slices += slice_slab(before)->slice_count;
		malloc_map_set(slice, 1, rest, rest);
		slice = before;
	}
	run_link(pool, slice, slices, zeroed, since);
}

// --- extents --------------------------------------------------------------------------------------
static size_t round_up(size_t bytes, size_t step)
{
	return (bytes + step - 1) / step * step;
}

// As much as the zone has already, within limits.
static size_t extent_bytes(const struct pool *pool)
{
	size_t least = pool->zone ? MiB / 4 : MiB, most = pool->zone ? 4 * MiB : 64 * MiB;
	size_t bytes = least;

	while (bytes < pool->mapped_bytes && bytes < most)
		bytes *= 2;
	return bytes;
}

static const char *extent_name(const struct pool *pool)
{
	return pool->zone ? "malloc zone" : "malloc small";
}

static bool extent_make(struct pool *pool, size_t bytes)
{
	struct extent *extent = malloc_meta_take(sizeof(*extent));
	void *memory = extent ? inside_map(bytes, MALLOC_SLICE_BYTES, INSIDE_NO_ACCESS) : NULL;

	if (!memory || !malloc_map_cover((uintptr_t)memory, bytes)) {
		if (memory)
			inside_unmap(memory, bytes);
		malloc_meta_give(extent, sizeof(*extent));
		return false;
	}
	inside_name(memory, bytes, extent_name(pool));
	*extent = (struct extent){ .next = pool->extents,
		                   .start = (uintptr_t)memory,
		                   .open_end = (uintptr_t)memory,
		                   .end = (uintptr_t)memory + bytes };
	extent->region =
		malloc_region_add(extent->start, extent->end, MALLOC_REGION_BLOCKS, pool->zone);
	pool->extents = extent;
	pool->mapped_bytes += bytes;
	return true;
}

// Under the pool's lock; read without it (malloc_pool_open_bytes).
static void open_bytes_add(struct pool *pool, size_t bytes)
{
	__atomic_store_n(&pool->open_bytes, pool->open_bytes + bytes, __ATOMIC_RELAXED);
}

// Opens at least bytes at the end of the newest extent as a clean run.
static bool extent_open(struct pool *pool, size_t bytes)
{
	struct extent *extent = pool->extents;
	size_t room = extent ? extent->end - extent->open_end : 0;
	size_t step = pool->open_bytes < 16 * MiB ? MiB : 4 * MiB;

	if (!extent || room < bytes)
		return false;
	step = round_up(bytes, step);
	if (step > room)
		step = room;
	if (inside_protect((void *)extent->open_end, step, INSIDE_READ_WRITE)) {
		step = bytes;
		if (inside_protect((void *)extent->open_end, step, INSIDE_READ_WRITE))
			return false;
	}
	for (uint32_t s = 0; s < address_slice(step); s++)
		slice_slab(address_slice(extent->open_end) + s)->flags = 0;
	run_add(pool, address_slice(extent->open_end), address_slice(step), true, 0);
	extent->open_end += step;
	open_bytes_add(pool, step);
	return true;
}

// What is left of the newest extent is opened before there is a newer one.
static bool pool_grow(struct pool *pool, size_t bytes)
{
	if (extent_open(pool, bytes))
		return true;
	if (pool->extents && pool->extents->open_end < pool->extents->end)
		extent_open(pool, pool->extents->end - pool->extents->open_end);
	for (size_t size = extent_bytes(pool); size > bytes; size /= 2)
		if (extent_make(pool, round_up(size, MALLOC_SLICE_BYTES)))
			return extent_open(pool, bytes);
	return extent_make(pool, bytes) && extent_open(pool, bytes);
}

// --- what is in memory ----------------------------------------------------------------------------
// The most memory that the zone ever had in use and in dirty runs is its peak. Before it takes more, it
// gives back what lies idle in between: pages behind spans, left by the runs' users before, and short
// dirty runs. Not more than it lacks, so that the pages which then have to be brought in again are
// never more than those that the heap grew by.
//
// Blocks are written from their start on. So of each slice the first pages are in memory, and how many
// are not (holes) stands in its flags; a clean slice has no holes, and none of its pages counts. A slab
// has the pages that it was given, and what its bump has reached; for what relief gave back, more counts
// than is there.
static uint32_t holes_of(uint32_t slice)
{
	return (slice_slab(slice)->flags & MALLOC_HOLES_MASK) >> MALLOC_HOLES_SHIFT;
}

// Others may set MALLOC_SPAN_LATE meanwhile.
static void holes_set(struct pool *pool, uint32_t slice, uint32_t holes)
{
	uint32_t before = holes_of(slice);

	pool->holes += (uint64_t)holes - before;
	__atomic_fetch_xor(&slice_slab(slice)->flags, (holes ^ before) << MALLOC_HOLES_SHIFT,
	                   __ATOMIC_RELAXED);
}

static void holes_clear(struct pool *pool, uint32_t slice, uint32_t slices)
{
	for (uint32_t s = 0; s < slices; s++)
		if (slice_slab(slice + s)->flags & MALLOC_HOLES_MASK)
			holes_set(pool, slice + s, 0);
}

// How many of the pages of a length lie in each slice.
static uint32_t pages_in_slice(size_t bytes, uint32_t index)
{
	size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES, before = (size_t)index * SLICE_PAGES;

	return pages <= before                ? 0
	       : pages - before < SLICE_PAGES ? (uint32_t)(pages - before)
	                                      : SLICE_PAGES;
}

// Of the last slice of a span, behind the block.
static uint32_t tail_pages(uint32_t slice)
{
	const struct malloc_slab *slab = slice_slab(slice);
	uint32_t last = slab->slice_count - 1, used = pages_in_slice(slab->bytes, last);
	uint32_t resident = SLICE_PAGES - holes_of(slice + last);

	return resident > used ? resident - used : 0;
}

static void tails_less(struct pool *pool, uint64_t pages)
{
	pool->tails -= pages < pool->tails ? pages : pool->tails;
}

void malloc_span_taken(struct pool *pool, struct run run)
{
	const struct malloc_slab *slab = slice_slab(run.slice);
	uint32_t last = slab->slice_count - 1, used = pages_in_slice(slab->bytes, last);

	holes_set(pool, run.slice + last,
	          SLICE_PAGES - (run.last_pages > used ? run.last_pages : used));
	pool->tails += tail_pages(run.slice);
}

// Of a slab of which so many blocks came into use.
static size_t slab_pages(const struct malloc_slab *slab, uint32_t bump)
{
	size_t given = (slab->flags & MALLOC_GIVEN_MASK) >> MALLOC_GIVEN_SHIFT;
	size_t used = ((size_t)bump * slab->bytes + PAGE_BYTES - 1) / PAGE_BYTES;

	return used > given ? used : given;
}

// Of what is given back.
static void note_pages(struct pool *pool, uint32_t slice, uint32_t slices)
{
	const struct malloc_slab *slab = slice_slab(slice);
	uint32_t word = slice_word(slice);
	size_t used = slab_pages(slab, slab->bump) * PAGE_BYTES;

	if (word_kind(word) == MALLOC_SPAN)
		tails_less(pool, tail_pages(slice));
	else if (word_is_slab(word))
		for (uint32_t i = 0; i < slices; i++)
			holes_set(pool, slice + i, SLICE_PAGES - pages_in_slice(used, i));
}

// What a slab has not reached yet. Its lock is not held: it may be out of date.
static uint64_t pages_unreached(const struct shard *shard, unsigned class)
{
	uint32_t slice = __atomic_load_n(&shard->fresh, __ATOMIC_RELAXED);
	const struct malloc_slab *slab = slice ? slice_slab(slice) : NULL;
	uint64_t all = malloc_classes[class].slices * SLICE_PAGES, used;

	if (!slab)
		return 0;
	used = slab_pages(slab, __atomic_load_n(&slab->bump, __ATOMIC_RELAXED));
	return used < all ? all - used : 0;
}

static uint64_t fresh_pages(const struct pool *pool)
{
	struct core_zone *zone = malloc_core_zones[pool->zone];
	uint64_t pages = 0;

	for (unsigned arena = 0; arena < zone_arenas(zone); arena++)
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			pages += pages_unreached(zone_shard(zone, class, arena), class);
	return pages;
}

// Slabs with all their pages.
static uint64_t pages_at_most(const struct pool *pool)
{
	return (pool->open_bytes / MALLOC_SLICE_BYTES - pool->clean_slices) * SLICE_PAGES -
	       pool->holes;
}

static void span_shed(struct pool *pool, uint32_t slice)
{
	const struct malloc_slab *slab = slice_slab(slice);
	uint32_t last = slab->slice_count - 1, pages = tail_pages(slice);
	uint32_t used = pages_in_slice(slab->bytes, last);
	uintptr_t start = slice_address(slice + last) + used * PAGE_BYTES;

	if (!pages || slab->notes || inside_discard((void *)start, pages * PAGE_BYTES))
		return;
	holes_set(pool, slice + last, SLICE_PAGES - used);
}

static void tails_shed(struct pool *pool)
{
	for (const struct extent *extent = pool->extents; extent; extent = extent->next)
		for (uint32_t s = address_slice(extent->start); s < address_slice(extent->open_end);
		     s++)
			if (word_kind(slice_word(s)) == MALLOC_SPAN)
				span_shed(pool, s);
	pool->tails = 0;
}

static uint32_t pages_there(uint32_t slice, uint32_t slices)
{
	uint32_t pages = 0;

	for (uint32_t s = 0; s < slices; s++)
		pages += SLICE_PAGES - holes_of(slice + s);
	return pages;
}

// False when the system refuses.
static bool run_shed(struct pool *pool, uint32_t slice)
{
	uint32_t slices = slice_slab(slice)->slice_count;

	if (inside_discard((void *)slice_address(slice), (size_t)slices << MALLOC_SLICE_BITS))
		return false;
	run_unlink(pool, slice);
	holes_clear(pool, slice, slices);
	run_add(pool, slice, slices, true, 0);
	return true;
}

static void shed(struct pool *pool, uint64_t wanted)
{
	uint64_t before = pages_at_most(pool);
	bool ok = true;

	if (pool->tails * TAILS_PART >= pool->open_bytes / MALLOC_SLICE_BYTES)
		tails_shed(pool);
	for (unsigned bin = 1; bin <= SHED_SLICES_MAX && ok; bin++) {
		uint32_t next = pool->runs[RUN_DIRTY][bin], s, looked = 0;

		while (ok && (s = next) && looked++ < SHED_LOOKED_AT &&
		       before - pages_at_most(pool) < wanted) {
			next = slice_slab(s)->next;
			if (pages_there(s, bin) >= SHED_PAGES_MIN)
				ok = run_shed(pool, s);
		}
	}
}

static uint64_t pages_with(const struct pool *pool, uint64_t more)
{
	uint64_t all = pages_at_most(pool) + more, fresh = fresh_pages(pool);

	return fresh < all ? all - fresh : 0;
}

// Somebody is about to bring in more pages.
static void make_room(struct pool *pool, uint64_t more)
{
	uint64_t pages;

	if (pages_at_most(pool) + more <= pool->most_pages)
		return;
	pages = pages_with(pool, more);
	if (pages > pool->most_pages && (pool->tails || pool->dirty_slices)) {
		shed(pool, pages - pool->most_pages);
		pages = pages_with(pool, more);
	}
	if (pages > pool->most_pages)
		pool->most_pages = pages;
}

// --- taking and giving ----------------------------------------------------------------------------
static uint32_t long_run(const struct pool *pool, enum run_state state, uint32_t slices)
{
	uint32_t best = 0, best_slices = UINT32_MAX, looked = 0;

	for (uint32_t s = pool->runs[state][LAST_BIN]; s && looked < LONG_RUNS_LOOKED_AT;
	     s = slice_slab(s)->next, looked++) {
		uint32_t has = slice_slab(s)->slice_count;

		if (has < slices || has > best_slices || (has == best_slices && s > best))
			continue;
		best = s;
		best_slices = has;
	}
	return best;
}

static uint32_t run_find(const struct pool *pool, enum run_state state, uint32_t slices)
{
	uint64_t bins;

	if (slices >= LAST_BIN)
		return long_run(pool, state, slices);
	bins = pool->present[state] & (~0ull << slices);
	if (!bins)
		return 0;
	if ((unsigned)__builtin_ctzll(bins) == LAST_BIN)
		return long_run(pool, state, slices);
	return pool->runs[state][__builtin_ctzll(bins)];
}

// Pages that are not in memory, of the slices of a run that are likely to be used.
static uint32_t holes_in(uint32_t found, uint32_t slices)
{
	uint32_t holes = 0;

	if (slice_slab(found)->flags & MALLOC_SPAN_ZEROED)
		return slices * SLICE_PAGES;
	for (uint32_t s = 0; s < slices && s < HOLES_LOOKED_AT; s++)
		holes += holes_of(found + s);
	return holes;
}

// All pages of a run count from now on; returns how many of its last slice are there.
static uint8_t pages_taken(struct pool *pool, uint32_t slice, uint32_t slices, bool zeroed)
{
	uint32_t last = slice + slices - 1, resident = SLICE_PAGES - holes_of(last);

	holes_clear(pool, slice, slices < HOLES_LOOKED_AT ? slices : 1);
	holes_clear(pool, last, 1);
	return zeroed ? 0 : (uint8_t)resident;
}

static struct run run_cut(struct pool *pool, uint32_t found, uint32_t slices, uint32_t alignment)
{
	struct malloc_slab *first = slice_slab(found);
	uint32_t has = first->slice_count;
	uint32_t at = (found + alignment - 1) & -alignment;
	bool zeroed = first->flags & MALLOC_SPAN_ZEROED;
	uint64_t since = first->requested;

	run_unlink(pool, found);
	if (at > found)
		run_link(pool, found, at - found, zeroed, since);
	if (at + slices < found + has) {
		malloc_map_set(at + slices, 1, malloc_word(pool->zone, MALLOC_FREE_SPAN, 0), 0);
		run_link(pool, at + slices, found + has - at - slices, zeroed, since);
	}
	return (struct run){ .slice = at,
		             .zeroed = zeroed,
		             .last_pages = pages_taken(pool, at, slices, zeroed) };
}

bool malloc_span_give_late(struct pool *pool, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);
	uint32_t *next = &slab->next;

	if (__atomic_fetch_or(&slab->flags, MALLOC_SPAN_LATE, __ATOMIC_RELAXED) & MALLOC_SPAN_LATE)
		return false;
	*next = __atomic_load_n(&pool->late, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&pool->late, next, slice, true, __ATOMIC_RELEASE,
	                                    __ATOMIC_RELAXED))
		;
	return true;
}

static void take_late(struct pool *pool)
{
	struct core_zone *zone = malloc_core_zones[pool->zone];
	uint32_t next, slice;

	for (slice = __atomic_exchange_n(&pool->late, 0, __ATOMIC_ACQUIRE); slice; slice = next) {
		struct malloc_slab *slab = slice_slab(slice);
		void *notes = (void *)slab->notes;

		next = slab->next;
		slab->notes = 0;
		__atomic_store_n(&zone->span_bytes, zone->span_bytes - slab->bytes,
		                 __ATOMIC_RELAXED);
		malloc_run_give_locked(pool, slice, slab->slice_count, false);
		malloc_meta_give(notes, sizeof(struct malloc_note));
	}
}

static uint32_t run_find_any(const struct pool *pool, uint32_t slices, enum run_state first)
{
	uint32_t found = run_find(pool, first, slices);

	return found ? found : run_find(pool, first == RUN_DIRTY ? RUN_CLEAN : RUN_DIRTY, slices);
}

struct run malloc_run_take(struct pool *pool, uint32_t slices, uint32_t alignment,
                           enum run_state first)
{
	uint32_t whole = slices + alignment - 1, found, holes;
	uint64_t most_pages = pool->most_pages;
	struct run run = { 0 };

	if (unlikely(__atomic_load_n(&pool->late, __ATOMIC_RELAXED)))
		take_late(pool);
	found = run_find_any(pool, whole, first);
	holes = found ? holes_in(found, whole) : whole * SLICE_PAGES;
	if (holes) {
		make_room(pool, holes);
		found = run_find_any(pool, whole, first);
	}
	if (!found && pool_grow(pool, (size_t)whole << MALLOC_SLICE_BITS))
		found = run_find(pool, RUN_CLEAN, whole);
	if (found)
		run = run_cut(pool, found, slices, alignment);
	// Not what was used before, went back and was taken again: a small heap, all of whose blocks are
	// in bins, would look for idle bins at each refill, and so need a refill for each look.
	run.grows = run.zeroed && pool->most_pages > most_pages;
	return run;
}

void malloc_run_give_locked(struct pool *pool, uint32_t slice, uint32_t slices, bool zeroed)
{
	if (!zeroed)
		note_pages(pool, slice, slices);
	run_add(pool, slice, slices, zeroed, 0);
}

// --- bitmaps --------------------------------------------------------------------------------------
static unsigned bitmap_bin(uint32_t words)
{
	unsigned bin = 0;

	while (1u << bin < words)
		bin++;
	return bin;
}

static bool chunk_make(struct pool *pool)
{
	void **chunk = malloc_meta_take(CHUNK_BYTES);

	if (!chunk)
		return false;
	*chunk = pool->chunks;
	pool->chunks = chunk;
	pool->bitmap_at = (char *)chunk + sizeof(*chunk);
	pool->bitmap_end = (char *)chunk + CHUNK_BYTES;
	return true;
}

uint64_t *malloc_bitmap_take(struct pool *pool, uint32_t words)
{
	unsigned bin = bitmap_bin(words);
	size_t bytes = (size_t)8 << bin;
	void **bitmap = pool->bitmaps[bin];

	if (bitmap) {
		pool->bitmaps[bin] = *bitmap;
	} else {
		if (pool->bitmap_end - pool->bitmap_at < (ptrdiff_t)bytes && !chunk_make(pool))
			return NULL;
		bitmap = (void **)pool->bitmap_at;
		pool->bitmap_at += bytes;
	}
	for (uint32_t i = 0; i < words; i++)
		((volatile uint64_t *)bitmap)[i] = 0;
	return (uint64_t *)bitmap;
}

void malloc_bitmap_give(struct pool *pool, uint64_t *bitmap, uint32_t words)
{
	unsigned bin = bitmap_bin(words);

	*(void **)bitmap = pool->bitmaps[bin];
	pool->bitmaps[bin] = bitmap;
}

// --- the whole pool -------------------------------------------------------------------------------
static uint32_t old_run(const struct pool *pool, unsigned bin, uint64_t now, uint64_t age_ns)
{
	for (uint32_t s = pool->runs[RUN_DIRTY][bin]; s; s = slice_slab(s)->next) {
		struct malloc_slab *run = slice_slab(s);

		if (!run->requested)
			run->requested = now;
		if (now - run->requested >= age_ns)
			return s;
	}
	return 0;
}

// A run that cannot be discarded stays dirty and is taken for young again.
size_t malloc_pool_purge(struct pool *pool, uint64_t age_ns)
{
	uint64_t now = inside_coarse_ns();
	size_t returned = 0;
	uint32_t s;

	if (!malloc_lock(&pool->lock))
		return 0;
	__atomic_store_n(&pool->purged_ns, now, __ATOMIC_RELAXED);
	for (unsigned bin = 1; bin < RUN_BINS; bin++) {
		while ((s = old_run(pool, bin, now, age_ns))) {
			uint32_t slices = slice_slab(s)->slice_count;
			size_t bytes = (size_t)slices << MALLOC_SLICE_BITS;

			if (!run_shed(pool, s)) {
				slice_slab(s)->requested = now;
				break;
			}
			returned += bytes;
		}
	}
	inside_unlock(&pool->lock);
	return returned;
}

static bool extent_is_clean(const struct pool *pool, const struct extent *extent)
{
	uint32_t end = address_slice(extent->open_end);

	for (uint32_t s = address_slice(extent->start); s < end; s++)
		if (!is_free_run(pool, s, MALLOC_FREE_SPAN, true) &&
		    !is_free_run(pool, s, MALLOC_FREE_REST, true))
			return false;
	return true;
}

// Takes the slices of an extent out of the clean run that they are in, or a part of.
static void extent_withdraw(struct pool *pool, const struct extent *extent)
{
	uint32_t start = address_slice(extent->start), end = address_slice(extent->open_end);
	uint32_t first = start, behind;

	while (!is_free_run(pool, first, MALLOC_FREE_SPAN, true))
		first--;
	behind = first + slice_slab(first)->slice_count;
	run_unlink(pool, first);
	malloc_map_set(start, end - start, MALLOC_NONE, MALLOC_NONE);
	if (first < start)
		run_add(pool, first, start - first, true, 0);
	if (end < behind)
		run_add(pool, end, behind - end, true, 0);
}

static void extent_forget(struct extent *extent)
{
	malloc_map_set(address_slice(extent->start), address_slice(extent->end - extent->start),
	               MALLOC_NONE, MALLOC_NONE);
	malloc_region_remove(extent->region);
}

static void extent_unmap(struct extent *extent)
{
	extent_forget(extent);
	inside_unmap((void *)extent->start, extent->end - extent->start);
}

// Of a destroyed zone: with features on its addresses are given to nobody else.
static void extent_destroy(struct extent *extent)
{
	size_t bytes = extent->end - extent->start;

	if (!malloc_settings.keep_destroyed) {
		extent_unmap(extent);
		return;
	}
	extent_forget(extent);
	if (!inside_protect((void *)extent->start, bytes, INSIDE_NO_ACCESS))
		inside_discard((void *)extent->start, bytes);
	malloc_region_add(extent->start, extent->end, MALLOC_REGION_GUARD, 0);
}

// Gives back the address space of extents in which nothing is used; dirty runs are left alone. The
// record stays as it is, because a walk over the zone may stand on it: this is for the rare moment when
// the system has no more.
void malloc_pool_shrink(struct pool *pool)
{
	struct extent **link = &pool->extents;
	struct extent *extent;
	uint64_t signals = malloc_lock_quietly(&pool->lock);

	while ((extent = *link)) {
		if (extent->start == extent->open_end || !extent_is_clean(pool, extent)) {
			link = &extent->next;
			continue;
		}
		extent_withdraw(pool, extent);
		*link = extent->next;
		pool->mapped_bytes -= extent->end - extent->start;
		open_bytes_add(pool, extent->start - extent->open_end);
		extent_unmap(extent);
	}
	malloc_unlock_quiet(&pool->lock, signals);
}

void malloc_pool_destroy(struct pool *pool)
{
	struct extent *next;

	for (struct extent *extent = pool->extents; extent; extent = next) {
		next = extent->next;
		extent_destroy(extent);
		malloc_meta_give(extent, sizeof(*extent));
	}
	for (void **chunk = pool->chunks, **after; chunk; chunk = after) {
		after = *chunk;
		malloc_meta_give(chunk, CHUNK_BYTES);
	}
	*pool = (struct pool){ .zone = pool->zone };
}
