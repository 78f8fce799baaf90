// SPDX-License-Identifier: MIT
// The memory that a recorded program shares with the collector of its log: written by src/record,
// drained by src/collect. In lite mode nobody drains it and the tools read it in the memory of the
// program. One mapping of a memfd (MAP_SHARED, MAP_NORESERVE) named RECORD_NAME, sparse: only what is
// touched costs memory. The memfd allows seals and has F_SEAL_SHRINK, so that nobody who maps it can be
// hurt by its end.
//
//   [0, header_bytes)            struct record_header
//   [nodes_offset, ...)          struct record_node[node_capacity], node 0 is no stack at all
//   [modules_offset, ...)        struct record_module[module_capacity]
//   [texts_offset, ...)          text_capacity bytes, for marks
//   [rings_offset, ...)          ring_capacity rings, ring_stride bytes each
//   [live_offset, ...)           lite mode over a foreign malloc: struct record_live, live_capacity bytes
//
// Numbers that several threads raise (node_count, module_count, mark_count, ring_count) are raised
// atomically; an entry is complete when its last field (named with it below) is not 0.
//
// Order of events. Each ring has one writer, the thread that owns it. A free is stamped before the block
// is given to malloc, an allocation after malloc gave it, so that of two events at one address the
// earlier stamp is the earlier event, in whatever thread. A thread sets ring.busy before it takes a
// stamp and clears it after it raised ring.written: a collector that sees busy 0 knows that all stamps
// up to a moment ago (1 ms for the processor's store buffer is ample) are in the ring; while busy is
// set, nothing newer than ring.stamp may be ordered.
#pragma once

#include <stdint.h>

#define RECORD_MAGIC   "HWrecord" // 8 bytes, no NUL
#define RECORD_VERSION 1
#define RECORD_NAME    "heapwright-record" // of the memfd, as /proc/PID/maps shows it

enum {
	RECORD_TEXT_BYTES = 256,
	RECORD_PATH_BYTES = 4096,
	RECORD_BUILD_ID_BYTES = 32,
	RECORD_MARKS = 1024,
	RECORD_OWN_RANGES = 4096,
};

enum record_mode {
	RECORD_FULL = 1, // every event
	RECORD_LITE = 2, // live blocks only, nothing is written
	RECORD_SAMPLED =
		3, // a sample of the allocations by bytes, and the frees of the sampled ones
};

enum record_what {
	RECORD_WHAT_MALLOC = 1,
	RECORD_WHAT_VM = 2,            // mmap, munmap, mremap, brk by the program
	RECORD_WHAT_SHARED_MEMORY = 4, // calls of the shared memory interfaces with their arguments
};

// Kinds of events. New ones are added at their place, none is ever changed.
enum record_kind {
	RECORD_NONE = 0,
	// address, bytes as asked for, node
	RECORD_MALLOC = 1,
	RECORD_CALLOC = 2,  // bytes is the product
	RECORD_ALIGNED = 3, // extra: log2 of the alignment
	RECORD_REALLOC = 4, // the new block; the RECORD_REALLOC_FREE right before is the old one
	// address, node; bytes: the first word of the block, which may tell its type
	RECORD_FREE = 8,
	RECORD_REALLOC_FREE = 9, // also of a realloc that did not move
	// address, bytes, node; extra: RECORD_VM_* and the protection
	RECORD_MAP = 16,
	RECORD_UNMAP = 17,
	RECORD_REMAP_FREE = 18, // the old range, the new one follows as RECORD_MAP
	// shared memory: address or descriptor or id in address, bytes, extra: flags, node; the result of a
	// call that failed is in extra with RECORD_FAILED, its errno below that. Names follow as RECORD_TEXT.
	RECORD_SHM_OPEN = 32,
	RECORD_SHM_UNLINK = 33,
	RECORD_SHMGET = 34,
	RECORD_SHMAT = 35,
	RECORD_SHMDT = 36,
	RECORD_SHM_REMOVE = 37, // shmctl(IPC_RMID)
	RECORD_SHM_MAP = 38,    // mmap(MAP_SHARED)
	RECORD_MEMFD_CREATE = 39,
	// the recording itself
	RECORD_THREAD = 48, // first event of a thread in a ring; address: its id as it sees itself
	RECORD_THREAD_END = 49, // of the thread; the ring may get a new owner
	RECORD_FORK = 50,       // address: id of the child, node
	RECORD_EXEC = 51,       // node; address: 0: about to happen, 1: it failed
	RECORD_GAP = 52, // bytes: events of this thread that were lost before this one; extra: why
	RECORD_MARK =
		53, // node; its name: address is the offset among the texts, or 0 and it follows
		    // as RECORD_TEXT
	RECORD_STOP = 54,    // recording ends (detach, exit of the program)
	RECORD_MODULES = 55, // the module table changed
	// reserved: reference counts, large copies
	RECORD_RETAIN = 64,
	RECORD_RELEASE = 65,
	RECORD_AUTORELEASE = 66,
	RECORD_MEMCPY = 72,
	RECORD_MEMMOVE = 73,
	RECORD_MEMSET = 74,
	// 24 more bytes of text (address, bytes, node, extra) that belong to the event before; ends at a NUL
	RECORD_TEXT = 127,
};

