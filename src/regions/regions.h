// SPDX-License-Identifier: MIT
// regions: names every mapping by what the program uses it for, and says which
// bytes are roots of the leak search.
//
//   regions.c  splits the segments at heaps, thread stacks and guards, and names the parts
//   parts.c    .bss, relocated constants and writable parts of loaded ELF files
//   stacks.c   which memory is the stack of which thread, live or dead
//   nptl.c     what glibc's own lists tell about that
//   pages.c    page counts of the parts of a mapping
//   roots.c    the ranges and values the mark phase starts from
//   describe.c an address in words
//   recorded.c regions that a snapshot file recorded
//
// Not thread-safe.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "heaps/heaps.h"
#include "symbols/symbols.h"
#include "target/target.h"

enum region_kind {
	REGION_MALLOC,      // holds blocks of a zone
	REGION_MALLOC_META, // an allocator's own structures
	REGION_MALLOC_RESERVED,
	REGION_STACK = 4, // snapshot files hold these numbers, and 3 had a meaning once
	REGION_STACK_GUARD,
	REGION_DEAD_STACK, // kept by libc for the next thread
	REGION_TEXT,       // ELF: executable
	REGION_CONST,      // ELF: read-only data
	REGION_DATA,       // ELF: writable, from the file
	REGION_BSS,        // ELF: writable, zero-filled behind the data
	REGION_MAPPED_FILE,
	REGION_SHARED_MEMORY, // POSIX, System V, shared anonymous
	REGION_MEMFD,
	REGION_VDSO,      // vdso, vvar, vsyscall
	REGION_NAMED,     // anonymous memory that the program named (prctl PR_SET_VMA)
	REGION_ANONYMOUS, // private memory that we know nothing about
	REGION_RESERVED,  // no access, nothing in it
	REGION_DEVICE,
};

struct region {
	uint64_t start, end;
	enum region_kind kind;
	const char *type; // as vmmap prints it: "MALLOC", "Stack", "__TEXT", "mapped file", "memfd"
	int zone;         // index into heaps.zones, -1 none
	int thread;       // index into target.threads of its owner, -1 none
	const char *detail; // path, thread, or zone name; made printable; "" when none
	const struct target_segment *segment; // the mapping it is (a part of)
	bool whole_segment;                   // whether it is all of it
	struct target_pages pages; // of this part; the parts of a segment add up to the segment's
	bool has_pages;
};

struct regions {
	struct target *target;
	const struct heaps *heaps;    // may be NULL: nothing was known about the heaps
	const struct region *regions; // sorted by start
	size_t region_count;
	const char *warning; // what could not be found out, for people; NULL for nothing
};

// heaps may be NULL, symbols not. Lives until regions_close; target, heaps and symbols live longer.
struct error *regions_read(struct target *target, const struct heaps *heaps,
                           struct symbols *symbols, struct regions **ret);
void regions_close(struct regions *regions);
const struct region *regions_at(const struct regions *regions, uint64_t address);

// --- roots ---------------------------------------------------------------------------------------
enum root_kind {
	ROOT_DATA,  // writable data of a module
	ROOT_STACK, // live part of a thread's stack
	ROOT_TLS,   // a thread's control block and static TLS
	ROOT_REGISTER,
	ROOT_MAPPING,   // memory that is no heap: unknown, shared or file mappings
	ROOT_READ_ONLY, // anonymous memory that was made read-only
	ROOT_KERNEL,    // held by the kernel for the program (epoll, timers)
	ROOT_LOADER,    // blocks that the dynamic loader keeps for itself
};

// Bytes to scan. Sorted by start, never overlapping, free of heap memory.
struct root_range {
	uint64_t start, end;
	enum root_kind kind;
	uint32_t region; // index into regions
	int32_t thread;  // index into target.threads, -1 none
};

// One word to follow.
struct root_value {
	uint64_t value;
	enum root_kind kind;
	int32_t thread;
	const char *what; // "rbx", "epoll data of descriptor 5"; NULL for a vector register
};

struct roots {
	const struct root_range *ranges;
	size_t range_count;
	const struct root_value *values;
	size_t value_count;
};

// The roots of all threads, modules and mappings. Lives as long as regions. Gathered once.
struct error *regions_roots(struct regions *regions, const struct roots **ret);

// Says in words what a root address is: "sessions in server (.bss)", "stack of thread 812",
// "mapped file /tmp/x + 64". Lives in arena.
const char *regions_describe(const struct regions *regions, struct symbols *symbols,
                             struct arena *arena, uint64_t address);
