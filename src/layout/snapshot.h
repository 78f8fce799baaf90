// SPDX-License-Identifier: MIT
// The snapshot file, byte for byte. docs/snapshot-format.md says what each field
// means; this header and that page change together. All numbers are little endian.
#pragma once

#include <stdint.h>

#define SNAPSHOT_MAGIC         "HWSNAP\r\n" // 8 bytes, no NUL; \r\n shows a transfer as text
#define SNAPSHOT_VERSION       1
#define SNAPSHOT_NO_INDEX      UINT32_MAX
#define SNAPSHOT_MOST_SECTIONS 64

enum snapshot_section_id {
	SNAPSHOT_TARGET = 1,
	SNAPSHOT_STRINGS = 2,
	SNAPSHOT_FILES = 3,
	SNAPSHOT_SEGMENTS = 4,
	SNAPSHOT_THREADS = 5,
	SNAPSHOT_REGISTERS = 6,
	SNAPSHOT_KERNEL_ROOTS = 7,
	SNAPSHOT_AUXV = 8,
	SNAPSHOT_WARNINGS = 9,
	SNAPSHOT_CONTENTS = 10,
	SNAPSHOT_MODULES = 11,
	SNAPSHOT_FRAMES = 12,
	SNAPSHOT_HEAPS = 20,
	SNAPSHOT_ZONES = 21,
	SNAPSHOT_BLOCKS = 22,
	SNAPSHOT_RANGES = 23,
	SNAPSHOT_FAULTS = 24,
	SNAPSHOT_UNKNOWN = 25,
	SNAPSHOT_REQUESTED = 26, // may be missing, as the next
	SNAPSHOT_MESSAGES = 27,  // offsets of strings, oldest message first
	SNAPSHOT_REGIONS = 30,
	SNAPSHOT_REACHED = 40,
	SNAPSHOT_REFERENCES = 41,
	SNAPSHOT_ROOT_REFERENCES = 42,
	SNAPSHOT_TYPES = 50,
	SNAPSHOT_BLOCK_TYPES = 51,
	SNAPSHOT_BLOCK_STACKS = 60, // with the next three: of a program that was recorded
	SNAPSHOT_MAPPING_STACKS = 61,
	SNAPSHOT_NODES = 62,
	SNAPSHOT_PLACES = 63,
	SNAPSHOT_LOG = 64, // may be missing: the log of the recording as it is (docs/log-format.md)
};

enum snapshot_content {
	SNAPSHOT_CONTENT_NONE = 0,
	SNAPSHOT_CONTENT_READ_ONLY = 1,
	SNAPSHOT_CONTENT_FULL = 2,
};

struct snapshot_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t section_count;
	uint64_t sections_offset; // of an array of snapshot_section
};

// A section is one zstd frame with a content checksum.
struct snapshot_section {
	uint32_t id;
	uint32_t reserved;
	uint64_t offset, stored_bytes; // of the frame in the file
	uint64_t bytes;                // when unpacked
};

// Strings are offsets into SNAPSHOT_STRINGS, where each ends with NUL; SNAPSHOT_NO_INDEX is none.
struct snapshot_target {
	int32_t pid, parent_pid;
	uint32_t name, parent_name, path, cpu, how;
	uint32_t word_bytes;
	uint32_t flags;   // SNAPSHOT_TARGET_*
	uint32_t content; // enum snapshot_content
	uint64_t launched_ns, looked_ns, stopped_ns;
	uint64_t footprint_bytes, footprint_peak_bytes;
};

enum {
	SNAPSHOT_TARGET_BIG_ENDIAN = 1,
	SNAPSHOT_TARGET_COMPLETE = 2,
	SNAPSHOT_TARGET_KERNEL_ROOTS = 4, // what the kernel held is known
	SNAPSHOT_TARGET_STOPPED = 8,      // stopped_ns counts
};

struct snapshot_file {
	uint32_t path;
	uint32_t flags; // 1 deleted, 2 anonymous
	uint64_t device, inode;
	uint8_t build_id[32];
	uint32_t build_id_bytes, reserved;
};

struct snapshot_pages {
	uint64_t resident, proportional, shared_clean, shared_dirty, private_clean, private_dirty;
	uint64_t referenced, anonymous, swapped, swapped_proportional, locked, huge;
};

struct snapshot_segment {
	uint64_t start, end, file_offset;
	uint32_t file, name;
	uint8_t protection, max_protection;
	uint8_t flags; // 1 shared, 2 readable, 4 has pages
	uint8_t reserved[5];
	uint32_t page_flags, reserved2; // string
	struct snapshot_pages pages;
};

struct snapshot_thread {
	int32_t tid, own_tid;
	uint32_t name;
	uint8_t state, has_registers, reserved[2];
	uint64_t sp, pc, tp;
	uint64_t registers_offset, vector_offset; // into SNAPSHOT_REGISTERS
	uint32_t register_count, vector_bytes;
};

struct snapshot_kernel_root {
	uint64_t value;
	uint32_t what, reserved;
};

