// SPDX-License-Identifier: MIT
// What the files of the allocator core share. Layers, callees first: meta and map (where metadata
// lives, what an address is), extent (runs of slices), slab (blocks of one class), depot and cache
// (threads), large, core (one zone's allocate and free), zone, fork.
//
// Locks, in the order in which they may be taken: zones, threads, orphan, a shard (or the one lock of
// a zone that is not the default), a pool, depot, interrupter, large, keep, regions, map, meta. Nothing
// is called under a lock that could allocate through malloc. What of it a signal handler may meet, and
// how it gets by: fork.c.
#pragma once

#include "malloc/malloc.h"
#include "os/inside.h"

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

// A remote reader sees a stopped thread's memory as of one instruction: only the compiler may not
// reorder what layout/malloc.h orders.
#define in_this_order() __asm__ volatile("" ::: "memory")

enum {
	ARENAS_MAX = 8,
	PAGE_BYTES = 4096,
	CLASS_COUNT = 104,
	CLASS_WORDS_MAX = 64,           // bitmap words of a slab: 4096 blocks of 16 bytes
	SPAN_BYTES_MAX = 32 << 20,      // above that: a mapping of its own
	SPAN_GROWN_BYTES_MAX = 2 << 20, // as SPAN_BYTES_MAX, for blocks that realloc made longer
};

// --- locks and signal handlers (fork.c) -----------------------------------------------------------
// The calling thread is in a signal handler that interrupted these functions in the same thread.
extern MALLOC_HIDDEN_TLS __thread bool malloc_interrupts;

// For locks that such a handler may find held by its own thread: false when it does not get it.
bool malloc_lock_try_long(struct inside_lock *lock);

static inline bool malloc_lock(struct inside_lock *lock)
{
	if (unlikely(malloc_interrupts))
		return malloc_lock_try_long(lock);
	inside_lock(lock);
	return true;
}

// For locks whose holder is never interrupted. The lock keeps the mask of signals for the unlocking.
static inline uint64_t malloc_lock_quietly(struct inside_lock *lock)
{
	uint64_t signals = inside_signals_block();

	inside_lock(lock);
	return signals;
}

static inline void malloc_unlock_quiet(struct inside_lock *lock, uint64_t signals)
{
	inside_unlock(lock);
	inside_signals_restore(signals);
}

// --- meta.c: memory for metadata ------------------------------------------------------------------
// Sizes are rounded up to a power of two; zeroed. NULL when the system has none.
void *malloc_meta_take(size_t bytes);
void malloc_meta_give(void *memory, size_t bytes);
// The same for what is never given back, of at most 64 KiB: no longer than asked for.
void *malloc_meta_keep(size_t bytes);

// A mapping of whole pages between two pages that fault; NULL when the system has none. Publishing makes
// its three regions known; the caller holds no lock of regions.
MALLOC_AT_START void *malloc_meta_map(size_t bytes);
MALLOC_AT_START void malloc_meta_publish(uintptr_t start, size_t bytes);
extern struct inside_lock malloc_meta_lock;

// --- map.c ----------------------------------------------------------------------------------------
// A slice is named by address >> 16; 0 means none.
static inline uintptr_t slice_address(uint32_t slice)
{
	return (uintptr_t)slice << MALLOC_SLICE_BITS;
}

static inline uint32_t address_slice(uintptr_t address)
{
	return (uint32_t)(address >> MALLOC_SLICE_BITS);
}

static inline uint32_t word_kind(uint32_t word)
{
	return word >> 8 & 0xff;
}

static inline bool word_is_slab(uint32_t word)
{
	return (word_kind(word) & 0xf0) == MALLOC_SLAB;
}

// Only for slices that malloc_map_cover covered.
static inline struct malloc_leaf *slice_leaf(uint32_t slice)
{
	return (struct malloc_leaf *)malloc_root[slice >> MALLOC_LEAF_BITS];
}

static inline struct malloc_slab *slice_slab(uint32_t slice)
{
	return &slice_leaf(slice)->slabs[slice & (MALLOC_LEAF_SLICES - 1)];
}

static inline uint32_t slice_word(uint32_t slice)
{
	return malloc_word_at(slice_address(slice));
}

