// SPDX-License-Identifier: MIT
// Slabs: runs of slices cut into blocks of one class, whose state is one bit a block, out of line.
//
// 1. A set bit means that the block is free and in nobody's hands. Bits, bump, freed_count and the list
//    of a shard change only under the shard's lock, by plain writes of whole words: a block then costs
//    a handful of instructions on its way back, whatever word it is of. (Atomic writes without the
//    lock had to be gathered by word first, which took three times as long.) The lock is held for few
//    blocks at a time, so that another thread rarely has to wait.
// 2. A slab is in the list of its shard exactly while it has free blocks.
// 3. An empty slab, whose freed_count has reached bump, is released unless it is all that the class has and
//    its blocks are not large. Nobody owns a block of it then.
// 4. What is found for nothing when blocks come back: a bit that is set already, or a block at or above
//    bump, is a block freed twice or never handed out; as is one whose slab is gone. It is told without
//    the lock, for who is told may allocate.
// 5. The first refill of a thread's bin takes whole lines of the processor's cache, where there are
//    some, so that threads do not write to the same ones.
// 6. Transit records, for readers of a stopped program: layout/malloc.h.
// 7. Threads that take blocks from the same slabs, or hand whole bins to each other, write to the same
//    lines in turn, and between processors that share no cache that takes most of the time. So threads
//    are dealt out to arenas. An arena has its own slabs of a class once the first arena has several;
//    small heaps share, for an arena costs pages of each class. Blocks go back to where they came from.
#include "malloc/malloc_impl.h"

enum {
	PART = 128,            // blocks that go back under one hold of the lock
	ARENA_SLABS = 12,      // see 7
	EMPTIED_MAX = 8,       // slabs that are released then; others wait for malloc_slab_trim
	APART_BYTES_MAX = 128, // larger blocks hardly share a line: see 5
	DISCARD_PAGES = 4,     // fewer are not given back
	SPARSE_SLABS = 8,      // of a class: these may stay nearly empty
	KEPT_BYTES_MAX = 1024, // of the blocks of a class whose last slab stays
};

// --- the list of a shard --------------------------------------------------------------------------
// Under the lock; malloc_slab_grows reads them without it.
static void list_set(struct shard *shard, uint32_t slice)
{
	__atomic_store_n(&shard->list, slice, __ATOMIC_RELAXED);
}

static void fresh_set(struct shard *shard, uint32_t slice)
{
	__atomic_store_n(&shard->fresh, slice, __ATOMIC_RELAXED);
}

static void list_add(struct shard *shard, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);

	slab->previous = 0;
	slab->next = shard->list;
	if (shard->list)
		slice_slab(shard->list)->previous = slice;
	list_set(shard, slice);
}

static void list_remove(struct shard *shard, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);

	if (slab->next)
		slice_slab(slab->next)->previous = slab->previous;
	if (slab->previous)
		slice_slab(slab->previous)->next = slab->next;
	else
		list_set(shard, slab->next);
}

static void count_out(struct shard *shard, uint32_t more)
{
	__atomic_store_n(&shard->out, shard->out + more, __ATOMIC_RELAXED);
}

static void slabs_set(struct shard *shard, uint32_t slabs)
{
	if (slabs > shard->slabs && slabs > shard->peak && slabs <= SPARSE_SLABS + 1)
		shard->peak = (uint16_t)slabs;
	if (slabs < shard->slabs && slabs <= 1 && shard->peak) {
		shard->expected = shard->peak;
		shard->peak = 0;
	}
	__atomic_store_n(&shard->slabs, slabs, __ATOMIC_RELAXED);
}

// --- making and releasing -------------------------------------------------------------------------
static uint64_t *bits_of(const struct malloc_slab *slab)
{
	return (uint64_t *)slab->freed;
}

// Others may be reading: malloc_slab_block_freed, walks.
static void bits_set(uint64_t *word, uint64_t bits)
{
	__atomic_store_n(word, bits, __ATOMIC_RELAXED);
}

