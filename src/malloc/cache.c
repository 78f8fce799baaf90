// SPDX-License-Identifier: MIT
// The caches of threads: for each class an array of addresses of free blocks.
//
// 1. The short paths (malloc_fast, malloc_fast_free) touch only the bin of their thread. Everything
//    else runs between enter and leave: enter hides the bins behind an empty cache and marks the thread
//    as busy, so that a signal handler that allocates meanwhile does not find bins half changed; it
//    uses the orphans' cache.
// 2. Depth. A bin starts with 15 entries or 2 KiB of blocks. It doubles when it runs empty, up to 127
//    entries, for a program that only allocates gains nothing from more; and when it runs full, up to
//    511 entries or 32 KiB of blocks (128 in a large heap), for then blocks come and go in waves. What
//    of a wave is more waits in the depot (depot.c), or goes through the slabs. All bins of a thread
//    together stay within a budget that grows with the heap. A bin that ran full and then empty may go
//    beyond it once: there it was depth that was missing, and not blocks or takers of them. What
//    lies in caches is memory that other classes and threads lack: with 128 KiB a class the benchmark
//    mstress took twice the memory. So bins that nobody used since the last look are emptied whenever
//    the thread needs memory that was never used before.
// 3. A full bin flushes its oldest half: what was freed last is likely to be in the processor's cache.
// 4. A thread that gets a few blocks of others and frees them does not get those for itself, nor the rest
//    of their lines of the processor's cache, in which the others may write: until it allocates from a
//    bin, the first blocks that it frees go to their slab.
// 5. A thread's end is told by a destructor of a pthread key. Other destructors may still allocate, so
//    it asks to be called again until the last round but one, then empties the bins. (In the last one the
//    runtime of ThreadSanitizer lets go of the thread.) What the thread does after that goes through the
//    orphans' cache. Records of ended threads are used again; they are never
//    unlinked, so that readers and the child of a fork can walk the list at any time.
// 6. Zones other than the default one get bins in a thread after some blocks were taken one by one. A
//    destroyed zone raises its generation, which voids what is left in such bins; they are only flushed
//    on behalf of another zone while the zones are locked, for their own may be destroyed just then.
#include "malloc/malloc_impl.h"

#include <limits.h>
#include <pthread.h>

enum {
	FIRST_ENTRIES = 15,
	FIRST_BYTES = 2 << 10,
	REFILL_ENTRIES_MAX = 127,
	ENTRIES_MAX = 511,
	BIN_BYTES_MAX = 32 << 10, // of blocks; in large heaps more
	THREAD_BYTES = 256 << 10, // of all bins of a thread, and a part of the heap
	TURNED_BYTES = 1 << 20,   // the same for a bin that ran full and then empty
	HEAP_PART = 64,
	STRANGE_EVENTS = 8,   // blocks that a thread frees before it allocates
	IDLE_EVENTS = 256,    // so many refills and flushes between looks for idle bins
	IDLE_BYTES_MAX = 512, // larger blocks come and go too often to give their last slab back
	ZONE_UNCACHED = 512,  // blocks of a zone taken one by one before threads cache them
	PARKED_FIRST = 64,
	EXIT_ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - 1,
};

struct malloc_thread malloc_no_cache INSIDE_RARELY;
MALLOC_HIDDEN_TLS __thread struct malloc_thread *malloc_cache = &malloc_no_cache;
static __thread struct cache *self;
static __thread bool ended;

struct inside_lock malloc_threads_lock, malloc_orphan_lock, malloc_interrupter_lock;
MALLOC_HIDDEN_TLS __thread bool malloc_interrupts;
static struct cache orphan INSIDE_RARELY, interrupter INSIDE_RARELY;
static bool orphan_published, interrupter_published, parking_published;
// Blocks that a signal handler freed while it could not get the lock of their class: published as in
// transit, until a later handler can. Under the lock of interrupters.
static struct malloc_thread parking INSIDE_RARELY;
static uint64_t *parked;
static uint32_t parked_room;
static pthread_key_t exit_key;
static bool exit_key_made;
static uint32_t threads_alive;

// --- threads --------------------------------------------------------------------------------------
void malloc_thread_publish(struct malloc_thread *thread)
{
	thread->next = __atomic_load_n(&heapwright_malloc.threads, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&heapwright_malloc.threads, &thread->next,
	                                    (uintptr_t)thread, true, __ATOMIC_RELEASE,
	                                    __ATOMIC_RELAXED))
		;
}

