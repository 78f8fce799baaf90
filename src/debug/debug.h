// SPDX-License-Identifier: MIT
// debug: the Malloc* features, as zones that wrap core zones. A wrapped zone answers every call of its
// table itself and passes to the core what is left to do, so that nothing of it costs anything while
// all features are off: then nobody wraps. It runs inside the program, under the rules of malloc.h.
// Functions are thread-safe unless they say otherwise.
//
//   debug.c    settings, making and ending of wrapped zones
//   gate.c     who may change blocks while a walk over all of them is under way
//   zone.c     the table of functions: allocate, free, resize, size, batches
//   block.c    one block: layout around the program's bytes, patterns, its state in the note
//   damage.c   what was overwritten, in words
//   fault.c    what a bad pointer is, in words
//   keep.c     freed blocks that are kept from reuse
//   walk.c     every block while the heap stands still
//   check.c    heap checks at operations, on demand and at exit
//   crash.c    why a signal came, when the program used bytes of a pattern as a pointer
//
// Order at start, by entry, before it answers its first call:
//   malloc_settings.features |= debug_features(&settings), every_call when debug_wanted(&settings)
//   malloc_start(&malloc_settings)
//   debug_start(&settings)
//   malloc_zone_wrap = debug_zone_wrap
//   malloc_registry_start(debug_zone_wrap(malloc_core_default()))
#pragma once

#include "malloc/malloc.h"

enum {
	DEBUG_KEEP_BACK_BYTES = 32 << 20, // default of keep_back_bytes
	DEBUG_CHECK_SLEEP_SECONDS = 100,  // default of check_sleep_seconds
};

struct debug_settings {
	bool scribble;         // 0x55 over a block that is freed; verified before it is used again
	bool pre_scribble;     // 0xAA over new blocks, and over what realloc adds
	bool zero_on_free;     // 0 instead of 0x55; verified likewise
	bool guard_edges;      // pages that fault around blocks of whole pages
	bool guard_edges_all;  // around every block
	bool protect_prelude;  // the page before is one of them; both are true unless the
	bool protect_postlude; // variables MallocDoNotProtect... are set
	bool edges;            // patterns around each block; implies scribble and keeping back
	bool notes;            // nothing but exact messages about bad pointers, and requested sizes
	size_t keep_back_bytes; // of freed blocks, when edges is set

	bool check_heap;                  // implies edges, but nothing is kept back for it
	uint64_t check_start, check_each; // calls of malloc; check_each is at least 1
	int64_t check_sleep_seconds;      // after a failure; negative: only after the first one
	bool check_abort;                 // instead of sleeping
};

// Whether anything is asked for that needs wrapped zones; and enum malloc_feature for the descriptor.
bool debug_wanted(const struct debug_settings *settings);
uint32_t debug_features(const struct debug_settings *settings);

// Called once, after malloc_start and before any zone is wrapped. Also installs the explanation of
// crashes for SIGSEGV, SIGBUS and SIGILL where their action is still the default and a pattern is in
// use; a handler that the program installs later replaces it.
void debug_start(const struct debug_settings *settings);

// A zone around core, which belongs to it from now on: its destroy destroys core. NULL when there is
// no memory.
malloc_zone_t *debug_zone_wrap(malloc_zone_t *core);

// The last heap check and the list of damaged blocks. Runs by itself as a destructor of the library;
// harmless when called before that or twice.
void debug_finish(void);

// Around fork, by entry: prepare before malloc_fork_prepare, the others after theirs.
void debug_fork_prepare(void);
void debug_fork_parent(void);
void debug_fork_child(void);
