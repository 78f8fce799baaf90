// SPDX-License-Identifier: MIT
// What the files of this room share. Nobody else includes it.
#pragma once

#include "base/arena.h"
#include "base/vec.h"
#include "regions/regions.h"

// The memory that a thread runs or ran on. Sorted by start, never overlapping.
struct stack {
	uint64_t start, end;  // what may be used: without the guard
	uint64_t guard_start; // equal to start when there is no guard
	uint64_t tls_start;   // [tls_start, end) holds static TLS and control; end when not known
	int thread;           // index into target.threads, -1 when that is not known
	bool dead;            // its thread has ended
};

// Where the control block and static TLS of a thread lie; start == end when that is not known.
struct thread_area {
	uint64_t start, end;
};

enum module_part_kind {
	PART_WRITABLE, // PT_LOAD that may be written
	PART_RELRO,    // made read-only by the loader
	PART_BSS,      // zero-filled pages behind the data
};

// A piece of a loaded ELF file that its program headers tell about.
struct module_part {
	uint64_t start, end;
	enum module_part_kind kind;
	const struct symbols_module *module;
};

struct regions_own {
	struct regions open; // what the world sees; first, so that a cast leads back
	struct arena arena;
	struct symbols *symbols;
	uint64_t page_bytes;
	VEC(struct stack) stacks;
	struct thread_area *areas; // one per thread
	VEC(struct module_part) parts;
	VEC(struct region) list;
	VEC(struct root_range) root_ranges;
	VEC(struct root_value) root_values;
	struct roots roots;
	bool has_roots;
};

static inline struct regions_own *regions_own(const struct regions *regions)
{
	return (struct regions_own *)regions;
}

// recorded.c: fills list from a snapshot that has regions.
struct error *regions_read_recorded(struct regions_own *own, bool *ret_found);

// parts.c: reads the program headers of every module; damaged ones tell nothing.
void regions_find_parts(struct regions_own *own);
// The part of one of the kinds (bit mask of 1 << kind) that holds address, or NULL.
const struct module_part *regions_part_at(const struct regions_own *own, uint64_t address,
                                          unsigned kinds);

// stacks.c: fills stacks and areas.
void regions_find_stacks(struct regions_own *own);
// The first stack (guard included) that overlaps [start, end), or NULL.
const struct stack *regions_stack_in(const struct regions_own *own, uint64_t start, uint64_t end);
bool regions_is_main_thread(const struct target *target, size_t thread);

// nptl.c: what glibc's lists of threads tell. Adds stacks for every thread it knows, dead or alive.
void regions_find_nptl_stacks(struct regions_own *own);

// pages.c: shares the page counts of a segment out to the regions it was split into.
struct error *regions_share_pages(struct regions_own *own, struct region *first, size_t count);