// The caches that threads share, under their lock: a program that never needs one does not touch it.
static void publish_once(struct malloc_thread *thread, bool *published)
{
	if (likely(*published))
		return;
	malloc_thread_publish(thread);
	*published = true;
}

static bool is_shared(const struct cache *cache)
{
	return cache == &orphan || cache == &interrupter;
}

static struct cache *first_cache(void)
{
	return (struct cache *)__atomic_load_n(&heapwright_malloc.threads, __ATOMIC_ACQUIRE);
}

// What the thread that ended wrote last is seen by who finds its number gone.
static struct cache *reuse_ended(void)
{
	for (struct cache *cache = first_cache(); cache; cache = (struct cache *)cache->thread.next)
		if (!__atomic_load_n(&cache->thread.thread_id, __ATOMIC_ACQUIRE) &&
		    !cache->thread.depot && !is_shared(cache) && &cache->thread != &parking)
			return cache;
	return NULL;
}

// By turns: as many as there are processors.
static uint32_t arena_for_next(void)
{
	static uint32_t caches, most = 1;
	uint32_t arena;

	if (caches == 1)
		most = inside_processors(ARENAS_MAX);
	arena = caches++ % most;
	if (arena == malloc_arenas)
		__atomic_store_n(&malloc_arenas, arena + 1, __ATOMIC_RELAXED);
	return arena;
}

// Setting the key's value may allocate: by then the thread has its cache.
static struct cache *cache_make(void)
{
	struct cache *cache;
	uint64_t signals;

	malloc_start_once();
	signals = malloc_lock_quietly(&malloc_threads_lock);
	cache = reuse_ended();
	if (!cache && (cache = malloc_meta_keep(sizeof(*cache)))) {
		cache->arena = arena_for_next();
		malloc_thread_publish(&cache->thread);
	}
	if (cache) {
		cache->thread.thread_id = inside_thread_id();
		__atomic_fetch_add(&threads_alive, 1, __ATOMIC_RELAXED);
	}
	if (cache) {
		self = cache;
		malloc_cache_leave(cache);
	}
	malloc_unlock_quiet(&malloc_threads_lock, signals);
	if (cache && exit_key_made)
		pthread_setspecific(exit_key, cache);
	return cache;
}

static struct cache *orphan_take(void)
{
	uint64_t signals;

	malloc_start_once();
	signals = malloc_lock_quietly(&malloc_orphan_lock);
	publish_once(&orphan.thread, &orphan_published);
	orphan.signals = signals;
	return &orphan;
}

MALLOC_SELDOM static struct cache *interrupter_take(void)
{
	uint64_t signals = malloc_lock_quietly(&malloc_interrupter_lock);

	publish_once(&interrupter.thread, &interrupter_published);
	interrupter.signals = signals;
	malloc_interrupts = true;
	return &interrupter;
}

MALLOC_SELDOM bool malloc_lock_try_long(struct inside_lock *lock)
{
	enum { TURNS = 20 };

	for (int turn = 0; turn < TURNS; turn++) {
		if (inside_lock_try(lock))
			return true;
		inside_yield();
	}
	return false;
}

bool malloc_cache_busy(void)
{
	return self && self->busy;
}

struct cache *malloc_cache_enter(void)
{
	struct cache *cache = self;

	if (unlikely(!cache))
		cache = ended ? NULL : cache_make();
	if (unlikely(!cache))
		return orphan_take();
	if (unlikely(cache->busy))
		return interrupter_take();
	cache->busy = true;
	malloc_cache = &malloc_no_cache;
	in_this_order();
	return cache;
}

void malloc_cache_leave(struct cache *cache)
{
	if (unlikely(is_shared(cache))) {
		malloc_interrupts = false;
		malloc_unlock_quiet(cache == &orphan ? &malloc_orphan_lock
		                                     : &malloc_interrupter_lock,
		                    cache->signals);
		return;
	}
	in_this_order();
	cache->busy = false;
	if (malloc_settings.every_call)
		return;
	malloc_cache = &cache->thread;
	in_this_order();
	if (unlikely(malloc_settings.every_call)) // by a tool, between the two
		malloc_cache = &malloc_no_cache;
}

struct cache *malloc_cache_lend(void)
{
	struct cache *cache = self;

	if (unlikely(!cache || cache->busy))
		return NULL;
	cache->busy = true;
	in_this_order();
	return cache;
}

void malloc_cache_take_back(struct cache *cache)
{
	in_this_order();
	cache->busy = false;
}

