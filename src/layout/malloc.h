// SPDX-License-Identifier: MIT
// What libheapwright keeps about its heap, as it lies in the memory of the program. The library
// writes it; a reader needs nothing but this header and reads of the program's memory, so that every
// block, its size, its zone and its state can be told from outside while nothing of it lies in or
// between the blocks. All addresses are the program's. 64-bit little endian programs only.
//
// From an address to what it is: address >> 30 is the index of a leaf in the root table, the 14 bits
// below are the index of a slice (64 KiB) in the leaf. leaf.words[i] says what the slice is, and
// leaf.slabs[i] of the first slice of a slab, span or large block describes it.
//
// A block of a slab is free when its bit in slab.freed is set, or its index is at or above
// slab.bump, or a thread's bin or transit record holds it; else the program owns it.
// Order of writes, so that a reader of a stopped program is never wrong about a block of the program:
//   malloc   takes the slot's value, then lowers bin.top: until then the block is the cache's.
//   free     writes the slot, then raises bin.top. Between the two the thread's code address lies in
//            [text_start, text_end) and the slot at bin.top holds the block.
//   refill   writes the slots above bin.top and publishes them in thread.transit, then clears the
//            bits (or raises slab.bump), then raises bin.top, then ends the transit.
//   flush    publishes the lowest entries, where they are, in thread.transit, then raises bin.base
//            over them, then for each group of entries sets the bits and then raises transit.done over
//            the group. Entries at or behind done are free; of the one group that is under way, entries
//            whose bits are clear while no other cache holds them may belong to another thread
//            already: such a reader calls them in transit.
//   growth of a bin, and the move of what a flush left to the start of the array: all its entries stand
//            in thread.transit, and its address in transit.bin, until it is as it should be. As long
//            as transit.entries is set the bin that transit.bin names tells nothing.
//   depot    is records in the list of threads that belong to none: each bin is a full array of blocks of
//            one class, whatever its index, or empty. While an array changes hands with the bin of a
//            thread all entries of both stand in both transit records, which name these two bins.
#pragma once

#include <stdint.h>

#define MALLOC_MAGIC      "HWmalloc" // 8 bytes, no NUL
#define MALLOC_VERSION    3
#define MALLOC_SYMBOL     "heapwright_malloc" // struct malloc_descriptor, exported
#define MALLOC_NOTE_OWNER "Heapwright"        // ELF note for stripped static programs, type 1:
#define MALLOC_NOTE_TYPE  1                   // int64: descriptor minus the address of this field

enum {
	MALLOC_SLICE_BITS = 16,
	MALLOC_SLICE_BYTES = 1 << MALLOC_SLICE_BITS,
	MALLOC_LEAF_BITS = 14, // slices per leaf
	MALLOC_LEAF_SLICES = 1 << MALLOC_LEAF_BITS,
	MALLOC_ROOT_BITS = 17, // leaves: 47 bits of address in all
	MALLOC_ROOT_LEAVES = 1 << MALLOC_ROOT_BITS,
	MALLOC_CLASSES_MAX = 128,
	MALLOC_ZONES_MAX = 1 << 16,
	MALLOC_NAME_BYTES = 48,
};

// The word of a slice: class in bits 0-7, kind in bits 8-15, zone in bits 16-31. So a word of the
// default zone (0) that starts a slab is (MALLOC_SLAB << 8 | class).
enum malloc_slice_kind {
	MALLOC_NONE = 0,    // not ours, or unused
	MALLOC_SLAB = 0x10, // + index of the slice in its slab (0 to 15)
	MALLOC_SPAN = 0x20, // first slice of one block of whole pages
	MALLOC_SPAN_REST = 0x21,
	MALLOC_LARGE = 0x30, // first slice of one block that has its own mapping
	MALLOC_LARGE_REST = 0x31,
	MALLOC_FREE_SPAN = 0x40, // first slice of a free run of slices
	MALLOC_FREE_REST = 0x41,
};

static inline uint32_t malloc_word(uint32_t zone, uint32_t kind, uint32_t class)
{
	return zone << 16 | kind << 8 | class;
}

// What a debugging feature keeps about one block; there is none when all features are off.
struct malloc_note {
	uint32_t requested_bytes; // of small blocks; a span's are in its slab
	uint32_t user_offset;     // the program's pointer minus the start of the block (edges)
	uint32_t freed_stack;     // node of the stack that freed it (layout/record.h), 0 none
	uint32_t flags;           // MALLOC_NOTE_*
};