static void slab_describe(struct malloc_slab *slab, const struct malloc_class *c, uint64_t *bits,
                          void *notes, void *stacks, uint32_t given_pages, unsigned arena)
{
	slab->freed = (uintptr_t)bits;
	slab->notes = (uintptr_t)notes;
	slab->bytes = c->bytes;
	slab->stacks = (uintptr_t)stacks;
	slab->block_count = c->blocks;
	slab->bump = 0;
	slab->slice_count = c->slices;
	slab->freed_count = 0;
	slab->flags = MALLOC_SPAN_ZEROED | given_pages << MALLOC_GIVEN_SHIFT |
	              arena << MALLOC_ARENA_SHIFT;
}

// How many of the first pages of a run are in memory, at most.
static uint32_t run_pages(const struct malloc_class *c, struct run run)
{
	uint32_t slice_pages = MALLOC_SLICE_BYTES / PAGE_BYTES;

	return run.zeroed ? 0 : (c->slices - 1) * slice_pages + run.last_pages;
}

// As the last time when the class had so many slabs.
static bool likely_to_fill(const struct shard *shard, const struct malloc_class *c)
{
	if (!shard->slabs)
		return 2 * shard->used >= c->blocks;
	return shard->slabs >= SPARSE_SLABS || shard->slabs + 1 < shard->expected;
}

// The first slabs of a class may stay nearly empty: they get pages that cost nothing until they are used.
// The very first takes fresh ones. Later ones keep what their run has when they are likely to fill it,
// an only one as much as came into use of the last; a rest of few pages is not worth a call.
static uint32_t pages_to_keep(const struct shard *shard, const struct malloc_class *c,
                              struct run run)
{
	uint32_t there = run_pages(c, run), blocks = shard->slabs ? 0 : shard->used;
	uint32_t used = (blocks * c->bytes + PAGE_BYTES - 1) / PAGE_BYTES;

	return likely_to_fill(shard, c) || there < used + DISCARD_PAGES ? there : used;
}

static void discard_from(uint32_t slice, uint32_t page, uint32_t pages)
{
	inside_discard((char *)slice_address(slice) + (size_t)page * PAGE_BYTES,
	               (size_t)(pages - page) * PAGE_BYTES);
}

static uint32_t slab_make(struct cache *cache, struct core_zone *zone, unsigned class,
                          unsigned arena)
{
	const struct malloc_class *c = &malloc_classes[class];
	struct shard *shard = zone_shard(zone, class, arena);
	enum run_state first = shard->slabs_ever ? RUN_DIRTY : RUN_CLEAN;
	uint64_t *bits = NULL;
	struct run run = { 0 };
	void *notes = NULL, *stacks = NULL;
	uint32_t given_pages = 0;

	if (notes_kept() && !(notes = malloc_meta_take(c->blocks * sizeof(struct malloc_note))))
		return 0;
	if (stacks_kept()) // without them the blocks have no stacks
		stacks = malloc_meta_take(c->blocks * sizeof(uint32_t));
	if (malloc_lock(&zone->pool.lock)) {
		run = malloc_run_take(&zone->pool, c->slices, 1, first);
		if (run.slice && !(bits = malloc_bitmap_take(&zone->pool, c->words)))
			malloc_run_give_locked(&zone->pool, run.slice, c->slices, run.zeroed);
		if (bits) {
			given_pages = pages_to_keep(shard, c, run);
			slab_describe(slice_slab(run.slice), c, bits, notes, stacks, given_pages,
			              arena);
			malloc_map_set_slab(run.slice, c->slices, zone->number, class);
		}
		inside_unlock(&zone->pool.lock);
	}
	if (!bits) {
		malloc_meta_give(notes, c->blocks * sizeof(struct malloc_note));
		malloc_meta_give(stacks, c->blocks * sizeof(uint32_t));
		return 0;
	}
	if (given_pages < run_pages(c, run))
		discard_from(run.slice, given_pages, run_pages(c, run));
	slabs_set(shard, shard->slabs + 1);
	shard->slabs_ever++;
	malloc_zone_peak(zone, true);
	cache->grew |= run.grows;
	return run.slice;
}

