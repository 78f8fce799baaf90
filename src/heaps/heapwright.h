// SPDX-License-Identifier: MIT
// Shared by the files of the reader of our own malloc library. All it knows comes from
// layout/malloc.h and layout/guard.h; nothing of that lies in or between the blocks. Its numbers are
// those of the program and may be rubbish.
//
//   heapwright.c         the reader: order of the steps, messages, what it says with -v
//   heapwright_find.c    the descriptor, and whether its layout is the one known here
//   heapwright_zones.c   zones and regions
//   heapwright_slabs.c   from slice to slice through the regions: blocks
//   heapwright_caches.c  caches of threads, blocks that a stopped thread has in its hands
//   heapwright_notes.c   what debugging features keep about blocks
//   heapwright_stacks.c  the stacks that a recorder keeps for blocks
//   heapwright_guard.c   the blocks of Guard Malloc
//   heapwright_damage.c  what the program overwrote
#pragma once

#include "heaps/heaps_impl.h"
#include "layout/guard.h"
#include "layout/malloc.h"

enum {
	HEAPWRIGHT_HEAPS_MAX = 4, // copies of the library in one program
	HEAPWRIGHT_NO_CLASS = UINT32_MAX,
	HEAPWRIGHT_NO_ZONE = UINT32_MAX,
};

// Blocks of one size, or one block of whole pages.
struct heapwright_slab {
	uint64_t start, step; // of the first block; from block to block
	uint64_t notes;       // address of the first note, 0 none
	uint64_t stacks;      // address of the first block's node, 0 none
	uint32_t stack;       // of whole pages: the node
	uint64_t requested;   // of whole pages, 0 unknown
	size_t first;         // its first block in build.blocks
	uint32_t count;       // blocks that were ever handed out: those in build.blocks
	uint32_t total;       // blocks it has room for
	uint32_t zone;        // the library's number
	uint32_t class;       // HEAPWRIGHT_NO_CLASS: whole pages
};

// Where a thread of the program stands.
struct heapwright_owner {
	int thread_id; // as the program sees it
	bool inside;   // in the library's code
};

struct heapwright {
	struct heap_build *build;
	struct target *target;
	uint64_t address; // of the descriptor
	const char *found_by;
	struct malloc_descriptor descriptor;
	uint32_t *zone_of;   // by the library's number: index in build.zones or HEAPWRIGHT_NO_ZONE
	uint32_t main_zone;  // where contradictions go that no zone owns
	uint64_t *root;      // addresses of leaves
	uint64_t leaf;       // number of the leaf that words are of, ~0 none
	uint32_t *words;     // of one leaf
	uint64_t next_slice; // slices before it were walked
	bool inside;         // one stands in the library's code
	uint64_t block_room; // how many more blocks may be listed
	uint64_t entry_room; // how many more entries of caches may be read
	uint64_t node_room;  // how many more threads and caches of zones
	VEC(struct malloc_region) regions;   // sorted, never overlapping
	VEC(struct heapwright_slab) slabs;   // sorted by start
	VEC(struct heapwright_owner) owners; // sorted by thread_id
	struct guard_descriptor guard;       // all zero without Guard Malloc
	uint64_t *guard_tables;
	uint32_t *guard_zones; // by its number: index in build.zones
	uint32_t guard_zone_count;
	VEC(struct guard_extent) extents; // sorted
	size_t guarded_count;
	struct window slab_window, bit_window, entry_window, block_window;
	size_t cache_count, cached_count, transit_count, page_block_count;
};

// --- heapwright_find.c: fills address, found_by and descriptor of up to HEAPWRIGHT_HEAPS_MAX heaps and
// returns how many there are. *ret_idle: a library is there that was never called.
size_t heapwright_find(struct heap_build *build, struct heapwright *heaps, bool *ret_idle);

// --- heapwright_zones.c: zones, regions, claims on memory. Adds zones even when there is nothing else.
void heapwright_zones(struct heapwright *heap);
void heapwright_regions(struct heapwright *heap);

// The zone of a slice or region; one that is not in use is the main zone's.
uint32_t heapwright_zone(const struct heapwright *heap, uint32_t number);

// --- heapwright_slabs.c
void heapwright_slabs(struct heapwright *heap);

// The slab whose memory holds address, or NULL.
const struct heapwright_slab *heapwright_slab_at(const struct heapwright *heap, uint64_t address);

// --- heapwright_caches.c: where the threads stand; after the slabs, caches
void heapwright_owners(struct heapwright *heap);
void heapwright_caches(struct heapwright *heap);

// --- heapwright_notes.c: after the caches
void heapwright_notes(struct heapwright *heap);

// --- heapwright_stacks.c: after the caches
void heapwright_stacks(struct heapwright *heap);

// --- heapwright_guard.c: its zones, extents and claims; last of all its blocks
void heapwright_guard_probe(struct heapwright *heap);
void heapwright_guard_blocks(struct heapwright *heap);

// --- heapwright_damage.c: the block is as the slab tells it
void heapwright_damage(struct heapwright *heap, const struct heapwright_slab *slab,
                       const struct heap_block *block, const struct malloc_note *note,
                       uint64_t requested);

// A contradiction; zone is an index into build.zones.
#define heapwright_fault(heap, zone_, address_, what_, expected_, found_, ...) \
	build_fault((heap)->build,                                             \
	            &(struct heap_fault){ .zone = (zone_),                     \
	                                  .address = (address_),               \
	                                  .what = (what_),                     \
	                                  .expected = (expected_),             \
	                                  .found = (found_) },                 \
	            __VA_ARGS__)