enum {
	MALLOC_NOTE_LIVE = 1,      // the program owns it
	MALLOC_NOTE_KEPT_BACK = 2, // freed, scribbled and kept from reuse
	MALLOC_NOTE_EDGES = 4,     // has patterns before and behind
	MALLOC_NOTE_FREED = 8,     // the program owned it; the other fields are still those of then
	MALLOC_NOTE_FILLED = 16,   // free, and every byte of it was set to the fill byte
	MALLOC_NOTE_GUARD_BEFORE = 32, // the last page before the program's bytes and edge faults
	MALLOC_NOTE_GUARD_BEHIND = 64, // the first page behind them faults
	MALLOC_NOTE_REPORTED = 128,    // a message said that it is damaged
};

// Edges: words of MALLOC_EDGE_BEFORE fill what lies before the program's bytes and end where they
// start; words of MALLOC_EDGE_BEHIND start where they end. How far: malloc_place_make.
#define MALLOC_EDGE_BEFORE 0xDEADBEEFu
#define MALLOC_EDGE_BEHIND 0xBEEFDEADu

enum {
	MALLOC_EDGE_BYTES = 16,
	MALLOC_EDGE_MAX_BYTES = 64,
	MALLOC_FILL_FREED = 0x55,
	MALLOC_FILL_NEW = 0xAA,
};

// Where everything of a block lies that has a note.
struct malloc_place {
	uint64_t user, user_end;   // the program's bytes as it asked for them
	uint64_t before, behind;   // the edges are [before, user) and [user_end, behind)
	uint64_t guard_before_end; // the page below it and
	uint64_t guard_behind;     // the page above it fault, where the flags say so
};

static inline struct malloc_place malloc_place_make(uint64_t start, uint64_t bytes,
                                                    uint32_t user_offset, uint64_t requested,
                                                    uint32_t flags, uint64_t page_bytes)
{
	uint64_t edge = flags & MALLOC_NOTE_EDGES ? MALLOC_EDGE_BYTES : 0;
	struct malloc_place place = { .user = start + user_offset };
	uint64_t low = start, high = start + bytes;

	place.user_end = place.user + requested;
	place.guard_before_end = (place.user - edge) & ~(page_bytes - 1);
	place.guard_behind = (place.user_end + edge + page_bytes - 1) & ~(page_bytes - 1);
	if (flags & MALLOC_NOTE_GUARD_BEFORE)
		low = place.guard_before_end;
	if (flags & MALLOC_NOTE_GUARD_BEHIND)
		high = place.guard_behind;
	place.before = place.user;
	place.behind = place.user_end;
	if (edge && place.user - low > MALLOC_EDGE_MAX_BYTES)
		place.before -= MALLOC_EDGE_MAX_BYTES;
	else if (edge)
		place.before = low;
	if (edge && high - place.user_end > MALLOC_EDGE_MAX_BYTES)
		place.behind += MALLOC_EDGE_MAX_BYTES;
	else if (edge)
		place.behind = high;
	return place;
}

// How many bytes of a live block [start, start + bytes) with a note the program may use, as
// malloc_usable_size tells it: between edges what it asked for. Never more than there are, whatever the
// note says.
static inline uint64_t malloc_place_usable(const struct malloc_place *place, uint64_t start,
                                           uint64_t bytes, uint32_t flags)
{
	uint64_t offset = place->user - start;

	if (offset > bytes)
		return 0;
	if (flags & MALLOC_NOTE_EDGES && place->user_end - place->user <= bytes - offset)
		return place->user_end - place->user;
	if (flags & MALLOC_NOTE_GUARD_BEHIND && place->guard_behind >= place->user &&
	    place->guard_behind - start <= bytes)
		return place->guard_behind - place->user;
	return bytes - offset;
}

enum malloc_slab_flag {
	MALLOC_SPAN_ZEROED =
		2, // its untouched pages are zero; of a slab: all but those it was given
	MALLOC_SPAN_GUARDED = 4, // has a page before and a page behind it that fault
	MALLOC_SPAN_LATE = 8,    // was freed, and waits for somebody with the lock of its pool
	MALLOC_HOLES_SHIFT = 8,  // of each slice, in use or dirty: its last pages that are not in
	MALLOC_HOLES_MASK = 0x1f << MALLOC_HOLES_SHIFT, // memory, as far as is known
	MALLOC_GIVEN_SHIFT = 16, // of a slab: its first pages that were in memory when it was made
	MALLOC_GIVEN_MASK = 0xff << MALLOC_GIVEN_SHIFT,
	MALLOC_ARENA_SHIFT = 24, // of a slab: the arena it belongs to
};

