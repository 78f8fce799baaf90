// SPDX-License-Identifier: MIT
// Inside the room heaps: what a reader gets (heap_build) and gives (blocks, ranges, zones, faults),
// how it reads the target's memory, and the index behind heaps_find.
//
// A reader appends its blocks in ascending order of address and its ranges in any order, asks
// build_index when it wants to look blocks up again, and changes states and flags in place.
#pragma once

#include "base/arena.h"
#include "base/vec.h"
#include "heaps/heaps.h"

// --- reading the target (window.c) ----------------------------------------------------------------
// Reads forwards: big pieces while the walk is dense, small ones where it leaps.
struct window {
	struct target *target;
	const struct page_source *source;
	uint8_t *buffer;
	const uint8_t *view; // bytes of [start, start + bytes): in buffer or in an image
	uint64_t start;
	size_t bytes, next_bytes;
};

enum { WINDOW_SMALL_BYTES = 8 << 10, WINDOW_BIG_BYTES = 1 << 20 };

void window_init(struct window *window, struct target *target);
void window_deinit(struct window *window);

// At least n (<= 4096) bytes at address, or NULL when they cannot be had. Valid until the next call.
const uint8_t *window_refill(struct window *window, uint64_t address, size_t n);

static inline const uint8_t *window_bytes(struct window *window, uint64_t address, size_t n)
{
	uint64_t offset = address - window->start;

	if (offset < window->bytes && n <= window->bytes - offset)
		return window->view + offset;
	return window_refill(window, address, n);
}

// Random access through a small cache of pages.
struct peek {
	struct target *target;
	const struct page_source *source;
	uint8_t *pages;
	uint64_t *tags;
};

void peek_init(struct peek *peek, struct target *target);
void peek_deinit(struct peek *peek);
bool peek_word(struct peek *peek, uint64_t address, uint64_t *ret);

// A word of the target out of its bytes.
uint64_t target_word_swapped(const uint8_t *bytes, unsigned word_bytes);

static inline uint64_t target_word(const struct target *target, const uint8_t *bytes)
{
	if (target->big_endian)
		return target_word_swapped(bytes, target->word_bytes);
	if (target->word_bytes == 8) {
		uint64_t word;

		__builtin_memcpy(&word, bytes, 8);
		return word;
	}
	uint32_t half;
	__builtin_memcpy(&half, bytes, 4);
	return half;
}

// --- the index behind heaps_find (index.c) -----------------------------------------------------------
enum {
	INDEX_GRANULE_BITS = 10, // one entry per KiB of heap: at most 64 blocks to search
	INDEX_FILTER_BITS =
		26, // one bit per 64 MiB of address space, for values that are no pointers
	INDEX_FILTER_SLOTS = 1 << 21,
	INDEX_SPARSE_GRANULES =
		1024, // from so many for a block on, at 4 bytes each, there are none
};

struct index_extent {
	uint64_t start, end;
	uint32_t first, count; // blocks
	uint64_t granules;     // position of its first entry, ~0 when it needs none
};

struct heap_index {
	VEC(struct index_extent) extents;
	VEC(uint32_t) granules; // for each granule the last block that starts at or before it
	uint8_t *filter;
	const struct page_source *source;
};

// blocks and ranges are sorted; only ranges of kind HEAP_RANGE_BLOCKS hold blocks.
void index_build(struct heap_index *index, const struct page_source *source,
                 const struct heap_block *blocks, size_t block_count,
                 const struct heap_range *ranges, size_t range_count);
void index_deinit(struct heap_index *index);
ssize_t index_find(const struct heap_index *index, const struct heap_block *blocks,
                   uint64_t address);

// Memory that is a reader's own for certain: nobody need search it for his structures.
struct heap_claim {
	uint64_t start, end;
};