bool malloc_map_cover(uintptr_t start, size_t bytes);
// Writes the words of the slices behind the first, then that of the first.
void malloc_map_set(uint32_t slice, uint32_t count, uint32_t first_word, uint32_t rest_word);
void malloc_map_set_slab(uint32_t slice, uint32_t count, uint32_t zone, uint32_t class);

// Zeroed memory for the first regions: on the page where the table of the zones begins.
enum { FIRST_REGIONS_BYTES = PAGE_BYTES / 2 };
MALLOC_AT_START void malloc_regions_start(void *first);
// Entries of the region table; UINT32_MAX when there is no memory for one (it is for readers only).
MALLOC_AT_START uint32_t malloc_region_add(uintptr_t start, uintptr_t end, uint32_t kind,
                                           uint32_t zone);
void malloc_region_remove(uint32_t region);
extern struct inside_lock malloc_map_lock, malloc_region_lock;

// --- extent.c: runs of slices ---------------------------------------------------------------------
enum { RUN_BINS = 33, BITMAP_BINS = 7 }; // bitmaps of 8 to 512 bytes

struct extent {
	struct extent *next;
	uintptr_t start, open_end, end; // accessible up to open_end
	uint32_t region;
};

enum run_state { RUN_DIRTY, RUN_CLEAN, RUN_STATES };

struct pool {
	struct inside_lock lock;
	uint32_t zone;
	struct extent *extents;              // the first one grows
	uint32_t runs[RUN_STATES][RUN_BINS]; // by slices; the last bin holds all longer ones
	uint64_t present[RUN_STATES];        // which bins are not empty
	uint64_t mapped_bytes, open_bytes, dirty_slices, clean_slices;
	uint64_t holes, tails; // pages; see "what is in memory" in extent.c
	uint64_t most_pages;
	uint64_t purged_ns;
	uint32_t
		late; // spans that are free, of threads that could not get the lock; linked by next
	void *bitmaps[BITMAP_BINS]; // free ones, linked through their first word
	char *bitmap_at, *bitmap_end;
	void *chunks; // all memory for bitmaps, linked through the first word
};

struct run {
	uint32_t slice; // 0: none
	bool zeroed;
	bool grows;         // with it the zone has more in memory than ever
	uint8_t last_pages; // of its last slice that are in memory
};

// Slices for a span or slab, from runs of the wanted state first. The caller holds the lock of the pool,
// and sets the words of the slices, which still say free, before he lets go.
struct run malloc_run_take(struct pool *pool, uint32_t slices, uint32_t alignment_slices,
                           enum run_state first);
void malloc_run_give_locked(struct pool *pool, uint32_t slice, uint32_t slices, bool zeroed);
// Of a run that became a span, once it is described, with the lock.
void malloc_span_taken(struct pool *pool, struct run run);
// Anybody, without the lock: the span goes back when somebody takes a run. False when it waits already.
bool malloc_span_give_late(struct pool *pool, uint32_t slice);
uint64_t *malloc_bitmap_take(struct pool *pool, uint32_t words);
void malloc_bitmap_give(struct pool *pool, uint64_t *bitmap, uint32_t words);

// Gives dirty runs older than age back to the system; returns the bytes.
static inline size_t malloc_pool_open_bytes(const struct pool *pool)
{
	return __atomic_load_n(&pool->open_bytes, __ATOMIC_RELAXED);
}

// Whether a run of so many slices would be of memory that was never used, or was given back; a guess
// without the lock.
static inline bool malloc_pool_grows(const struct pool *pool, uint32_t slices)
{
	unsigned bin = slices < RUN_BINS - 1 ? slices : RUN_BINS - 1;

	return !(__atomic_load_n(&pool->present[RUN_DIRTY], __ATOMIC_RELAXED) >> bin);
}

size_t malloc_pool_purge(struct pool *pool, uint64_t age_ns);
MALLOC_SELDOM void malloc_pool_shrink(struct pool *pool); // unmaps extents of which nothing is used
// Everything goes: O(extents).
MALLOC_SELDOM void malloc_pool_destroy(struct pool *pool);

// --- slab.c ---------------------------------------------------------------------------------------
struct shard {
	struct inside_lock lock; // of the default zone only; see shard_lock
	uint32_t list;           // slabs with free blocks
	uint32_t fresh;          // a slab whose bump has not reached the end
	uint32_t slabs;          // how many there are
	uint32_t slabs_ever;     // how many there ever were
	uint32_t used;     // blocks that came into use while the one released last was the only one
	uint16_t peak;     // the most slabs since there was one or none, up to SPARSE_SLABS + 1
	uint16_t expected; // what peak was the last time
	uint32_t out;      // blocks that are not free in their slabs
};