void malloc_core_see_every_call(void)
{
	malloc_settings.every_call |= 1;
	malloc_cache = &malloc_no_cache;
}

// --- bins -----------------------------------------------------------------------------------------
static size_t array_bytes(size_t entries)
{
	return (entries + 1) * sizeof(uint64_t); // a power of two: see entries_for
}

uint64_t *malloc_bin_array(size_t entries)
{
	uint64_t *memory = malloc_meta_take(array_bytes(entries));

	return memory ? memory + 1 : NULL;
}

void malloc_bin_array_give(struct malloc_bin *bin)
{
	uint64_t *array = bin->array;
	size_t entries = (size_t)(bin->limit - array);

	*bin = (struct malloc_bin){ 0 };
	if (array)
		malloc_meta_give(array - 1, array_bytes(entries));
}

// Of the form 2^n - 1, so that the array is a power of two.
static size_t entries_for(size_t bytes, unsigned class, size_t most)
{
	size_t wanted = bytes / malloc_classes[class].bytes, entries = 1;

	while (entries < most && 2 * entries + 1 <= wanted)
		entries = 2 * entries + 1;
	return entries;
}

static size_t bin_bytes_max(void)
{
	size_t heap = malloc_pool_open_bytes(&malloc_zone_default.pool);

	return (size_t)BIN_BYTES_MAX << ((heap >> 26 != 0) + (heap >> 28 != 0));
}

static size_t thread_bytes_max(bool turned)
{
	uint32_t threads = __atomic_load_n(&threads_alive, __ATOMIC_RELAXED);

	return (turned ? TURNED_BYTES : THREAD_BYTES) +
	       malloc_pool_open_bytes(&malloc_zone_default.pool) / HEAP_PART / (threads + 1);
}

static size_t bin_entries(const struct malloc_bin *bin)
{
	return (size_t)(bin->limit - bin->array);
}

static struct bin_state *state_of(struct cache *cache, const struct malloc_bin *bin)
{
	size_t class = (size_t)(bin - cache->thread.bins);

	return class < CLASS_COUNT ? &cache->states[class] : NULL;
}

static void bin_count(struct cache *cache, struct malloc_bin *bin)
{
	struct bin_state *state = state_of(cache, bin);

	cache->events++;
	if (state)
		state->events++;
}

// Whether the thread, which is not the only one, never allocated through the bin.
static bool is_strange(struct cache *cache, const struct malloc_bin *bin)
{
	const struct bin_state *state = state_of(cache, bin);

	return state && !state->refilled && __atomic_load_n(&threads_alive, __ATOMIC_RELAXED) > 1;
}

static bool bin_resize(struct cache *cache, struct malloc_bin *bin, unsigned class, size_t entries)
{
	uint64_t *array = malloc_bin_array(entries);
	struct malloc_bin old = *bin;
	size_t count = (size_t)(bin->top - bin->base), before = bin_entries(bin);

	if (!array)
		return false;
	for (size_t i = 0; i < count; i++)
		array[i] = old.array[i];
	// The first array, too, comes in while the record names the bin: a fork or a look from outside may
	// find its pointers half written.
	malloc_transit_start(&cache->thread.transit, bin, class, old.array ? old.array : array,
	                     (uint32_t)count);
	bin->base = bin->array = array;
	bin->top = array + count;
	bin->limit = array + entries;
	malloc_transit_end(cache);
	cache->capacity_bytes += (entries - before) * malloc_classes[class].bytes;
	malloc_bin_array_give(&old);
	return true;
}

static bool bin_grow(struct cache *cache, struct malloc_bin *bin, unsigned class, size_t most)
{
	struct bin_state *state = state_of(cache, bin);
	bool turned = state && state->turned;
	size_t entries = bin_entries(bin);
	size_t wanted = 2 * entries + 1;

	if (!entries)
		wanted = entries_for(FIRST_BYTES, class, FIRST_ENTRIES);
	else if (wanted > most || wanted * malloc_classes[class].bytes > bin_bytes_max() ||
	         cache->capacity_bytes + (wanted - entries) * malloc_classes[class].bytes >
	                 thread_bytes_max(turned))
		return false;
	if (turned)
		state->turned = false;
	return bin_resize(cache, bin, class, wanted);
}

static void bin_drop(struct cache *cache, struct malloc_bin *bin, unsigned class)
{
	struct malloc_bin old = *bin;

	bin->array = NULL; // first, so that the child of a fork finds no array without its limit
	in_this_order();
	*bin = (struct malloc_bin){ 0 };
	cache->capacity_bytes -= bin_entries(&old) * malloc_classes[class].bytes;
	malloc_bin_array_give(&old);
}