// Of a slab that is empty and listed.
static void slab_release(struct core_zone *zone, struct shard *shard, unsigned class,
                         uint32_t slice)
{
	const struct malloc_class *c = &malloc_classes[class];
	struct malloc_slab *slab = slice_slab(slice);
	uint64_t *bits = bits_of(slab);
	void *notes = (void *)slab->notes, *stacks = (void *)slab->stacks;

	list_remove(shard, slice);
	if (shard->fresh == slice)
		fresh_set(shard, 0);
	shard->used = shard->slabs > 1 ? c->blocks : slab->bump;
	slabs_set(shard, shard->slabs - 1);
	slab->notes = 0;
	slab->stacks = 0;
	inside_lock(&zone->pool.lock);
	malloc_run_give_locked(&zone->pool, slice, c->slices, false);
	malloc_bitmap_give(&zone->pool, bits, c->words);
	inside_unlock(&zone->pool.lock);
	malloc_meta_give(notes, c->blocks * sizeof(struct malloc_note));
	malloc_meta_give(stacks, c->blocks * sizeof(uint32_t));
}

static bool slab_empty(const struct malloc_slab *slab)
{
	return slab->freed_count == slab->bump;
}

static size_t shard_trim(struct core_zone *zone, struct shard *shard, unsigned class)
{
	size_t released = 0;
	uint32_t next;

	if (!__atomic_load_n(&shard->slabs, __ATOMIC_RELAXED))
		return 0;
	inside_lock(shard_lock(zone, shard));
	for (uint32_t slice = shard->list; slice; slice = next) {
		next = slice_slab(slice)->next;
		if (!slab_empty(slice_slab(slice)))
			continue;
		slab_release(zone, shard, class, slice);
		released += (size_t)malloc_classes[class].slices << MALLOC_SLICE_BITS;
	}
	inside_unlock(shard_lock(zone, shard));
	return released;
}

size_t malloc_slab_trim(struct core_zone *zone, unsigned class)
{
	size_t released = 0;

	for (unsigned arena = 0; arena < zone_arenas(zone); arena++)
		released += shard_trim(zone, zone_shard(zone, class, arena), class);
	return released;
}

// --- refill ---------------------------------------------------------------------------------------
// A batch that grows in slots, published before the blocks leave the slab.
struct batch {
	struct malloc_transit *transit;
	uint64_t *slots;
	uint32_t count, want;
};

static void batch_publish(struct batch *batch)
{
	in_this_order();
	batch->transit->count = batch->count;
	in_this_order();
}

// The addresses of neighbours, downwards from slot. One by one, for a vector register would keep them
// long after, where a search for leaks finds them.
static uint64_t *blocks_put(uint64_t *slot, uintptr_t first, uint32_t count, uint32_t bytes)
{
	for (; count; count--, first += bytes) {
		*--slot = first;
		in_this_order();
	}
	return slot;
}

// The addresses of the lowest blocks that are free in the words, from slots[count - 1] downwards. In
// *ret_rest what stays of the last word; how many words it took.
static uint32_t lowest_freed(const uint64_t *bits, uint64_t *slots, uint32_t count, uintptr_t first,
                             uint32_t bytes, uint64_t *ret_rest)
{
	uint64_t *slot = slots + count, mask = 0;
	uint32_t words = 0;

	for (; slot != slots; words++, first += (uintptr_t)64 * bytes) {
		mask = bits[words];
		if (mask == ~0ull && slot - slots >= 64) {
			slot = blocks_put(slot, first, 64, bytes);
			mask = 0;
			continue;
		}
		for (; mask && slot != slots; mask &= mask - 1)
			*--slot = first + (uint32_t)__builtin_ctzll(mask) * bytes;
	}
	*ret_rest = mask;
	return words;
}

// Takes the lowest blocks that are free, the highest of them first.
static void take_freed(struct batch *batch, struct shard *shard, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);
	uint64_t *bits = bits_of(slab), rest;
	uint32_t count = batch->want - batch->count, words;

	if (count > slab->freed_count)
		count = slab->freed_count;
	words = lowest_freed(bits, batch->slots + batch->count, count, slice_address(slice),
	                     (uint32_t)slab->bytes, &rest);
	batch->count += count;
	batch_publish(batch);
	for (uint32_t i = 0; i + 1 < words; i++)
		bits_set(&bits[i], 0);
	bits_set(&bits[words - 1], rest);
	slab->freed_count -= count;
	if (!slab->freed_count)
		list_remove(shard, slice);
}