struct malloc_class {
	uint32_t bytes;
	uint16_t blocks;
	uint8_t slices, words;
};
extern const struct malloc_class malloc_classes[CLASS_COUNT];

static inline unsigned class_of(size_t bytes) // at most MALLOC_SMALL_MAX
{
	return bytes <= MALLOC_TINY_MAX ? (unsigned)((bytes + 15) / 16)
	                                : malloc_class_of_small[(bytes + 255) / 256];
}

// offset / bytes of the class; exact for offsets in a slab.
static inline uint32_t class_index(unsigned class, uint32_t offset)
{
	return (uint32_t)((unsigned __int128)offset * malloc_divisor[class] >> 64);
}

struct core_zone;
struct cache;

// Whether a refill would need a slab of memory as malloc_pool_grows says it; a guess, too.
bool malloc_slab_grows(const struct cache *cache, struct core_zone *zone, unsigned class);

// Takes up to want free blocks into slots and leaves the transit record of the cache open: the caller
// ends it when they are in its hands. 0 when there is no memory. The highest address comes first, but
// in those that are to share no line of the processor's cache with blocks of others (apart).
uint32_t malloc_slab_refill(struct cache *cache, struct core_zone *zone, unsigned class,
                            uint64_t *slots, uint32_t want, bool apart);
// Gives blocks back to their slabs, of any zones or of one class. The entries are published by the caller.
// In the child of a fork: a thread that moved the entries of a bin at that instant has some twice, and
// that is nobody's mistake.
extern bool malloc_slab_lenient;
void malloc_slab_release(struct cache *cache, const uint64_t *entries, uint32_t count);
// False, in a signal handler, when it does not get the lock; then nothing happened.
bool malloc_slab_release_class(struct cache *cache, struct core_zone *zone, unsigned class,
                               const uint64_t *entries, uint32_t count);
// Releases empty slabs of a class; returns the bytes that went back to the pool.
size_t malloc_slab_trim(struct core_zone *zone, unsigned class);
bool malloc_slab_block_freed(const struct malloc_slab *slab, uint32_t index);

// --- cache.c --------------------------------------------------------------------------------------
enum { ZONE_CACHES = 32 };

struct bin_state {
	uint16_t events, seen_events; // refills and flushes, counted modulo 65536
	uint16_t seen_count : 13;     // entries at the last look for idle bins
	uint16_t overflowed : 1;      // more recently than it ran empty
	uint16_t turned : 1;          // ran full, then empty, since it last grew
	uint16_t refilled : 1;        // the thread allocated from it
};

struct cache {
	struct malloc_thread thread; // first: what is published
	uint64_t signals;            // blocked before, of a cache that threads share
	uint32_t arena;              // see malloc_arena_of
	struct malloc_zone_cache *zones[ZONE_CACHES]; // by zone number
	struct bin_state states[CLASS_COUNT];
	size_t capacity_bytes; // what all bins together could hold
	uint32_t events, exit_rounds;
	bool grew;       // the heap has more in memory than ever, since the last look for idle bins
	bool busy;       // on a path that holds locks or an open transit
	uint64_t single; // a block on its way when there is no bin for it
};

// Every path but the shortest runs between these. While it does, the bins of the thread cannot be
// reached by malloc_fast: a signal handler that allocates gets a cache without bins, that of
// interrupters. Threads at their end get one of that kind, too, that of orphans.
struct cache *malloc_cache_enter(void);
void malloc_cache_leave(struct cache *cache);

// For the short paths while every_call is set: between these the calling thread's cache is the caller's,
// and busy for signal handlers. NULL when it is in use, or there is none.
struct cache *malloc_cache_lend(void);
void malloc_cache_take_back(struct cache *cache);

// bin: NULL when the entries are on their way out of one.
static inline void malloc_transit_start(struct malloc_transit *transit,
                                        const struct malloc_bin *bin, unsigned class,
                                        const uint64_t *entries, uint32_t count)
{
	transit->bin = (uintptr_t)bin;
	transit->count = count;
	transit->done = transit->group = 0;
	transit->class = class;
	in_this_order();
	transit->entries = (uintptr_t)entries;
	in_this_order();
}