struct malloc_slab {
	uint64_t freed; // slab: address of the bit words
	uint64_t notes; // address of struct malloc_note[block_count] (spans, large: one); 0 none
	uint64_t bytes; // span, large: bytes of the block; slab: bytes of one block
	union {
		uint64_t requested; // span, large: as asked for, when a feature keeps it; 0 unknown
		uint64_t stacks;    // slab: address of uint32_t[block_count], for each block the
				    // node of the stack that allocated it (0 none); 0 none kept
	};
	uint32_t block_count; // slab
	uint32_t bump;        // slab: blocks from here on were never handed out
	uint32_t slice_count;
	uint32_t flags;          // enum malloc_slab_flag
	uint32_t next, previous; // slice numbers (address >> 16) of neighbours in a list; 0 none
	uint32_t freed_count;    // slab: how many bits are set; large: number of its region
	uint32_t stack;          // span, large: node of the stack that allocated it, 0 none
};

struct malloc_leaf {
	uint32_t words[MALLOC_LEAF_SLICES];
	struct malloc_slab slabs[MALLOC_LEAF_SLICES];
};

// One class of blocks in the cache of a thread: addresses of free blocks in [base, top). The array that
// they are in starts at base but while a flush is under way, and ends at limit.
struct malloc_bin {
	uint64_t *top, *base, *limit, *array;
};

// What a thread has in its hands while it moves blocks between its cache and the slabs.
struct malloc_transit {
	uint64_t entries; // address of the block addresses; 0 none under way
	uint32_t count;
	uint32_t done;  // flush: so many are in the slabs already
	uint32_t group; // flush: so many behind done are being set now
	uint32_t class;
	uint64_t bin; // refill, growth, move: address of the bin whose blocks these are; else 0
};

struct malloc_thread {
	struct malloc_bin bins[MALLOC_CLASSES_MAX]; // of zone 0
	struct malloc_transit transit;
	uint64_t next;        // address of the next thread; caches of ended threads are taken over
	uint64_t zone_caches; // address of the first struct malloc_zone_cache, 0 none
	int32_t thread_id;    // of the kernel; 0 when no thread owns this
	uint32_t depot;       // 1: of no thread; its bins are full arrays, of any class, that wait
};

// The cache of one thread for a zone other than the default one; made once volume asks for it.
struct malloc_zone_cache {
	uint64_t next;
	uint32_t zone, generation; // of another generation: everything in it is void
	struct malloc_bin bins[MALLOC_CLASSES_MAX];
};

struct malloc_zone_record {
	uint64_t address;    // of the malloc_zone_t that the program knows; 0: unused
	uint32_t generation; // raised when the zone is destroyed
	uint32_t flags;
	char name[MALLOC_NAME_BYTES]; // cut to fit, NUL at the end; "" none
};

enum malloc_region_kind {
	MALLOC_REGION_BLOCKS = 1, // slabs and spans
	MALLOC_REGION_LARGE = 2,  // one large block
	MALLOC_REGION_METADATA = 3,
	MALLOC_REGION_GUARD = 4, // pages that fault
};

struct malloc_region {
	uint64_t start, end; // 0, 0: unused
	uint32_t kind;
	uint32_t zone; // the only one that has blocks in it
};

// The last messages, oldest overwritten first; next counts all that ever were.
enum { MALLOC_MESSAGES = 16, MALLOC_MESSAGE_BYTES = 256 };

struct malloc_messages {
	uint64_t next;
	char text[MALLOC_MESSAGES][MALLOC_MESSAGE_BYTES]; // NUL at the end
};

enum malloc_feature {
	MALLOC_FEATURE_NOTES = 1, // notes are kept: requested sizes are known
	MALLOC_FEATURE_EDGES = 2,
	MALLOC_FEATURE_SCRIBBLE = 4,
	MALLOC_FEATURE_GUARD_EDGES = 8,
	MALLOC_FEATURE_GUARD = 16,  // Guard Malloc
	MALLOC_FEATURE_STACKS = 32, // slabs may have stacks
};

struct malloc_descriptor {
	char magic[8];
	uint32_t version, bytes; // of this struct; the sizes of the others follow
	uint32_t leaf_bytes, slab_bytes, thread_bytes, zone_cache_bytes, zone_bytes, region_bytes;
	uint32_t note_bytes, class_count;
	uint32_t features;             // enum malloc_feature
	uint32_t ready;                // 0 until the rest is filled in
	uint64_t text_start, text_end; // the library's code
	uint64_t root;                 // uint64_t[MALLOC_ROOT_LEAVES]: addresses of leaves, 0 none
	uint64_t threads;              // first struct malloc_thread
	uint64_t zones;                // struct malloc_zone_record[zone_count]
	uint64_t regions;              // struct malloc_region[region_count], unordered
	uint64_t messages;             // struct malloc_messages
	uint64_t guard;                // struct of Guard Malloc (layout/guard.h); 0 none
	uint64_t record;               // struct record_header (layout/record.h); 0 none
	uint32_t zone_count, region_count;
	uint32_t class_bytes[MALLOC_CLASSES_MAX];
};