static void take_fresh(struct batch *batch, struct shard *shard)
{
	struct malloc_slab *slab = slice_slab(shard->fresh);
	uint32_t bump = slab->bump, count = batch->want - batch->count;
	uintptr_t bytes = slab->bytes, first = slice_address(shard->fresh) + bump * bytes;
	uint64_t *slot;

	if (count > slab->block_count - bump)
		count = slab->block_count - bump;
	slot = batch->slots + batch->count + count;
	blocks_put(slot, first, count, (uint32_t)bytes);
	batch->count += count;
	batch_publish(batch);
	__atomic_store_n(&slab->bump, bump + count, __ATOMIC_RELEASE);
	if (bump + count == slab->block_count)
		fresh_set(shard, 0);
}

// The free blocks of a word of bits that fill lines of the processor's cache by themselves. Blocks begin
// at a line once in four, two or one.
static uint64_t whole_lines(uint64_t bits, uint32_t bytes)
{
	uint64_t both = bits & bits >> 1 & 0x5555555555555555;
	uint64_t four = both & both >> 2 & 0x1111111111111111;

	if (bytes & 16)
		return four * 15;
	return bytes & 32 ? both * 3 : bits;
}

static void take_lines(struct batch *batch, struct shard *shard, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);
	uint32_t words = (slab->bump + 63) / 64, bytes = (uint32_t)slab->bytes;
	uint64_t *bits = bits_of(slab);

	for (uint32_t i = 0; i < words && batch->count < batch->want; i++) {
		uint64_t mask = whole_lines(bits[i], bytes), rest = bits[i];

		for (; mask && batch->count < batch->want; mask &= mask - 1) {
			uint32_t bit = (uint32_t)__builtin_ctzll(mask);

			batch->slots[batch->count++] =
				slice_address(slice) + ((uintptr_t)i * 64 + bit) * bytes;
			rest &= ~(1ull << bit);
			slab->freed_count--;
		}
		batch_publish(batch);
		bits_set(&bits[i], rest);
	}
	if (!slab->freed_count)
		list_remove(shard, slice);
}

// Of the first few slabs in the list.
static void take_apart(struct batch *batch, struct shard *shard)
{
	enum { SLABS = 4 };
	uint32_t slice = shard->list, next;

	for (int i = 0; i < SLABS && slice && batch->count < batch->want; i++, slice = next) {
		next = slice_slab(slice)->next;
		take_lines(batch, shard, slice);
	}
	if (batch->count < batch->want && shard->fresh)
		take_fresh(batch, shard);
}

unsigned malloc_arena_of(const struct cache *cache, struct core_zone *zone, unsigned class)
{
	struct shard *first = &zone->shards[class];
	struct shard *own = zone_shard(zone, class, cache->arena);

	if (own != first && (__atomic_load_n(&own->slabs, __ATOMIC_RELAXED) ||
	                     __atomic_load_n(&first->slabs, __ATOMIC_RELAXED) >= ARENA_SLABS))
		return cache->arena;
	return 0;
}

bool malloc_slab_grows(const struct cache *cache, struct core_zone *zone, unsigned class)
{
	const struct shard *shard = zone_shard(zone, class, malloc_arena_of(cache, zone, class));

	return !__atomic_load_n(&shard->list, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&shard->fresh, __ATOMIC_RELAXED) &&
	       malloc_pool_grows(&zone->pool, malloc_classes[class].slices);
}

