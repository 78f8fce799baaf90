// SPDX-License-Identifier: MIT
// record: captures call stacks and appends events to rings and tables in shared memory. It runs
// inside the program: no malloc, no stdio, no libc locks, no TLS but initial-exec, frames below 2 KiB
// (signal handlers on small stacks allocate, too). Functions keep errno and are thread-safe unless
// they say otherwise.
//
//   start.c     settings, the shared mapping, the collector, stop
//   thread.c    the ring of a thread: claimed at its first event, left at its end
//   event.c     one event: stamp, stack, ring; full rings
//   sample.c    sampled mode: which allocations, and which frees are theirs
//   live.c      lite mode over a foreign malloc: the table of live blocks
//   mark.c      marks of the program
//   fork.c      fork, vfork, exec
//   unwind.c    the verified incremental unwinder
//   paths.h     in front of it: ways that it went before
//   rules.c     return address -> how to find the caller's frame, cached
//   cfi.c       call frame information of .eh_frame
//   cfi_step.c  registers of the caller by it
//   modules.c   which ELF files are mapped, published in the module table
//   nodes.c     the table of stacks
//   own.c       memory of the recorder that a search for references must leave out
//
// Layout of what is shared: layout/record.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout/record.h"
#include "layout/record_hooks.h"

struct record_settings {
	enum record_mode mode;
	unsigned what;        // RECORD_WHAT_*
	const char *log_path; // full and sampled: where the collector writes
	const char
		*collector; // path of the collector's program; NULL: somebody attaches by himself
	const char *collector_options; // more of its options, separated by blanks; NULL: none
	uint64_t sample_bytes;         // 0: the default, 512 KiB
	uint64_t wait_ns;              // 0: the default, 100 ms
	uint64_t max_log_bytes;        // 0: no limit; handed to the collector
	uint32_t ring_bytes;           // 0: the default
	uint32_t block_distance; // bytes between the starts of two blocks at least; 0: unknown
	bool follow_fork;        // a child gets a recording of its own (its log: path.PID)
	bool awaits_collector; // without one of its own: somebody starts one soon, or it is not recorded
	bool keep_descriptor; // of the shared mapping, for a collector that comes later
	bool own_nodes_only;  // lite mode inside our malloc: it keeps the node ids with its blocks
};

// Makes the shared mapping, starts the collector if one is named and waits a bounded time until it has
// the mapping. Fills in the hooks. False with a reason in *ret_reason (a static sentence part) when
// that cannot be; then nothing has changed. By one thread; again only after record_stop, when no thread
// is inside the recorder any more.
bool record_start(const struct record_settings *settings, struct record_hooks *ret_hooks,
                  const char **ret_reason);

// The hooks do nothing from now on and the collector is told to finish; the mapping stays. May be
// called by any thread, also by one that was made to by an attached tool.
void record_stop(void);

// The shared mapping, NULL before record_start.
struct record_header *record_shared(void);
// Its descriptor, when that was to be kept; else -1. Who started the recorder has it closed.
int record_descriptor(void);

// For destructors at exit: what is in the rings is the collector's to read. Waits for nothing, but in
// the first process of a pid namespace two seconds at most for the collector, which will end with it.
void record_finish(void);

// A moment with a name, from the program. Any length; cut at RECORD_TEXT_BYTES.
void record_mark(const char *name, const struct record_position *at);

// In the child, first thing after fork: it is not recorded, or has a recording of its own
// (follow_fork). Needs no counterpart before the fork. A vfork child shares our memory and is recorded
// as its parent's thread.
void record_fork_child(void);
// In the parent, behind a fork that worked.
void record_forked(int child, const struct record_position *at);
// About to become another program, and that this failed. Says nothing in a child that was made by vfork.
void record_exec(const struct record_position *at);
void record_exec_failed(const struct record_position *at);

// A number that changes when the calling thread tells of an allocation or a free.
uint64_t record_told(void);

// A library was loaded or unloaded, or may have been.
void record_modules_changed(void);

// --- sample.c: the short way ----------------------------------------------------------------------
// In sampled mode nearly all calls end here, before a hook is called; otherwise record_samples is false.
// What is hidden is reached in one instruction.
enum { RECORD_SAMPLE_FILTER = 1 << 14, RECORD_SAMPLE_GRANULE = 32 };
#define RECORD_HIDDEN __attribute__((visibility("hidden")))

extern RECORD_HIDDEN bool record_samples;
// Bytes up to this thread's next sample, which is the first allocation that is longer than what is left.
// 0 before its first, and always in the other modes; above half of RECORD_SAMPLE_NEVER where nothing was
// recorded when it was set, and in a signal handler that comes between take and give back.
extern RECORD_HIDDEN __thread uint64_t record_sample_distance;
#define RECORD_SAMPLE_NEVER (UINT64_C(1) << 62)
// How many live samples there are, by their addresses. Neighbours lie side by side here, too, so that a
// program that uses little memory has little of it in the processor's cache.
extern RECORD_HIDDEN uint8_t record_sample_filter[RECORD_SAMPLE_FILTER];

static inline uint32_t record_sample_slot(uint64_t address)
{
	return (uint32_t)address / RECORD_SAMPLE_GRANULE % RECORD_SAMPLE_FILTER;
}

// Takes the bytes of an allocation off the distance to the next sample; false when it is due. Then they
// are to be given back before anything else is done with the distance.
static inline bool record_sample_take(uint64_t bytes)
{
	return !__builtin_sub_overflow(record_sample_distance, bytes, &record_sample_distance);
}

static inline void record_sample_give_back(uint64_t bytes)
{
	record_sample_distance += bytes;
}

// The same in one.
static inline bool record_sample_passes(uint64_t bytes)
{
	if (bytes > record_sample_distance)
		return false;
	record_sample_distance -= bytes;
	return true;
}

// Whether an allocation or a free need not be told of.
static inline bool record_skips_allocation(uint64_t bytes)
{
	return record_samples && record_sample_distance < RECORD_SAMPLE_NEVER / 2 &&
	       record_sample_passes(bytes);
}

static inline bool record_skips_free(uint64_t address)
{
	return record_samples && !record_sample_filter[record_sample_slot(address)];
}