enum {
	RECORD_VM_SHARED = 1 << 8, // below it: PROT_*
	RECORD_VM_FILE = 1 << 9,   // else anonymous
	RECORD_VM_BREAK = 1 << 10, // moved by brk
	RECORD_VM_STACK = 1 << 11,
	RECORD_FAILED = 1 << 31,
};

// Why events were lost, in extra of a RECORD_GAP.
enum record_gap {
	RECORD_GAP_FULL = 1,   // the collector made no room in time
	RECORD_GAP_SIGNAL = 2, // too many in signal handlers that interrupted the recorder
};

// One event. stamp: clock ticks since header.clock_start, shifted left by 8, plus the kind.
struct record_event {
	uint64_t stamp;
	uint64_t address;
	uint64_t bytes;
	uint32_t node;
	uint32_t extra;
};

static inline uint64_t record_stamp(uint64_t ticks, uint32_t kind)
{
	return ticks << 8 | kind;
}

// A place in the program that was called from the places above it. Ids are indexes; a parent's id is
// below its children's. Complete when code is not 0.
struct record_node {
	uint64_t code;   // the return address in bits 0-47 (the program counter itself with
			 // RECORD_NODE_EXACT); RECORD_NODE_* above
	uint32_t parent; // 0: the outermost known frame
	uint32_t children, siblings[2]; // the recorder's own
};

#define RECORD_NODE_ADDRESS   ((UINT64_C(1) << 48) - 1)
#define RECORD_NODE_TRUNCATED (UINT64_C(1) << 48) // frames above this one are missing
#define RECORD_NODE_EXACT     (UINT64_C(1) << 49) // was interrupted here by a signal, not a call

// A mapped ELF file. Complete when loaded is not 0.
struct record_module {
	uint64_t start, end; // first and last mapped address
	uint64_t bias;       // run-time address minus ELF address
	uint64_t unloaded;   // ticks, 0: still there
	uint8_t build_id[RECORD_BUILD_ID_BYTES];
	uint32_t build_id_bytes;
	uint32_t flags;
	uint64_t device, inode;
	char path[RECORD_TEXT_BYTES]; // NUL at the end; cut at the front ("...") when too long
	uint64_t loaded;              // ticks, at least 1
};

// A mark made by a tool from outside; the program's own are events. Mark n lies at n % RECORD_MARKS.
// Complete when ticks is not 0; the collector clears it when the mark is in the log.
struct record_mark {
	uint64_t ticks; // at least 1
	char name[56];
};

// Lite mode over a foreign malloc: the stacks of the blocks that live, by their addresses. Memory is cut
// into pages of 2 KiB (not the system's). A page in which blocks start has a table of 2, 8, 32, 64
// or 256 cells; a block's place in its page, in words of 8 bytes, says where in the table its cell wants
// to lie, and it lies there or in one of the next cells, around the end. So a program that uses neighbours
// together uses their cells together, and a table grows for itself alone.
//
// The pages of one GiB of addresses are a leaf. page: its table's first cell / 2, shifted left by
// RECORD_LIVE_TABLE_BITS, plus log2 of its cells; 0: no block was ever there.
enum {
	RECORD_LIVE_PAGE_SHIFT = 11,
	RECORD_LIVE_LEAF_SHIFT = 30,
	RECORD_LIVE_PAGES = 1 << (RECORD_LIVE_LEAF_SHIFT - RECORD_LIVE_PAGE_SHIFT), // of a leaf
	RECORD_LIVE_TABLE_BITS = 4,
	RECORD_LIVE_CELLS_BITS = 8, // at most
	RECORD_LIVE_LEAVES = 256,
	RECORD_LIVE_NODES = 1 << 24,  // that fit into a cell
	RECORD_LIVE_GROUP_SHIFT = 10, // pages behind one bit of leaf.used
};

struct record_live_leaf {
	uint64_t used[RECORD_LIVE_PAGES >> RECORD_LIVE_GROUP_SHIFT >>
	              6]; // others are not to be read
	uint64_t number;  // addresses >> RECORD_LIVE_LEAF_SHIFT
};