// One by one, for a vector register would keep addresses of blocks long after, where a search for leaks
// finds them.
static void entries_move(uint64_t *to, const uint64_t *from, const uint64_t *end)
{
	for (; from < end; from++, to++) {
		*to = *from;
		in_this_order();
	}
}

// After a flush, which leaves at most as many entries as it took: their copies do not reach them.
static void bin_close_up(struct cache *cache, struct malloc_bin *bin, unsigned class)
{
	uint64_t *rest = bin->base, *end = bin->top;

	entries_move(bin->array, rest, end);
	malloc_transit_start(&cache->thread.transit, bin, class, rest, (uint32_t)(end - rest));
	bin->top = bin->array + (end - rest);
	in_this_order();
	bin->base = bin->array;
	malloc_transit_end(cache);
}

// Gives the oldest entries back, at least half. Until they are in their slabs they stand in the transit
// record, where they are.
static void bin_flush(struct cache *cache, struct core_zone *zone, struct malloc_bin *bin,
                      unsigned class, uint32_t count)
{
	uint64_t *old = bin->base;

	if (!count)
		return;
	malloc_transit_start(&cache->thread.transit, NULL, class, old, count);
	bin->base = old + count;
	in_this_order();
	malloc_slab_release_class(cache, zone, class, old, count);
	malloc_transit_end(cache);
	bin_close_up(cache, bin, class);
}

static bool bin_idle(const struct cache *cache, const struct malloc_bin *bin, unsigned class)
{
	const struct bin_state *state = &cache->states[class];

	return bin->base && state->events == state->seen_events &&
	       bin->top - bin->base == state->seen_count;
}

static void flush_idle(struct cache *cache)
{
	for (unsigned class = 0; class < CLASS_COUNT; class ++) {
		struct malloc_bin *bin = &cache->thread.bins[class];
		struct bin_state *state = &cache->states[class];

		if (bin_idle(cache, bin, class)) {
			bin_flush(cache, &malloc_zone_default, bin, class,
			          (uint32_t)(bin->top - bin->base));
			bin_drop(cache, bin, class);
			if (cache->grew || malloc_classes[class].bytes <= IDLE_BYTES_MAX)
				malloc_slab_trim(&malloc_zone_default, class);
		}
		state->seen_events = state->events;
		state->seen_count = (uint16_t)(bin->top - bin->base);
	}
}

static void look_for_idle(struct cache *cache)
{
	bool grew = cache->grew;

	if (!grew && cache->events % IDLE_EVENTS != 0)
		return;
	flush_idle(cache);
	malloc_depot_look(cache, grew);
	cache->grew = false;
}

// The array of the depot may be of another length. The first one of a wave leaves half of its entries, so
// that a thread that now frees, now allocates does not go to the depot each time.
static bool depot_put(struct cache *cache, struct malloc_bin *bin, unsigned class)
{
	struct bin_state *state = state_of(cache, bin);
	size_t entries = bin_entries(bin), keep = entries / 2;
	bool put;

	if (!state)
		return false;
	if (state->overflowed)
		keep = 0;
	state->overflowed = true;
	put = malloc_depot_put(cache, bin, class, (uint32_t)keep);
	cache->capacity_bytes += (bin_entries(bin) - entries) * malloc_classes[class].bytes;
	return put;
}

static bool depot_take(struct cache *cache, struct malloc_bin *bin, unsigned class)
{
	struct bin_state *state = state_of(cache, bin);
	size_t entries = bin_entries(bin);
	bool taken;

	if (!state)
		return false;
	if (state->overflowed)
		state->turned = true;
	state->overflowed = false;
	taken = malloc_depot_take(cache, bin, class);
	cache->capacity_bytes += (bin_entries(bin) - entries) * malloc_classes[class].bytes;
	return taken;
}

static void *bin_pop(struct malloc_bin *bin)
{
	uint64_t block = bin->top[-1];

	in_this_order();
	bin->top--;
	return (void *)block;
}

static void *take_single(struct cache *cache, struct core_zone *zone, unsigned class)
{
	uint32_t got = malloc_slab_refill(cache, zone, class, &cache->single, 1, false);
	void *block = got ? (void *)cache->single : NULL;

	malloc_transit_end(cache);
	return block;
}

