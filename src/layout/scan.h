// SPDX-License-Identifier: MIT
// The memory of one mark phase: written by the tool, worked on by the same code either in the tool
// or inside a clone of the target. Everything in it is found by its offset from the job's first
// byte, so that it may be mapped at different addresses on both sides.
#pragma once

#include <assert.h>
#include <stdint.h>

// Same bits as struct heap_block.
struct scan_block {
	uint64_t address;
	uint64_t bytes : 40;
	uint64_t zone : 16;
	uint64_t state : 2; // SCAN_USED, else not the program's
	uint64_t flags : 6;
};

enum {
	SCAN_USED = 0,
	SCAN_GRANULE_BITS = 24, // address space is looked up in granules of 16 MiB
};

#define SCAN_NO_BLOCK  UINT32_MAX
#define SCAN_BIG_BYTES UINT32_MAX       // in sizes: look into the table of big blocks
#define SCAN_NOT_USED  (UINT32_MAX - 1) // in sizes: not the program's

// 64 slots of 2^slot_shift bytes of a granule with many blocks.
struct scan_word {
	uint64_t starts; // in which slots a block starts
	uint32_t rank; // blocks before these slots: the index of the first one that starts in them
	uint32_t back; // how many words back the last start before them is; 0 none in the granule
};

// An entry of the hash table of granules. A granule with few blocks has a list of their addresses.
struct scan_granule {
	uint64_t number;         // address >> SCAN_GRANULE_BITS, plus 1; 0 = empty entry
	uint64_t words_at;       // of struct scan_word; 0 = there is a list
	uint64_t list_at;        // of uint64_t
	uint64_t previous_start; // of the last block that starts before the granule
	uint32_t first;          // index of the first block that starts in it (or later)
	uint32_t count;          // blocks that start in it
	uint32_t overflowed;     // a reached block of it was not looked into yet
	uint32_t unused;
};

// A block of almost 4 GiB and more, or one whose contents cannot be read.
struct scan_big {
	uint32_t block;
	uint32_t opaque; // contents are not looked at
	uint64_t bytes;
};

struct scan_range {
	uint64_t start, end;
};

// Bytes of the target that lie at `here` in the memory of whoever marks.
struct scan_image {
	uint64_t start, end;
	uint64_t here;
};

// Bytes still to be looked at.
struct scan_piece {
	uint64_t address;
	uint64_t bytes;
};

// How a block was first reached, in the order of breadth (only with trace).
struct scan_owner {
	uint32_t owner;  // block, or SCAN_NO_BLOCK for a root
	uint32_t offset; // of the word in the owner; the number of the value for a root that is one
	uint64_t where;  // of a root: address of the word, 0 for a value;
			 // of a block: how far inside the reached block the word points
};

struct scan_job {
	uint64_t bytes;     // of the whole, this struct included
	uint64_t low, span; // addresses of blocks: low <= a < low + span
	uint32_t block_count;
	uint32_t word_bytes; // 4 or 8
	uint32_t slot_shift;
	uint32_t granule_shift; // 64 - log2 of the entries of the hash table
	uint32_t identity;      // the target's addresses are ours
	uint32_t trace;         // go in breadth and fill owners
	uint64_t granules_at;   // struct scan_granule
	uint64_t granule_capacity;
	uint64_t sizes_at;               // uint32_t per block, or SCAN_BIG_BYTES, SCAN_NOT_USED
	uint64_t closed_at;              // one bit per block: reached, or never of interest
	uint64_t bigs_at, big_count;     // struct scan_big, sorted by block
	uint64_t ranges_at, range_count; // struct scan_range: the roots
	uint64_t values_at, value_count; // uint64_t: roots that stand nowhere
	uint64_t images_at, image_count; // struct scan_image, sorted; unless identity
	uint64_t frontier_at, frontier_capacity; // struct scan_piece
	uint64_t owners_at;                      // struct scan_owner per block, with trace
	// Results.
	uint64_t reached_count;
	uint64_t seen_bytes;     // looked through
	uint64_t missing_bytes;  // wanted, but in no image
	uint64_t overflow_count; // how often the frontier was full
};

static_assert(sizeof(struct scan_block) == 16, "one block is 16 bytes");
static_assert(sizeof(struct scan_word) == 16, "four words make a cache line");
static_assert(sizeof(struct scan_granule) == 48, "no padding");
static_assert(sizeof(struct scan_big) == 16, "no padding");
static_assert(sizeof(struct scan_owner) == 16, "no padding");
static_assert(sizeof(struct scan_job) % 8 == 0, "no padding at the end");