// At live_offset. Leaves and cells are uint32_t; their offsets count from there.
struct record_live {
	uint64_t leaves_offset, cells_offset;
	uint64_t cell_capacity, cell_count; // used; of the others none may be read
	uint32_t leaf_capacity, leaf_count; // complete leaves
	struct record_live_leaf leaves[RECORD_LIVE_LEAVES];
};

static inline uint32_t record_live_place(uint64_t address)
{
	return address >> 3 & 255;
}

static inline uint32_t record_live_home(uint32_t place, unsigned bits)
{
	return place >> (RECORD_LIVE_CELLS_BITS - bits);
}

// A cell: the node, and the place. 0: no block.
static inline uint32_t record_live_cell(uint32_t node, uint32_t place)
{
	return node ? node << 8 | place : 0;
}

// The cell of a block in a table of 1 << bits cells; that number when it has none.
static inline uint32_t record_live_find(const uint32_t *cells, unsigned bits, uint32_t place)
{
	uint32_t count = UINT32_C(1) << bits, home = record_live_home(place, bits);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = (home + i) & (count - 1);

		if (cells[at] && (cells[at] & 255) == place)
			return at;
	}
	return count;
}

// Memory of the recorder outside of this mapping. It holds words of the program, but is none of it.
struct record_range {
	uint64_t start, end;
};

enum record_ring_state {
	RECORD_RING_UNUSED = 0,
	RECORD_RING_OWNED = 1,
	RECORD_RING_LEFT = 2, // its thread ended; a new owner may come when all is read
};

// A ring of events of one thread; the events follow at ring_header_bytes.
struct record_ring {
	uint32_t state; // enum record_ring_state
	int32_t thread; // id of its owner as it sees itself
	uint32_t busy;  // the owner is about to write
	uint32_t reserved;
	uint64_t stamp;   // ticks of the last event that was written
	uint64_t written; // events ever; event n lies at n % ring_events
	uint64_t lost;    // events that found no room, ever
	uint64_t reserved2[3];
	// The collector's, on a line of its own.
	uint64_t read;
	uint32_t waiting; // futex: the owner waits for room
	uint32_t reserved3;
	uint64_t reserved4[6];
};

enum record_collector_state {
	RECORD_COLLECTOR_NONE = 0,
	RECORD_COLLECTOR_RUNS = 1, // it has the memfd open; the program may close its descriptor
	RECORD_COLLECTOR_ENDED = 2,
};

enum record_state {
	RECORD_STARTING = 0,
	RECORD_ON = 1,
	RECORD_OFF = 2, // detached, or ended
};

enum record_clock {
	RECORD_CLOCK_MONOTONIC = 1, // ticks are ns
	RECORD_CLOCK_TSC = 2,
};

struct record_header {
	char magic[8];
	uint32_t version, bytes; // of this struct; the sizes of the others follow
	uint32_t node_bytes, module_bytes, ring_header_bytes, event_bytes;
	uint32_t live_bytes, ring_events; // events per ring, a power of two
	uint32_t mode, what;              // enum record_mode, record_what
	uint32_t clock;                   // enum record_clock
	uint32_t state;                   // enum record_state
	uint64_t total_bytes;
	uint64_t nodes_offset, modules_offset, texts_offset, rings_offset, live_offset;
	uint64_t ring_stride;
	uint32_t node_capacity, module_capacity, text_capacity, ring_capacity;
	uint64_t live_capacity;
	uint32_t node_count, module_count, text_count, ring_count; // used
	uint32_t mark_count;
	uint32_t process_id;   // as it sees itself
	uint64_t clock_start;  // ticks
	uint64_t start_ns;     // CLOCK_MONOTONIC at clock_start
	uint64_t wall_ns;      // CLOCK_REALTIME at clock_start, since the epoch
	uint64_t sample_bytes; // mean distance of samples
	uint64_t wait_ns;      // how long a full ring waits at most
	uint64_t lost;         // events that found no ring at all
	// The collector's.
	uint32_t collector; // enum record_collector_state; a futex
	uint32_t collector_id;
	uint32_t wake; // futex: rings want to be read
	uint32_t collector_sleeps;
	uint32_t flush_asked; // raised by a tool that wants the log to have everything until now
	uint32_t flush_done;  // a futex: flush_asked as it was when the last flush began
	char log_path[RECORD_PATH_BYTES]; // "" in lite mode
	uint32_t own_count;               // more than RECORD_OWN_RANGES: the rest is not listed
	struct record_range own[RECORD_OWN_RANGES];
	struct record_mark marks[RECORD_MARKS];
};