void *malloc_cache_take(struct cache *cache, struct core_zone *zone, struct malloc_bin *bin,
                        unsigned class)
{
	uint32_t want, got;
	bool apart;
	void *block;

	if (bin && bin->top != bin->base)
		return bin_pop(bin);
	if (!bin)
		return take_single(cache, zone, class);
	bin_count(cache, bin);
	if (!is_strange(cache, bin) && depot_take(cache, bin, class)) {
		look_for_idle(cache);
		return bin_pop(bin);
	}
	bin_grow(cache, bin, class, REFILL_ENTRIES_MAX);
	want = (uint32_t)(bin_entries(bin) + 1) / 2;
	if (!want)
		return take_single(cache, zone, class);
	if (malloc_slab_grows(cache, zone, class))
		malloc_depot_look(cache, true);
	apart = is_strange(cache, bin);
	cache->thread.transit.bin = (uintptr_t)bin;
	got = malloc_slab_refill(cache, zone, class, bin->top, want, apart);
	in_this_order();
	bin->top += got;
	malloc_transit_end(cache);
	if (state_of(cache, bin))
		state_of(cache, bin)->refilled = true;
	block = got ? bin_pop(bin) : NULL;
	look_for_idle(cache);
	return block;
}

// False, in a signal handler, when the block could not be given back.
static bool put_single(struct cache *cache, struct core_zone *zone, unsigned class, uintptr_t block)
{
	bool given;

	cache->single = block;
	malloc_transit_start(&cache->thread.transit, NULL, class, &cache->single, 1);
	given = malloc_slab_release_class(cache, zone, class, &cache->single, 1);
	malloc_transit_end(cache);
	return given;
}

// Twice as much room for parked blocks.
MALLOC_SELDOM static bool parking_grow(void)
{
	uint32_t room = parked_room ? 2 * parked_room : PARKED_FIRST;
	uint64_t *old = parked, *array = malloc_meta_take(room * sizeof(*array));

	if (!array)
		return false;
	publish_once(&parking, &parking_published);
	for (uint32_t i = 0; i < parking.transit.count; i++)
		array[i] = old[i];
	in_this_order();
	parking.transit.entries = (uintptr_t)array;
	in_this_order();
	malloc_meta_give(old, parked_room * sizeof(*old));
	parked = array;
	parked_room = room;
	return true;
}

// A block that there is no room for is lost.
MALLOC_SELDOM static void park(uintptr_t block)
{
	uint32_t count = parking.transit.count;

	if (count == parked_room && !parking_grow())
		return;
	parked[count] = block;
	in_this_order();
	parking.transit.count = count + 1;
}

// Only one of its zone's locks that is free: the thread that was interrupted may hold any.
MALLOC_SELDOM static bool put_interrupter(uintptr_t block)
{
	uint32_t word = malloc_word_at(block);
	struct core_zone *zone = word_is_slab(word) ? malloc_zone_of_word(word) : NULL;

	return !zone || put_single(&interrupter, zone, word & 0xff, block);
}

MALLOC_SELDOM static void unpark(void)
{
	while (parking.transit.count && put_interrupter(parked[parking.transit.count - 1])) {
		parking.transit.count--;
		in_this_order();
	}
}

void malloc_cache_put(struct cache *cache, struct core_zone *zone, struct malloc_bin *bin,
                      unsigned class, uintptr_t block)
{
	if (bin && bin->top == bin->limit) {
		bin_count(cache, bin);
		if (is_strange(cache, bin) && state_of(cache, bin)->events <= STRANGE_EVENTS)
			bin = NULL;
		else if (!bin_grow(cache, bin, class, ENTRIES_MAX) && bin->base &&
		         !depot_put(cache, bin, class))
			bin_flush(cache, zone, bin, class, (uint32_t)(bin_entries(bin) + 1) / 2);
	}
	if (cache == &interrupter) {
		unpark();
		if (!put_interrupter(block))
			park(block);
		return;
	}
	if (!bin || bin->top == bin->limit) {
		put_single(cache, zone, class, block);
		return;
	}
	*bin->top = block;
	in_this_order();
	bin->top++;
	look_for_idle(cache);
}

// --- bins of other zones --------------------------------------------------------------------------
static bool is_current(const struct malloc_zone_cache *caches)
{
	const struct malloc_zone_record *records = (void *)heapwright_malloc.zones;

	return caches->generation == records[caches->zone].generation;
}

