// SPDX-License-Identifier: MIT
// heaps: one reader per allocator; each yields every block of a target and
// nothing else. Readers find everything by structure, votes and checks that must
// close; symbols help when there are any.
//
//   heaps.c      asks every reader, sorts and checks what they yield
//   glibc*.c     glibc 2.26 and later
//   heapwright*.c our own malloc library and Guard Malloc
//   foreign.c    tells which other allocator a target uses
//   recorded.c   blocks that a snapshot file lists
//   recorder.c   what a recorder keeps in the target: stacks and, in lite mode, live blocks
//   index.c      which block holds an address
//   window.c     how readers get at the target's memory
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "symbols/symbols.h"
#include "target/target.h"

enum heap_state {
	HEAP_USED,   // the program owns it
	HEAP_FREE,   // in a bin
	HEAP_CACHED, // freed, but kept in a cache (tcache, fastbin) or kept back from reuse
};

enum heap_flag {
	HEAP_MMAPPED = 1, // has a mapping of its own
	HEAP_LOADER = 2,  // never a leak: of libc or ld.so itself (thread caches, TLS vectors)
	HEAP_TRANSIT = 4, // a thread stopped inside malloc has it in its hands; HEAP_LOADER too
};

// One block. 16 bytes, because there may be hundreds of millions. hb_size is what the program may
// use (malloc_usable_size). Sorted by address, never overlapping.
struct heap_block {
	uint64_t hb_address;
	uint64_t hb_size : 40;
	uint64_t hb_zone : 16; // index into heaps.zones
	uint64_t hb_state : 2; // enum heap_state
	uint64_t hb_flags : 6; // enum heap_flag
};

struct heap_zone {
	const char *name;        // "main_arena", "arena_1", "mmapped"; made printable
	const char *allocator;   // "glibc"
	uint64_t address;        // of its control structure; 0 for none
	uint64_t capacity_bytes; // address space it keeps for blocks
	uint64_t used_bytes, used_count;
	uint64_t free_bytes, free_count; // in bins and caches; the bytes are also those of the top
	uint64_t largest_free_bytes;     // in a bin or the top
	bool damaged;
};

enum heap_range_kind {
	HEAP_RANGE_BLOCKS,   // holds blocks and their headers
	HEAP_RANGE_METADATA, // the allocator's own: never a root
	HEAP_RANGE_RESERVED, // address space kept, not usable yet
};

#define HEAP_NO_ZONE UINT32_MAX

// Memory that belongs to an allocator. Sorted by start, never overlapping.
struct heap_range {
	uint64_t start, end;
	enum heap_range_kind kind;
	uint32_t zone; // HEAP_NO_ZONE: of no zone, the recorder's
	const char
		*type; // what vmmap calls it, where the allocator has names; static, NULL: by kind
};

// What the program asked for, where the allocator keeps it. Sorted by address.
struct heap_requested {
	uint64_t address; // of the block
	uint64_t bytes;
};

// The stack that allocated a live block, where a recorder keeps those in the program. Sorted by address.
struct heap_stack {
	uint64_t address; // of the block
	uint32_t node;    // for heaps_frames; below HEAP_NODES_MAX
};

// Nodes come from the target's memory: one from here on is none, and not passed on.
#define HEAP_NODES_MAX (UINT32_C(1) << 31)

// The same of a mapping, where a snapshot has it. Ascending, never overlapping.
struct heap_mapped {
	uint64_t start, end;
	uint32_t node;
};

// One place of such a stack.
struct heap_frame {
	uint64_t code;
	bool is_return; // code is where a call returns to: the call itself is named by code - 1
};

// A contradiction found in a heap. The rest of the heap is still reported.
struct heap_fault {
	uint32_t zone;
	uint64_t address; // where
	const char *what; // "size of the chunk", "list of bin 12", "sum of mapped chunks"
	uint64_t expected, found;
	uint64_t block_before; // the block that ends before it, most often the culprit; 0 none
	const char *text;      // the whole as one sentence
};

// An allocator that is there but cannot be read.
struct heap_unknown {
	const char *name;     // "jemalloc", "Go", or "unknown"
	const char *evidence; // "exports mallctl (libjemalloc.so.2)"
};

// What the program overwrote beside a block or in a freed one, where debugging features of our malloc
// library put patterns there.
enum heap_damage_kind {
	HEAP_DAMAGE_BEHIND, // behind the program's bytes
	HEAP_DAMAGE_BEFORE, // before them
	HEAP_DAMAGE_FREED,  // in the block after it was freed
};

enum { HEAP_DAMAGE_FOUND = 16 };

struct heap_damage {
	uint64_t address, requested; // the program's bytes
	uint64_t at, count; // from the first byte that is not as it was set to the last one
	uint32_t zone;
	enum heap_damage_kind kind;
	uint8_t found[HEAP_DAMAGE_FOUND]; // the first of these bytes as they are now
};

struct heaps {
	struct target *target;
	const struct heap_block *blocks;
	size_t block_count; // all states
	const struct heap_zone *zones;
	size_t zone_count;
	const struct heap_range *ranges;
	size_t range_count;
	const struct heap_fault *faults;
	size_t fault_count;
	const struct heap_unknown *unknown;
	size_t unknown_count;
	const struct heap_requested *requested;
	size_t requested_count;
	const struct heap_stack *stacks;
	size_t stack_count;
	const struct heap_mapped *mapped;
	size_t mapped_count;
	struct heap_recorder *recorder; // what the frames are read from; NULL: nothing is recorded
	const struct heap_damage *damage; // in no order
	size_t damage_count;
	bool edges_kept;             // there are patterns that damage would show in
	const char *const *messages; // that the malloc library kept, oldest first; made printable
	size_t message_count;
	uint64_t message_total;          // that there ever were
	uint64_t used_count, used_bytes; // sums over the zones
	bool in_malloc;  // a thread was stopped inside malloc: look again before trusting faults
	const char *how; // for -v: which offsets were used and where they came from
};

// Reads all heaps of a target. A heap that contradicts itself is not an error (see faults), nor is an
// allocator that cannot be read (see unknown). Lives until heaps_close; the target must live longer.
struct error *heaps_read(struct target *target, struct symbols *symbols, struct heaps **ret);
void heaps_close(struct heaps *heaps);

// Index of the block that holds address (start <= address < start + size; a block of size 0 holds its
// start), or -1. Thread-safe.
ssize_t heaps_find(const struct heaps *heaps, uint64_t address);

// The range that holds address, or NULL.
const struct heap_range *heaps_range_at(const struct heaps *heaps, uint64_t address);

// What was asked for when a block (an index) was allocated; false when nobody kept that.
bool heaps_requested(const struct heaps *heaps, size_t block, uint64_t *ret_bytes);

// The node of the stack that allocated a block (an index); 0 when nobody kept that.
uint32_t heaps_stack(const struct heaps *heaps, size_t block);

// The node of the stack that made the mapping at an address; 0 when the heaps do not know.
uint32_t heaps_mapping_stack(const struct heaps *heaps, uint64_t address);

// Where the recorder's log is, as the program sees it; NULL: there is no recorder or no log.
const char *heaps_recorder_log(const struct heaps *heaps);

// The frames of a node, innermost first, at most `most` of them. *ret_truncated: there were more, or
// the recorder could not see them. 0 when the node makes no sense. Not thread-safe.
size_t heaps_frames(const struct heaps *heaps, uint32_t node, struct heap_frame *frames,
                    size_t most, bool *ret_truncated);