// --- what readers build ----------------------------------------------------------------------------
struct heap_build {
	struct target *target;
	struct symbols *symbols; // may be NULL
	const struct page_source *source;
	struct arena *arena; // for texts; dies with the heaps
	VEC(struct heap_block) blocks;
	VEC(struct heap_zone) zones;
	VEC(struct heap_range) ranges;
	VEC(struct heap_claim) claims; // what probes have found: sorted, never overlapping
	VEC(struct heap_fault) faults;
	VEC(struct heap_unknown) unknown;
	VEC(struct heap_requested) requested; // in any order
	VEC(struct heap_stack) stacks;        // in any order
	// The same from a snapshot, number 1 being the first; NULL: none. And what mappings have.
	const struct snapshot_node *nodes;
	size_t node_count;
	VEC(struct heap_mapped) mapped;
	uint64_t recorder; // address of the struct record_header that their nodes are of, 0 none
	VEC(struct heap_damage) damage;
	bool edges_kept;
	VEC(const char *) messages;
	uint64_t message_total;
	struct heap_index index; // after build_index
	bool in_malloc;
	const char *how; // of all readers so far; build_how adds to it
	bool found;      // a reader could read its allocator
};

enum { BUILD_FAULTS_PER_ZONE = 100 }; // a heap that is all rubbish must not give a fault per word

uint32_t build_zone(struct heap_build *build, const char *name, const char *allocator,
                    uint64_t address);
void build_range(struct heap_build *build, uint64_t start, uint64_t end, enum heap_range_kind kind,
                 uint32_t zone);
void build_range_typed(struct heap_build *build, uint64_t start, uint64_t end,
                       enum heap_range_kind kind, uint32_t zone, const char *type);
void build_stack(struct heap_build *build, uint64_t block,
                 uint32_t node);                           // not if it cannot be one
void build_how(struct heap_build *build, const char *how); // lives as long as the arena
void build_unknown(struct heap_build *build, const char *name, const char *evidence);

// Marks the zone damaged. text gets the name of the zone in front.
void build_fault(struct heap_build *build, const struct heap_fault *fault, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

// Sorts the ranges and indexes what is there so far.
void build_index(struct heap_build *build);

static inline ssize_t build_find(const struct heap_build *build, uint64_t address)
{
	return index_find(&build->index, build->blocks.v, address);
}

// The block that starts at address, or -1.
static inline ssize_t build_find_start(const struct heap_build *build, uint64_t address)
{
	ssize_t i = index_find(&build->index, build->blocks.v, address);

	return i >= 0 && build->blocks.v[i].hb_address == address ? i : -1;
}

// The first claim that ends behind address, or NULL.
const struct heap_claim *build_claim_behind(const struct heap_build *build, uint64_t address);

// --- readers ------------------------------------------------------------------------------------------
struct heap_reader {
	const char *allocator;
	// Looks for its allocator; true with a state for read when it is there and can be read. May
	// append zones, ranges and claims.
	bool (*probe)(struct heap_build *build, void **ret_state);
	// After all were probed. Appends all it finds. Errors are for a target that is gone;
	// contradictions are faults.
	struct error *(*read)(struct heap_build *build, void *state);
	bool alone; // when it answers nobody else is asked
};

extern const struct heap_reader heap_reader_recorded; // asked first: a snapshot has no other
extern const struct heap_reader heap_reader_glibc;
extern const struct heap_reader heap_reader_heapwright;

// Lists the allocators that are there but have no reader.
void foreign_detect(struct heap_build *build);

// --- recorder.c: the recorder of the program, NULL none; adds the stacks of live blocks that it keeps.
// recorder_live.c: the stacks of live blocks, from a struct record_live and what lies behind it.
void recorder_read_live(struct heap_build *build, uint64_t address, uint64_t bytes);
struct heap_recorder *recorder_open(struct heap_build *build);
const char *recorder_log(const struct heap_recorder *recorder);
size_t recorder_frames(const struct heap_recorder *recorder, uint32_t node,
                       struct heap_frame *frames, size_t most, bool *ret_truncated);