static inline void malloc_transit_end_of(struct malloc_transit *transit)
{
	in_this_order();
	transit->entries = 0;
	in_this_order();
	transit->bin = 0;
}

static inline void malloc_transit_end(struct cache *cache)
{
	malloc_transit_end_of(&cache->thread.transit);
}

// The bin for a class of a zone in a cache; NULL when blocks are to be taken one by one.
struct malloc_bin *malloc_cache_bin(struct cache *cache, struct core_zone *zone, unsigned class);
void *malloc_cache_take(struct cache *cache, struct core_zone *zone, struct malloc_bin *bin,
                        unsigned class);
void malloc_cache_put(struct cache *cache, struct core_zone *zone, struct malloc_bin *bin,
                      unsigned class, uintptr_t block);
void malloc_cache_flush(struct cache *cache); // all bins
MALLOC_AT_START void malloc_cache_start(void);
MALLOC_SELDOM void malloc_cache_forked(void);
void malloc_thread_publish(struct malloc_thread *thread);
// Arrays of bins: of 2^n - 1 entries. NULL when there is no memory. Giving empties the bin.
uint64_t *malloc_bin_array(size_t entries);
void malloc_bin_array_give(struct malloc_bin *bin);
extern struct inside_lock malloc_threads_lock, malloc_orphan_lock, malloc_interrupter_lock;

// --- depot.c --------------------------------------------------------------------------------------
// A full bin of the default zone gets an empty array, with its newest entries when it is to keep some;
// an empty one gets a full array. False when there is none, or no room, or the depot is in use; then
// the bin is as it was.
bool malloc_depot_put(struct cache *cache, struct malloc_bin *bin, unsigned class, uint32_t keep);
bool malloc_depot_take(struct cache *cache, struct malloc_bin *bin, unsigned class);
// Gives back to the slabs what nobody asked for since the last look, or all. Nothing in a signal handler
// that interrupted the core.
void malloc_depot_look(struct cache *cache, bool all);
// For fork: the locks of all depots.
void malloc_depot_each_lock(void (*act)(struct inside_lock *));

// --- large.c --------------------------------------------------------------------------------------
// zeroed: whether the block must be zero, then whether it is.
void *malloc_large_take(struct core_zone *zone, size_t bytes, size_t alignment, bool *zeroed);
void malloc_large_give(struct core_zone *zone, uint32_t slice);
void *malloc_large_resize(struct core_zone *zone, uint32_t slice, size_t bytes);
void malloc_large_destroy(struct core_zone *zone);

// --- keep.c: freed large blocks that are kept for reuse -------------------------------------------
// A kept mapping of at least bytes, in part or whole; or the largest shorter one, to be moved into a
// new mapping so that its pages are used. 0 none. Only for the default zone.
uintptr_t malloc_keep_take(size_t bytes, size_t *ret_bytes);
// Keeps a mapping, or gives it back, and others with it when there are too many.
void malloc_keep_give(uintptr_t start, size_t bytes, size_t most_bytes);
size_t malloc_keep_purge(uint64_t age_ns);
extern struct inside_lock malloc_keep_lock;

// --- zone.c ---------------------------------------------------------------------------------------
struct core_zone {
	malloc_zone_t face; // first: what the program knows
	uint32_t number, generation;
	struct inside_lock lock;       // of all shards of a zone that is not the default one
	uint32_t uncached;             // blocks taken one by one
	struct inside_lock large_lock; // of the next two; its holder is not interrupted
	uint32_t large;                // first of the list of large blocks
	uint64_t large_bytes;
	uint64_t span_bytes; // live; under the lock of the pool
	uint64_t slab_bytes; // live in slabs and in caches, when it was last looked at
	uint64_t peak_bytes; // of all three
	struct pool pool;
	struct shard shards[CLASS_COUNT];
};
extern struct core_zone malloc_zone_default;
extern struct inside_lock malloc_zones_lock;
extern struct core_zone **malloc_core_zones; // by number; NULL unused

MALLOC_AT_START void malloc_zone_start(void);

static inline struct core_zone *malloc_zone_of_word(uint32_t word)
{
	return malloc_core_zones[word >> 16];
}