static void refill_from(struct batch *batch, struct cache *cache, struct core_zone *zone,
                        unsigned class, unsigned arena, bool apart)
{
	struct shard *shard = zone_shard(zone, class, arena);
	struct inside_lock *lock = shard_lock(zone, shard);
	uint32_t want = batch->want;

	if (!malloc_lock(lock))
		return;
	if (unlikely(apart) && malloc_classes[class].bytes <= APART_BYTES_MAX)
		take_apart(batch, shard);
	if (batch->count)
		want = batch->count;
	while (batch->count < want && shard->list)
		take_freed(batch, shard, shard->list);
	while (batch->count < want) {
		if (!shard->fresh)
			fresh_set(shard, slab_make(cache, zone, class, arena));
		if (!shard->fresh)
			break;
		take_fresh(batch, shard);
		if (batch->count && !shard->fresh)
			break;
	}
	count_out(shard, batch->count);
	inside_unlock(lock);
}

uint32_t malloc_slab_refill(struct cache *cache, struct core_zone *zone, unsigned class,
                            uint64_t *slots, uint32_t want, bool apart)
{
	struct malloc_transit *transit = &cache->thread.transit;
	struct batch batch = { .transit = transit, .slots = slots, .want = want };

	transit->count = 0;
	transit->done = 0;
	transit->group = 0;
	transit->class = class;
	in_this_order();
	transit->entries = (uintptr_t)slots;
	refill_from(&batch, cache, zone, class, malloc_arena_of(cache, zone, class), apart);
	// When memory is short: what another arena has.
	for (unsigned arena = 0; !batch.count && arena < zone_arenas(zone); arena++)
		refill_from(&batch, cache, zone, class, arena, false);
	return batch.count;
}

// --- flush ----------------------------------------------------------------------------------------
// Blocks of one class of a zone on their way back.
struct returning {
	struct core_zone *zone;
	struct shard *shard;
	unsigned class;
	unsigned arena;
	uint32_t word;    // of the first slices of its slabs
	bool locked_out;  // a lock was not to be had
	uint32_t emptied; // slabs, in slices
	uint32_t slices[EMPTIED_MAX];
};

// Sets the bits of the first entries as far as they are blocks of one slab that somebody had, and
// returns how many those are. Neighbours come one after the other more often than not: the bits of a word
// are gathered before they are written. An offset divided by the size: 36 bits of the divisor are exact
// for offsets below 2^18 and sizes to 2^15.
static uint32_t bits_return(const struct malloc_slab *slab, uint32_t slice, unsigned class,
                            const uint64_t *entries, uint32_t count)
{
	uintptr_t start = slice_address(slice), bytes = (uintptr_t)slab->bump * slab->bytes;
	uint64_t divisor = (malloc_divisor[class] >> 28) + 1, *word = bits_of(slab), bits = *word;
	uint32_t i = 0;

	for (; i < count && entries[i] - start < bytes; i++) {
		uint64_t index = (entries[i] - start) * divisor >> 36;
		uint64_t *its = bits_of(slab) + index / 64, bit = 1ull << index % 64;

		if (its != word) {
			bits_set(word, bits);
			word = its;
			bits = *word;
		}
		if (unlikely(bits & bit))
			break;
		bits |= bit;
	}
	bits_set(word, bits);
	return i;
}

// Under the lock: gives back the first entries as far as they are of one slab. 0 when the first is no
// block of the shard that somebody had.
static uint32_t slab_return(struct returning *r, const uint64_t *entries, uint32_t count)
{
	uint32_t slice = address_slice(entries[0]), word = slice_word(slice), done;
	struct malloc_slab *slab;

	if (unlikely((word ^ r->word) & ~0xf00u))
		return 0;
	slice -= word >> 8 & 0xf;
	slab = slice_slab(slice);
	if (slab_arena(slab) != r->arena)
		return 0;
	done = bits_return(slab, slice, r->class, entries, count);
	if (unlikely(!slab->freed_count) && done)
		list_add(r->shard, slice);
	slab->freed_count += done;
	count_out(r->shard, -done);
	if (unlikely(slab->freed_count == slab->bump) && r->emptied < EMPTIED_MAX)
		r->slices[r->emptied++] = slice;
	return done;
}

