// SPDX-License-Identifier: MIT
// guard: Guard Malloc. A zone that gives each block its own pages, with pages that fault before and
// behind them, so that the program stops at the very instruction that leaves a block or uses one
// that was freed. It runs inside the program: no libc malloc, no stdio, no libc locks.
//
//   start.c     settings, the zone's functions, the banner, checks at exit and on demand
//   arena.c     address space: extents, chunks of guarded pages, runs, the quarantine of freed runs
//   pages.c     opening and forbidding pages: guard regions of the kernel, or mprotect
//   record.c    one record per run, found by page number (layout/guard.h)
//   block.c     where a block lies in its run, canaries, allocate, free, resize
//   canary.c    the pattern around a block
//   zone.c      the functions of a guarded zone; the zones that the program makes
//   introspect.c  what malloc_zone_* and readers ask of a zone
//   fault.c     SIGSEGV and SIGBUS: which block was left
//   report.c    what is said: bad pointers, damage, faults
//   sample.c    the sampled mode: 1 in N blocks is guarded, the rest are the core's
//
// Layout of everything a remote reader needs: layout/guard.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "malloc/malloc.h"

// What the variables of libgmalloc.so and the options of `heapwright run --guard` choose. A struct
// that is all zero but for what guard_settings_default sets is the normal mode.
struct guard_settings {
	bool protect_before; // MALLOC_PROTECT_BEFORE: the block at the start of its pages
	bool fill_space;     // MALLOC_FILL_SPACE: new blocks (not calloc's) hold fill_byte
	uint8_t fill_byte;   // 0x55
	bool allow_reads;    // MALLOC_ALLOW_READS: guard pages and freed blocks can be read
	bool strict_size;    // MALLOC_STRICT_SIZE: blocks end exactly at the guard page, unaligned
	bool allow_large_requests; // MALLOC_ALLOW_LARGE_REQUESTS: serve them
	bool check_header;         // MALLOC_CHECK_HEADER: verify the canaries when a block is freed
	bool realloc_in_place;     // realloc moves only when the size asks for it; default: always
	bool quiet;                // no banner
	size_t vector_size;        // MALLOC_VECTOR_SIZE: alignment of blocks, a power of two; 16
	size_t large_request_bytes; // more is a large request, a fault otherwise; 100 MiB
	uint64_t maximum_vm_bytes;  // MALLOC_MAXIMUM_VM: address space to use at most; 0 no limit
	uint64_t quarantine_bytes; // a freed block's pages come back after so much was freed; 4 GiB
	int log; // descriptor of the banner and fault reports; 2 is stderr, -1 none

	// The sampled mode.
	uint32_t sample_every;      // 1 in so many allocations is guarded; 0: all are (normal mode)
	uint32_t sample_slots;      // guarded blocks and kept freed ones at any time; 0: 1024
	size_t sample_budget_bytes; // memory of guarded live blocks at most; 0: 8 MiB
};

// The values that the comments above name; check_header on, everything else off.
void guard_settings_default(struct guard_settings *ret);

// Makes the zone, fills heapwright_malloc.guard, installs the handler of faults where the default
// action is in force, prints the banner. Once per process, before threads; in sampled mode the rest
// goes to malloc_core_default(), so malloc_start was called before. NULL when there is no memory.
// The zone's functions set errno to ENOMEM where malloc would, and free keeps errno.
malloc_zone_t *guard_zone_start(const struct guard_settings *settings);

// Where the program's call returns to: entry may set it right before it calls a function of the
// zone, which clears it; else the zone's own return address counts, when it is outside of the
// library.
extern __thread void *guard_caller MALLOC_HIDDEN_TLS;

// What new zones become under Guard Malloc: their blocks are guarded as well. guard_zone_start puts
// it into malloc_zone_wrap, but in the sampled mode.
malloc_zone_t *guard_zone_wrap(malloc_zone_t *core);

// Whether a live block of 0 bytes starts at p; the zone's size function says 1 of it, for 0 would
// mean that it is another's.
bool guard_block_empty(const void *p);

// Verifies the tables of Guard Malloc and of the core and every canary, and writes a message about each
// damage; true when all is whole (also in a signal handler that interrupted a change). Any
// time, any thread.
bool guard_check(void);

// At exit of the program (entry's destructor): the same, once, when check_header is set; damage
// ends the program as malloc_fault says.
void guard_exit(void);

// Around fork, by entry: parent before, parent after, child after. The thread that has prepared may
// call the introspection's force_lock and force_unlock in between, in pairs.
void guard_fork_prepare(void);
void guard_fork_parent(void);
void guard_fork_child(void);
