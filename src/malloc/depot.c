// SPDX-License-Identifier: MIT
// The depot: full bins that wait for a bin that ran empty. A program whose blocks come and go in waves
// fills more bins than a thread may keep; a whole array of addresses changes hands here by a few writes,
// where the way through the bits of the slabs costs some forty instructions a block.
//
// 1. What lies here is memory that other classes lack, as what lies in bins, and eight bytes more for each
//    block. So a class has to earn it: it may leave twice as many arrays whenever a bin ran empty after one
//    was refused, and fewer when some were not asked for between two looks (cache.c says when those are),
//    which go back to their slabs. All go before the heap takes memory that was never used. All together
//    are never more than a part of the heap.
// 2. Blocks go to the depot of the arena that their slabs belong to (of the oldest of an array): in a
//    program of which one thread allocates and another frees, they come back to the first.
// 3. A slot holds one array: full, or the empty one that was left for it. One lock guards the lists of
//    slots. No malloc and no free waits for it: who does not get it goes to the slabs.
// 4. For readers slots are the bins of records in the list of threads (layout/malloc.h), as many as there
//    are classes in each. While an array changes hands its entries stand in the transit records of both.
#include "malloc/malloc_impl.h"

enum {
	RECORD_SLOTS = CLASS_COUNT, // as many bins of a record do readers look at
	RECORDS_MAX = 32,
	SLOTS_MAX = RECORDS_MAX * RECORD_SLOTS,
	HEAP_PART = 2,
	LEAST_BYTES = 256 << 10, // and so much more
};

struct record {
	struct malloc_thread thread; // first: what is published
	uint16_t next[RECORD_SLOTS]; // slots of the same list
};

// What a class has here. Slots by number, 0 is none.
struct stock {
	uint16_t full, empty; // first slots of lists
	uint16_t count;       // of full ones
	uint16_t low;         // the least of it since the last look
	uint16_t allowed;     // the most of it
	bool refused;         // one was more than allowed, since a bin ran empty
};

// Each arena has a depot, on lines of the processor's cache that no other writes.
static struct depot {
	struct inside_lock lock; // of all that follows
	uint32_t full_count;
	size_t bytes;
	struct record *records[RECORDS_MAX];
	uint16_t slots_made, unused;
	struct stock stocks[CLASS_COUNT];
} __attribute__((aligned(128))) depots[ARENAS_MAX] INSIDE_RARELY;

// --- slots ----------------------------------------------------------------------------------------
static struct record *record_of(const struct depot *depot, uint16_t slot)
{
	return depot->records[(slot - 1u) / RECORD_SLOTS];
}

static struct malloc_bin *bin_of(const struct depot *depot, uint16_t slot)
{
	return &record_of(depot, slot)->thread.bins[(slot - 1u) % RECORD_SLOTS];
}

static void slot_push(const struct depot *depot, uint16_t *list, uint16_t slot)
{
	record_of(depot, slot)->next[(slot - 1u) % RECORD_SLOTS] = *list;
	*list = slot;
}

static uint16_t slot_pop(const struct depot *depot, uint16_t *list)
{
	uint16_t slot = *list;

	if (slot)
		*list = record_of(depot, slot)->next[(slot - 1u) % RECORD_SLOTS];
	return slot;
}

static bool record_make(struct depot *depot)
{
	struct record *record = malloc_meta_keep(sizeof(*record));

	if (!record)
		return false;
	record->thread.depot = 1;
	depot->records[depot->slots_made / RECORD_SLOTS] = record;
	malloc_thread_publish(&record->thread);
	return true;
}

static uint16_t slot_make(struct depot *depot)
{
	uint16_t slot = slot_pop(depot, &depot->unused);

	if (slot)
		return slot;
	if (depot->slots_made == SLOTS_MAX ||
	    (depot->slots_made % RECORD_SLOTS == 0 && !record_make(depot)))
		return 0;
	return ++depot->slots_made;
}

// Between top's two writes a bin tells nothing.
static void bin_set(struct malloc_bin *bin, const struct malloc_bin *now)
{
	bin->top = NULL;
	in_this_order();
	bin->base = now->base;
	bin->limit = now->limit;
	bin->array = now->array;
	in_this_order();
	bin->top = now->top;
}

