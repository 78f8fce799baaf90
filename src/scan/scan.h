// SPDX-License-Identifier: MIT
// scan: the mark phase over blocks and roots. It needs nothing but memory, so
// that the same source runs in the tool and, as a flat image, inside a clone of
// the target.
//
//   index.c  lays a job out: which block holds an address, sizes, roots (host only)
//   mark.c   the mark phase and the look-up of an address; freestanding
//   blob.c   the image for the clone: mark.c behind an entry per CPU
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout/scan.h"

// What a job is made of; everything is only read and stays the caller's.
struct scan_input {
	const struct scan_block *blocks; // sorted by address, not overlapping
	size_t block_count;              // below UINT32_MAX
	const uint32_t *opaque;          // blocks whose contents must not be looked at; sorted
	size_t opaque_count;
	const uint32_t *kept; // blocks that count as reached from the start; sorted. Give their
	size_t kept_count;    // contents among the ranges.
	const struct scan_range *ranges; // roots
	size_t range_count;
	const uint64_t *values;
	size_t value_count;
	const struct scan_image *images; // sorted, not overlapping; unused with identity
	size_t image_count;
	unsigned word_bytes;      // 4 or 8
	bool identity;            // the code will run where the target's addresses are valid
	bool trace;               // fill owners: who reached each block first, in breadth
	size_t frontier_capacity; // pieces; 0 = chosen by the number of blocks
};

// How the memory of a job is divided.
struct scan_plan {
	size_t bytes; // of memory that scan_fill wants
	size_t granule_count, dense_count, list_count, big_count;
	size_t granule_capacity, frontier_capacity;
	unsigned slot_shift;
};

// Works out how much memory a job takes. False when the blocks are not sorted, overlap, wrap around
// the address space or take more of it than a heap can.
bool scan_measure(const struct scan_input *input, struct scan_plan *ret);

// Lays the job out in plan->bytes of zeroed memory, aligned to 64.
struct scan_job *scan_fill(const struct scan_input *input, const struct scan_plan *plan,
                           void *memory);

// Marks: sets the closed bit of every used block that the roots reach. Nothing but the job and the
// target's memory is touched. Not thread-safe.
void scan_mark(struct scan_job *job);

// The block that holds value (start <= value < start + size; a block of size 0 holds its start), or
// SCAN_NO_BLOCK. Blocks that are not the program's are never given. Thread-safe on a job at rest.
uint32_t scan_find(const struct scan_job *job, uint64_t value, uint64_t *ret_start);

static inline bool scan_closed(const struct scan_job *job, uint32_t block)
{
	const uint64_t *closed = (const uint64_t *)((const char *)job + job->closed_at);

	return closed[block / 64] >> (block % 64) & 1;
}

static inline const struct scan_owner *scan_owners(const struct scan_job *job)
{
	return (const struct scan_owner *)((const char *)job + job->owners_at);
}

// The image: position independent code whose first byte is an entry that takes the address of the
// job as its only argument, marks, and then runs into a breakpoint.
const void *scan_blob(size_t *ret_bytes);