MALLOC_SELDOM static void zone_bins_flush(struct cache *cache, struct malloc_zone_cache *caches)
{
	bool current;

	inside_lock(&malloc_zones_lock);
	current = is_current(caches);
	for (unsigned class = 0; class < CLASS_COUNT; class ++) {
		struct malloc_bin *bin = &caches->bins[class];

		if (current)
			bin_flush(cache, malloc_core_zones[caches->zone], bin, class,
			          (uint32_t)(bin->top - bin->base));
		bin_drop(cache, bin, class);
	}
	inside_unlock(&malloc_zones_lock);
}

static struct malloc_zone_cache *zone_bins(struct cache *cache, struct core_zone *zone)
{
	struct malloc_zone_cache **place = &cache->zones[zone->number % ZONE_CACHES];
	struct malloc_zone_cache *caches = *place;

	if (caches && caches->zone == zone->number && caches->generation == zone->generation)
		return caches;
	if (__atomic_fetch_add(&zone->uncached, 1, __ATOMIC_RELAXED) < ZONE_UNCACHED ||
	    is_shared(cache))
		return NULL;
	if (caches) {
		zone_bins_flush(cache, caches);
		// With more zones in use than places the next one has to earn it again, or each call
		// would flush.
		__atomic_store_n(&zone->uncached, 0, __ATOMIC_RELAXED);
	} else {
		caches = malloc_meta_take(sizeof(*caches));
		if (!caches)
			return NULL;
		caches->next = cache->thread.zone_caches;
		in_this_order();
		cache->thread.zone_caches = (uintptr_t)caches;
		*place = caches;
	}
	caches->zone = zone->number;
	caches->generation = zone->generation;
	return caches;
}

struct malloc_bin *malloc_cache_bin(struct cache *cache, struct core_zone *zone, unsigned class)
{
	struct malloc_zone_cache *caches;

	if (!zone->number)
		return is_shared(cache) ? NULL : &cache->thread.bins[class];
	caches = zone_bins(cache, zone);
	return caches ? &caches->bins[class] : NULL;
}

// --- the end of a thread --------------------------------------------------------------------------
void malloc_cache_flush(struct cache *cache)
{
	for (unsigned class = 0; class < CLASS_COUNT; class ++) {
		struct malloc_bin *bin = &cache->thread.bins[class];

		bin_flush(cache, &malloc_zone_default, bin, class,
		          (uint32_t)(bin->top - bin->base));
		bin_drop(cache, bin, class);
	}
	for (unsigned i = 0; i < ZONE_CACHES; i++)
		if (cache->zones[i])
			zone_bins_flush(cache, cache->zones[i]);
}

static void thread_ended(void *value)
{
	struct cache *cache = value;
	uint64_t signals;

	if (++cache->exit_rounds < EXIT_ROUNDS) {
		pthread_setspecific(exit_key, cache);
		return;
	}
	signals = inside_signals_block();
	cache->busy = true;
	ended = true;
	self = NULL;
	malloc_cache = &malloc_no_cache;
	malloc_cache_flush(cache);
	for (unsigned class = 0; class < CLASS_COUNT; class ++)
		cache->states[class] = (struct bin_state){ 0 };
	cache->exit_rounds = 0;
	cache->busy = false;
	__atomic_fetch_sub(&threads_alive, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&cache->thread.thread_id, 0, __ATOMIC_RELEASE);
	inside_signals_restore(signals);
}

void malloc_cache_start(void)
{
	exit_key_made = !pthread_key_create(&exit_key, thread_ended);
}

// The pointers of a bin whose entries all stand in the record may be of two arrays: it is lost.
static void forget_transit(struct cache *cache)
{
	struct malloc_bin *bin = (struct malloc_bin *)cache->thread.transit.bin;

	if (bin && cache->thread.transit.entries)
		*bin = (struct malloc_bin){ 0 };
	cache->thread.transit.entries = cache->thread.transit.bin = 0;
}

// In the child of a fork: only this thread is left.
void malloc_cache_forked(void)
{
	malloc_slab_lenient = true;
	for (struct cache *cache = first_cache(); cache;
	     cache = (struct cache *)cache->thread.next) {
		if (cache == self || is_shared(cache) || !cache->thread.thread_id)
			continue;
		forget_transit(cache);
		cache->busy = false;
		cache->exit_rounds = 0;
		malloc_cache_flush(cache);
		cache->capacity_bytes = 0;
		cache->thread.thread_id = 0;
	}
	malloc_slab_lenient = false;
	threads_alive = self != NULL;
	if (self)
		self->thread.thread_id = inside_thread_id();
}
