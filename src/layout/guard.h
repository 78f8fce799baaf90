// SPDX-License-Identifier: MIT
// What Guard Malloc keeps about its blocks, as it lies in the memory of the program: written by
// src/guard, read from outside. heapwright_malloc.guard (layout/malloc.h) is the address of a
// struct guard_descriptor. All addresses are the program's. 64-bit little endian programs only.
//
// Every block has a run of pages of its own, [run_start, run_start + run_pages pages); the page
// behind it is never open. Of a run only open_pages pages are open, from the one where the block
// starts: the last ones of the run, or the first ones with GUARD_BEFORE, or others if the block is
// aligned to more than a page. Everything else faults, and so does all of the run of a freed block.
// What lies in open pages outside of [block, block + bytes) is filled with GUARD_CANARY, which
// nothing may change. A block of 0 bytes has no open page: it lies at the start of the page behind
// its run.
//
// Record n is in the table at tables[n / records_per_table]; those in [0, record_count) may be
// looked at, in no order of address. A block's state is written last when the block is made and
// first when it is freed. A freed block's record stays until its run is used again. In sampled mode
// all other blocks are the core's (layout/malloc.h), and so are those for which the limits of the
// system left no way to guard them.
#pragma once

#include <stdint.h>

#define GUARD_MAGIC   "HWguard" // 8 bytes with the NUL
#define GUARD_VERSION 1
#define GUARD_CANARY  0xdeadbeefdeadbeefULL // at addresses that are a multiple of 8

enum {
	GUARD_TABLE_RECORDS = 1 << 16,
	GUARD_TABLES = 1 << 14,
	GUARD_EXTENTS = 1 << 12,
};

enum guard_state {
	GUARD_UNUSED = 0,
	GUARD_LIVE = 1,     // the program owns it
	GUARD_FREED = 2,    // its pages fault; with GUARD_FLAG_READS they can be read
	GUARD_PREPARED = 3, // may have an open page, but no block yet
	GUARD_CHECKED = 4,  // live, and its canaries are being verified
};

enum guard_record_flag {
	GUARD_BEFORE = 1,      // the block starts at the start of its pages
	GUARD_OWN_MAPPING = 2, // its open pages are a mapping of their own
};

struct guard_record {
	uint64_t run_start; // first page of the run
	uint64_t block;     // what malloc returned
	uint64_t bytes;     // as asked for
	uint32_t run_pages;
	uint32_t open_pages;                   // while live: so many of the run
	uint32_t allocated_by, freed_by;       // thread ids of the kernel, 0 unknown
	uint32_t allocated_stack, freed_stack; // nodes of the recorder, 0 none
	uint64_t allocated_from, freed_from;   // where the calls returned to, 0 unknown
	uint32_t next, freed_at;               // the library's own
	uint8_t state, flags;                  // enum guard_state, enum guard_record_flag
	uint16_t zone;                         // index into the descriptor's zones
	uint32_t reserved;
};

// Address space that holds runs: [start, used) has runs, the rest up to end faults.
struct guard_extent {
	uint64_t start, used, end;
};

enum guard_flag {
	GUARD_FLAG_BEFORE = 1,   // MALLOC_PROTECT_BEFORE
	GUARD_FLAG_READS = 2,    // MALLOC_ALLOW_READS
	GUARD_FLAG_STRICT = 4,   // MALLOC_STRICT_SIZE
	GUARD_FLAG_MPROTECT = 8, // the kernel has no guard regions, pages are mappings of their own
};

struct guard_descriptor {
	char magic[8];
	uint32_t version, bytes; // of this struct
	uint32_t record_bytes, records_per_table, extent_bytes, page_bytes;
	uint32_t flags;        // enum guard_flag
	uint32_t sample_every; // 0: every block is guarded
	uint32_t record_count, extent_count, zone_count, reserved;
	uint64_t live_blocks, live_bytes, peak_bytes; // as asked for
	uint64_t open_bytes;                          // pages of live blocks
	uint64_t tables;                              // uint64_t[GUARD_TABLES], 0 none
	uint64_t extents;                             // struct guard_extent[extent_count]
	uint64_t zones;                               // uint64_t[zone_count]: each a malloc_zone_t
};

_Static_assert(sizeof(struct guard_record) == 80, "records are the same for every reader");
_Static_assert(sizeof(struct guard_descriptor) == 112, "as documented");