// Entries are what stands in it before or after.
static void slot_set(const struct depot *depot, uint16_t slot, const struct malloc_bin *now,
                     unsigned class, const struct malloc_bin *entries)
{
	struct malloc_transit *transit = &record_of(depot, slot)->thread.transit;
	uint32_t count = (uint32_t)(entries->top - entries->base);

	malloc_transit_start(transit, bin_of(depot, slot), class, entries->base, count);
	bin_set(bin_of(depot, slot), now);
	malloc_transit_end_of(transit);
}

// A slot and the empty array in it, or a new one for so many entries; 0 none.
static uint16_t slot_empty(struct depot *depot, struct stock *stock, size_t entries,
                           struct malloc_bin *ret)
{
	uint16_t slot = slot_pop(depot, &stock->empty);
	uint64_t *array;

	if (slot) {
		*ret = *bin_of(depot, slot);
		return slot;
	}
	if (!(array = malloc_bin_array(entries)))
		return 0;
	*ret = (struct malloc_bin){ array, array, array + entries, array };
	if (!(slot = slot_make(depot)))
		malloc_bin_array_give(ret);
	return slot;
}

// --- in and out -----------------------------------------------------------------------------------
static size_t bytes_in(const struct malloc_bin *bin, unsigned class)
{
	return (size_t)(bin->top - bin->base) * (malloc_classes[class].bytes + sizeof(uint64_t));
}

static void count_full(struct depot *depot, struct stock *stock, int more, size_t bytes)
{
	__atomic_store_n(&stock->count, stock->count + more, __ATOMIC_RELAXED);
	__atomic_store_n(&depot->full_count, depot->full_count + (uint32_t)more, __ATOMIC_RELAXED);
	__atomic_store_n(&depot->bytes, depot->bytes + (more > 0 ? bytes : -bytes),
	                 __ATOMIC_RELAXED);
	if (stock->low > stock->count)
		stock->low = stock->count;
}

// A bin and a slot become what they are to be; entries are all that stands in them.
static void exchange(struct cache *cache, struct malloc_bin *bin, const struct malloc_bin *bin_now,
                     const struct depot *depot, uint16_t slot, const struct malloc_bin *slot_now,
                     unsigned class, const struct malloc_bin *entries)
{
	malloc_transit_start(&cache->thread.transit, bin, class, entries->base,
	                     (uint32_t)(entries->top - entries->base));
	bin_set(bin, bin_now);
	slot_set(depot, slot, slot_now, class, entries);
	malloc_transit_end(cache);
}

static size_t all_bytes(void)
{
	size_t bytes = 0;

	for (unsigned arena = 0; arena < zone_arenas(&malloc_zone_default); arena++)
		bytes += __atomic_load_n(&depots[arena].bytes, __ATOMIC_RELAXED);
	return bytes;
}

static bool may_put(struct stock *stock, size_t bytes)
{
	size_t heap = malloc_pool_open_bytes(&malloc_zone_default.pool);

	if (stock->count < stock->allowed)
		return all_bytes() + bytes <= LEAST_BYTES + heap / HEAP_PART;
	__atomic_store_n(&stock->refused, true, __ATOMIC_RELAXED);
	return false;
}

// The newest entries, which the bin keeps, move into the array that it gets.
static bool put_locked(struct depot *depot, struct cache *cache, struct malloc_bin *bin,
                       unsigned class, uint32_t keep)
{
	struct malloc_bin full = *bin, kept, gone = full;
	struct stock *stock = &depot->stocks[class];
	uint16_t slot;

	if (!may_put(stock, bytes_in(bin, class)) ||
	    !(slot = slot_empty(depot, stock, (size_t)(bin->limit - bin->array), &kept)))
		return false;
	if (keep > (size_t)(kept.limit - kept.array))
		keep = 0;
	gone.top -= keep;
	for (const uint64_t *entry = gone.top; entry < full.top; entry++) {
		*kept.top++ = *entry;
		in_this_order();
	}
	exchange(cache, bin, &kept, depot, slot, &gone, class, &full);
	slot_push(depot, &stock->full, slot);
	count_full(depot, stock, 1, bytes_in(&gone, class));
	return true;
}

bool malloc_depot_put(struct cache *cache, struct malloc_bin *bin, unsigned class, uint32_t keep)
{
	struct depot *depot = &depots[malloc_arena_from(bin->base[0])];
	bool put;

	if (!inside_lock_try(&depot->lock))
		return false;
	put = put_locked(depot, cache, bin, class, keep);
	inside_unlock(&depot->lock);
	return put;
}

static void allow_more(struct stock *stock)
{
	if (stock->allowed < SLOTS_MAX)
		stock->allowed = 2 * stock->allowed + 1;
	__atomic_store_n(&stock->refused, false, __ATOMIC_RELAXED);
}