// A piece of memory: one zstd frame in the file. Sorted by address.
struct snapshot_contents {
	uint64_t address, bytes, offset, stored_bytes;
};

struct snapshot_module {
	uint64_t start, end, bias;
	uint32_t file, executable;
};

// A stack frame of a thread: innermost first, threads in order. module counts SNAPSHOT_MODULES.
struct snapshot_frame {
	uint64_t pc, offset; // offset from the function or module
	uint32_t thread, module, function, source, line, reserved;
};

struct snapshot_heaps {
	uint64_t used_count, used_bytes;
	uint32_t in_malloc, how;
};

struct snapshot_zone {
	uint64_t address, capacity_bytes, used_bytes, used_count, free_bytes, free_count;
	uint64_t largest_free_bytes;
	uint32_t name, allocator, damaged, reserved;
};

// size in bits 0-39, zone in 40-55, state in 56-57, flags in 58-63.
struct snapshot_block {
	uint64_t address, packed;
};

struct snapshot_range {
	uint64_t start, end;
	uint32_t kind, zone;
};

struct snapshot_fault {
	uint64_t address, expected, found, block_before;
	uint32_t zone, what, text, reserved;
};

struct snapshot_unknown {
	uint32_t name, evidence;
};

// What the program asked for when it allocated a block. Sorted by address.
struct snapshot_requested {
	uint64_t address, bytes;
};

struct snapshot_region {
	uint64_t start, end;
	uint32_t kind, type, detail;
	int32_t zone, thread;
	uint32_t flags; // 1 whole segment, 2 has pages
	struct snapshot_pages pages;
};

// A reference between blocks, sorted by from, then from_offset.
struct snapshot_reference {
	uint32_t from, to;
	uint64_t from_offset, to_offset;
};

// A reference from a root; what describes the root in words.
struct snapshot_root_reference {
	uint64_t root,
		to_offset; // root is the address of the word, 0 for a register or kernel value
	uint32_t to, what;
};

struct snapshot_type {
	uint32_t name, language, binary, reserved;
};

// The stack that allocated a block or made a mapping. Sorted by address.
struct snapshot_stack {
	uint64_t address, bytes;
	uint32_t node, reserved; // node counts SNAPSHOT_NODES from 1
};

// A place in stacks; parent is the caller's node, below this one's, 0 none.
struct snapshot_node {
	uint64_t address; // where the call returns to
	uint32_t parent;
	uint32_t flags; // SNAPSHOT_NODE_*
};

enum {
	SNAPSHOT_NODE_EXACT = 1,     // a signal came here: address is the instruction itself
	SNAPSHOT_NODE_TRUNCATED = 2, // frames further out are not known
};

// The name of a code address, the last byte of a call. Sorted by address; of one address the function
// that was inlined innermost first, and last the one that they all are in.
struct snapshot_place {
	uint64_t address, offset; // offset from the function or module
	uint32_t function, source, line, reserved;
};

_Static_assert(sizeof(struct snapshot_header) == 24, "snapshot_header");
_Static_assert(sizeof(struct snapshot_section) == 32, "snapshot_section");
_Static_assert(sizeof(struct snapshot_target) == 80, "snapshot_target");
_Static_assert(sizeof(struct snapshot_file) == 64, "snapshot_file");
_Static_assert(sizeof(struct snapshot_pages) == 96, "snapshot_pages");
_Static_assert(sizeof(struct snapshot_segment) == 144, "snapshot_segment");
_Static_assert(sizeof(struct snapshot_thread) == 64, "snapshot_thread");
_Static_assert(sizeof(struct snapshot_kernel_root) == 16, "snapshot_kernel_root");
_Static_assert(sizeof(struct snapshot_contents) == 32, "snapshot_contents");
_Static_assert(sizeof(struct snapshot_module) == 32, "snapshot_module");
_Static_assert(sizeof(struct snapshot_frame) == 40, "snapshot_frame");
_Static_assert(sizeof(struct snapshot_heaps) == 24, "snapshot_heaps");
_Static_assert(sizeof(struct snapshot_zone) == 72, "snapshot_zone");
_Static_assert(sizeof(struct snapshot_block) == 16, "snapshot_block");
_Static_assert(sizeof(struct snapshot_range) == 24, "snapshot_range");
_Static_assert(sizeof(struct snapshot_fault) == 48, "snapshot_fault");
_Static_assert(sizeof(struct snapshot_requested) == 16, "snapshot_requested");
_Static_assert(sizeof(struct snapshot_region) == 136, "snapshot_region");
_Static_assert(sizeof(struct snapshot_reference) == 24, "snapshot_reference");
_Static_assert(sizeof(struct snapshot_root_reference) == 24, "snapshot_root_reference");
_Static_assert(sizeof(struct snapshot_type) == 16, "snapshot_type");
_Static_assert(sizeof(struct snapshot_stack) == 24, "snapshot_stack");
_Static_assert(sizeof(struct snapshot_node) == 16, "snapshot_node");
_Static_assert(sizeof(struct snapshot_place) == 32, "snapshot_place");