// Threads are dealt out to arenas, of which each has its own slabs of a class in the default zone. Other
// zones have one. How many there are so far grows under the lock of the threads.
extern struct shard malloc_arena_shards[ARENAS_MAX - 1][CLASS_COUNT];
extern uint32_t malloc_arenas;

static inline uint32_t zone_arenas(const struct core_zone *zone)
{
	return zone->number ? 1 : __atomic_load_n(&malloc_arenas, __ATOMIC_RELAXED);
}

static inline struct shard *zone_shard(struct core_zone *zone, unsigned class, unsigned arena)
{
	if (zone->number || !arena)
		return &zone->shards[class];
	return &malloc_arena_shards[arena - 1][class];
}

// The arena from which a thread takes blocks of a class.
unsigned malloc_arena_of(const struct cache *cache, struct core_zone *zone, unsigned class);

static inline unsigned slab_arena(const struct malloc_slab *slab)
{
	return slab->flags >> MALLOC_ARENA_SHIFT;
}

// Of a block of a slab that somebody has, be it a bin; some arena for what only seems to be one.
static inline unsigned malloc_arena_from(uintptr_t block)
{
	uint32_t slice = address_slice(block), word = slice_word(slice);

	if (unlikely(!word_is_slab(word)))
		return 0;
	return slab_arena(slice_slab(slice - (word >> 8 & 0xf))) % ARENAS_MAX;
}

static inline struct inside_lock *shard_lock(struct core_zone *zone, struct shard *shard)
{
	return zone->number ? &zone->lock : &shard->lock;
}

MALLOC_SELDOM void malloc_zone_destroy(struct core_zone *zone);

// How much is live now may be more than ever: called where the heap grows.
void malloc_zone_peak(struct core_zone *zone, bool slab_made);

// --- core.c ---------------------------------------------------------------------------------------
enum place_kind { PLACE_NONE, PLACE_SLAB, PLACE_BIG, PLACE_INSIDE };

struct place {
	enum place_kind kind;
	struct core_zone *zone;
	struct malloc_slab *slab;
	uint32_t slice, index; // first slice; of the block in its slab
	unsigned class;
};

// PLACE_INSIDE: the address is in memory of a zone, but no block starts there.
struct place malloc_place_of(const void *address);
size_t malloc_place_live_bytes(const struct place *place); // 0 for one that lies free in its slab

void *malloc_zone_allocate(struct core_zone *zone, size_t bytes);
void *malloc_zone_allocate_zeroed(struct core_zone *zone, size_t count, size_t each);
void *malloc_zone_allocate_aligned(struct core_zone *zone, size_t alignment, size_t bytes,
                                   bool *ret_zeroed);
void malloc_zone_free_block(struct core_zone *zone_or_null, void *block);
void *malloc_zone_resize(struct core_zone *zone_or_null, void *block, size_t bytes);

// --- face.c ---------------------------------------------------------------------------------------
void malloc_zone_face(malloc_zone_t *ret); // the function table of a core zone

// --- walk_memory.c --------------------------------------------------------------------------------
// Bytes that were read from a process, one reading behind the other; all zero when empty. Of one thread.
struct malloc_buffer {
	void *memory;
	size_t bytes, used;
};

// Appends what is at an address of the task. KERN_RESOURCE_SHORTAGE when there is no memory.
kern_return_t malloc_buffer_read(const struct malloc_task *task, struct malloc_buffer *buffer,
                                 uint64_t address, size_t bytes);
void malloc_buffer_release(struct malloc_buffer *buffer);

// Sorts count records of size bytes, at most those of a struct malloc_region, by their first word.
void malloc_records_sort(void *records, size_t size, size_t count);

// --- start.c --------------------------------------------------------------------------------------
MALLOC_AT_START void malloc_start_once(void);

// --- thin.c ---------------------------------------------------------------------------------------
// Gives back the pages of slabs and spans that no block of the program or of a cache lies on; returns
// the bytes that were in memory.
size_t malloc_zone_thin(struct core_zone *zone);

// --- stacks.c -------------------------------------------------------------------------------------
static inline bool stacks_kept(void)
{
	return malloc_settings.features & MALLOC_FEATURE_STACKS;
}

static inline bool notes_kept(void)
{
	return malloc_settings.features & MALLOC_FEATURE_NOTES;
}