static bool take_locked(struct depot *depot, struct cache *cache, struct malloc_bin *bin,
                        unsigned class)
{
	struct stock *stock = &depot->stocks[class];
	uint16_t slot = slot_pop(depot, &stock->full);
	struct malloc_bin full, empty = *bin;

	if (!slot && stock->refused)
		allow_more(stock);
	if (!slot)
		return false;
	full = *bin_of(depot, slot);
	exchange(cache, bin, &full, depot, slot, &empty, class, &full);
	slot_push(depot, empty.array ? &stock->empty : &depot->unused, slot);
	count_full(depot, stock, -1, bytes_in(&full, class));
	return true;
}

bool malloc_depot_take(struct cache *cache, struct malloc_bin *bin, unsigned class)
{
	struct depot *depot = &depots[malloc_arena_of(cache, &malloc_zone_default, class)];
	const struct stock *stock = &depot->stocks[class];
	bool taken;

	if (!__atomic_load_n(&stock->count, __ATOMIC_RELAXED) &&
	    !__atomic_load_n(&stock->refused, __ATOMIC_RELAXED))
		return false;
	if (!inside_lock_try(&depot->lock))
		return false;
	taken = take_locked(depot, cache, bin, class);
	inside_unlock(&depot->lock);
	return taken;
}

// --- back to the slabs ----------------------------------------------------------------------------
// Takes a full array out, whose entries are in transit then; NULL when there is none. Empty ones go.
static struct malloc_bin withdraw(struct depot *depot, struct cache *cache, unsigned class)
{
	static const struct malloc_bin none;
	struct stock *stock = &depot->stocks[class];
	struct malloc_bin found = none, empty;
	uint16_t slot;

	inside_lock(&depot->lock);
	slot = slot_pop(depot, &stock->full);
	if (slot) {
		found = *bin_of(depot, slot);
		malloc_transit_start(&cache->thread.transit, NULL, class, found.base,
		                     (uint32_t)(found.top - found.base));
		slot_set(depot, slot, &none, class, &found);
		slot_push(depot, &depot->unused, slot);
		count_full(depot, stock, -1, bytes_in(&found, class));
	}
	while ((slot = slot_pop(depot, &stock->empty))) {
		empty = *bin_of(depot, slot);
		slot_set(depot, slot, &none, class, &none);
		malloc_bin_array_give(&empty);
		slot_push(depot, &depot->unused, slot);
	}
	inside_unlock(&depot->lock);
	return found;
}

static void drain(struct depot *depot, struct cache *cache, unsigned class, uint32_t count)
{
	for (; count; count--) {
		struct malloc_bin found = withdraw(depot, cache, class);

		if (!found.array)
			break;
		malloc_slab_release_class(cache, &malloc_zone_default, class, found.base,
		                          (uint32_t)(found.top - found.base));
		malloc_transit_end(cache);
		malloc_bin_array_give(&found);
	}
	malloc_slab_trim(&malloc_zone_default, class);
}

// How many arrays have to go.
static uint32_t look(struct depot *depot, unsigned class, bool all)
{
	struct stock *stock = &depot->stocks[class];
	uint32_t idle, count;

	inside_lock(&depot->lock);
	idle = stock->low;
	count = all ? stock->count : idle;
	stock->allowed -= idle < stock->allowed ? idle : stock->allowed;
	stock->low = (uint16_t)(stock->count - count);
	inside_unlock(&depot->lock);
	return count;
}

static void depot_look(struct depot *depot, struct cache *cache, bool all)
{
	if (!__atomic_load_n(&depot->full_count, __ATOMIC_RELAXED))
		return;
	for (unsigned class = 0; class < CLASS_COUNT; class ++) {
		uint32_t count = 0;

		if (__atomic_load_n(&depot->stocks[class].count, __ATOMIC_RELAXED))
			count = look(depot, class, all);
		if (count)
			drain(depot, cache, class, count);
	}
}

void malloc_depot_look(struct cache *cache, bool all)
{
	if (malloc_interrupts)
		return;
	for (unsigned arena = 0; arena < zone_arenas(&malloc_zone_default); arena++)
		depot_look(&depots[arena], cache, all);
}

MALLOC_SELDOM void malloc_depot_each_lock(void (*act)(struct inside_lock *))
{
	for (unsigned arena = 0; arena < zone_arenas(&malloc_zone_default); arena++)
		act(&depots[arena].lock);
}
