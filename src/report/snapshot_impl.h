// SPDX-License-Identifier: MIT
// What the files that write a snapshot share (snapshot.c, snapshot_parts.c).
#pragma once

#include "base/base.h"
#include "layout/snapshot.h"
#include "report/report.h"

// A section that is being put together.
struct section {
	uint32_t id;
	VEC(uint8_t) bytes;
};

struct string_slot {
	uint32_t offset, hash; // offset SNAPSHOT_NO_INDEX = empty
};

struct snapshot {
	struct look *look;
	const struct report_options *options;
	enum snapshot_content content;
	FILE *out;
	uint64_t written; // bytes of the file so far
	struct section strings;
	struct string_slot *slots;
	size_t slot_count, slots_used;
	struct snapshot_section table[SNAPSHOT_MOST_SECTIONS];
	uint32_t section_count;
	const struct target_file **files;
	uint32_t file_count;
	VEC(struct snapshot_contents) contents;
};

// Appends n bytes to a section.
void section_add(struct section *section, const void *bytes, size_t n);

#define section_add_struct(section, value) section_add((section), &(value), sizeof(value))

// The offset of text among the strings; equal texts share one. SNAPSHOT_NO_INDEX for NULL.
uint32_t snapshot_string(struct snapshot *s, const char *text);

// The sections, one function each.
void put_target(struct snapshot *s, struct section *out);
void put_files(struct snapshot *s, struct section *out);
void put_segments(struct snapshot *s, struct section *out);
void put_threads(struct snapshot *s, struct section *out, struct section *registers);
void put_kernel_roots(struct snapshot *s, struct section *out);
void put_auxv(struct snapshot *s, struct section *out);
void put_warnings(struct snapshot *s, struct section *out);
void put_modules(struct snapshot *s, struct section *out);
void put_frames(struct snapshot *s, struct section *out);
void put_heaps(struct snapshot *s, struct section *out);
void put_zones(struct snapshot *s, struct section *out);
void put_blocks(struct snapshot *s, struct section *out);
void put_ranges(struct snapshot *s, struct section *out);
void put_faults(struct snapshot *s, struct section *out);
void put_unknown(struct snapshot *s, struct section *out);
void put_requested(struct snapshot *s, struct section *out);
void put_messages(struct snapshot *s, struct section *out);
// snapshot_stacks.c: of blocks, of mappings, nodes, places. False: the program was not recorded.
bool put_stacks(struct snapshot *s, struct section sections[static 4]);
// The log of the recording; of a program without one ERROR_NOT_FOUND.
struct error *put_log(struct snapshot *s, struct section *out);
void put_regions(struct snapshot *s, struct section *out);
void put_reached(struct snapshot *s, struct section *out);
struct error *put_references(struct snapshot *s, struct section *out, struct section *roots);
void put_types(struct snapshot *s, struct section *out, struct section *of_blocks);