MALLOC_SELDOM static void fault_freed(const struct returning *r, uintptr_t block)
{
	uint32_t slice = address_slice(block);
	uint32_t word = slice_word(slice);

	if (malloc_slab_lenient)
		return;
	slice -= word >> 8 & 0xf;
	if ((word ^ r->word) & ~0xf00u ||
	    class_index(r->class, (uint32_t)(block - slice_address(slice))) >=
	            slice_slab(slice)->bump)
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being freed was "
		             "not allocated",
		             (void *)block);
	else
		malloc_fault(MALLOC_FAULT_MISUSE, "*** error for object %p: double free",
		             (void *)block);
}

// An empty slab is kept when it is all that a class of smaller blocks has. A signal handler releases none, as its thread
// may hold the lock of the pool.
static void release_emptied(struct returning *r)
{
	while (r->emptied) {
		uint32_t slice = r->slices[--r->emptied];

		if ((r->shard->slabs > 1 || malloc_classes[r->class].bytes > KEPT_BYTES_MAX) &&
		    slice_word(slice) == r->word && slab_empty(slice_slab(slice)))
			slab_release(r->zone, r->shard, r->class, slice);
	}
}

// The arena of the slab that the block is of: none gives it back while somebody has the block.
static unsigned arena_of(const struct returning *r, uintptr_t block)
{
	if (unlikely((slice_word(address_slice(block)) ^ r->word) & ~0xf00u))
		return 0;
	return malloc_arena_from(block);
}

// Gives back the first entries as far as they are of one shard, and returns how many those were.
static uint32_t return_run(struct returning *r, const uint64_t *entries, uint32_t count)
{
	uint32_t at = 0, done = 1;
	struct inside_lock *lock;

	r->arena = arena_of(r, entries[0]);
	r->shard = zone_shard(r->zone, r->class, r->arena);
	lock = shard_lock(r->zone, r->shard);
	r->locked_out = !malloc_lock(lock);
	if (r->locked_out)
		return 0;
	for (; at < count && done; at += done)
		done = slab_return(r, entries + at, count - at);
	if (unlikely(r->emptied) && !malloc_slab_lenient && !malloc_interrupts)
		release_emptied(r);
	inside_unlock(lock);
	return at;
}

static bool return_part(struct returning *r, const uint64_t *entries, uint32_t count)
{
	for (uint32_t at = 0, done; at < count; at += done) {
		done = return_run(r, entries + at, count - at);
		if (r->locked_out)
			return false;
		if (unlikely(!done)) {
			fault_freed(r, entries[at]);
			done = 1;
		}
	}
	return true;
}

bool malloc_slab_lenient;

bool malloc_slab_release_class(struct cache *cache, struct core_zone *zone, unsigned class,
                               const uint64_t *entries, uint32_t count)
{
	struct malloc_transit *transit = &cache->thread.transit;
	struct returning r = { .zone = zone,
		               .class = class,
		               .word = malloc_word(zone->number, MALLOC_SLAB, class) };

	bool given = true;

	for (uint32_t at = 0, part; at < count; at += part) {
		part = count - at < PART ? count - at : PART;
		transit->group = part;
		in_this_order();
		given = return_part(&r, entries + at, part);
		in_this_order();
		transit->done += part;
		in_this_order();
		transit->group = 0;
		in_this_order();
	}
	return given;
}

// How many entries from the first on are of its zone and class.
static uint32_t same_class(const uint64_t *entries, uint32_t count, uint32_t word)
{
	uint32_t same = 1;

	while (same < count && !((malloc_word_at(entries[same]) ^ word) & ~0xf00u))
		same++;
	return same;
}

void malloc_slab_release(struct cache *cache, const uint64_t *entries, uint32_t count)
{
	cache->thread.transit.done = 0;
	for (uint32_t at = 0, same; at < count; at += same) {
		uint32_t word = malloc_word_at(entries[at]);

		same = same_class(entries + at, count - at, word);
		malloc_slab_release_class(cache, malloc_zone_of_word(word), word & 0xff,
		                          entries + at, same);
	}
}

bool malloc_slab_block_freed(const struct malloc_slab *slab, uint32_t index)
{
	return __atomic_load_n(&bits_of(slab)[index / 64], __ATOMIC_RELAXED) >> index % 64 & 1;
}
