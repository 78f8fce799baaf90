// SPDX-License-Identifier: MIT
// What the files of the vmmap report share (vmmap*.c).
#pragma once

#include "report/report.h"

enum sharing {
	SHARING_COW, // private, and some pages still belong to a file or a relative
	SHARING_PRIVATE,
	SHARING_EMPTY,   // nothing is there
	SHARING_ALIASED, // one object at several addresses of this process
	SHARING_SHARED,
	SHARING_ZERO,         // private, never touched
	SHARING_SHARED_ALIAS, // aliased, and shared with other processes
};

// A line of the list: one region, or several equal neighbours.
struct vmmap_row {
	uint64_t start, end;
	const struct region *region; // the first one
	const char *type, *detail;   // detail with the zone's full name
	enum sharing sharing;
	struct target_pages pages;
	bool has_pages;
	unsigned region_count;
	const char *attributes;
};

struct vmmap_rows {
	const struct vmmap_row *v;
	size_t n;
};

struct vmmap_view {
	struct look *look;
	const struct vmmap_settings *settings;
	uint64_t page_bytes;
	struct vmmap_rows rows;
};

// --- vmmap_rows.c
// The rows in order of address; equal neighbours are one when coalesce is set.
struct vmmap_rows vmmap_rows_make(const struct look *look, bool coalesce, bool by_attributes);
const char *vmmap_sharing_name(enum sharing sharing);
static inline bool vmmap_writable(const struct vmmap_row *row)
{
	return row->region->segment->protection & TARGET_WRITE;
}
static inline uint64_t vmmap_dirty_bytes(const struct target_pages *pages)
{
	return pages->private_dirty + pages->shared_dirty;
}
void vmmap_pages_add(struct target_pages *sum, const struct target_pages *more);
// Whether the region is a part of a loaded ELF file.
bool vmmap_of_library(const struct region *region);
// Whether it is address space that is only kept, and uses no memory.
bool vmmap_reserved(const struct region *region);

// --- vmmap_lines.c
#define VMMAP_SIZE_BYTES 32
// A size as the options want it: "16K", "9.8M", or pages.
char *vmmap_size(const struct vmmap_view *view, uint64_t bytes, char buffer[VMMAP_SIZE_BYTES]);
void vmmap_emit_heading(struct emitter *e, const struct vmmap_view *view);
// One row, in the form the options ask for; mark is put before it ("< ", "---> ", "").
void vmmap_emit_row(struct emitter *e, const struct vmmap_view *view, const struct vmmap_row *row,
                    const char *key, const char *mark);

// --- vmmap_submaps.c: -submap
// The line before a run of libraries that begins with row index of rows[0 .. n).
void vmmap_emit_submap_line(struct emitter *e, const struct vmmap_view *view,
                            const struct vmmap_row *const *rows, size_t n, size_t index);
void vmmap_emit_submaps(struct emitter *e, const struct vmmap_view *view);

// --- vmmap_libraries.c: -allSplitLibs
void vmmap_emit_unused_libraries(struct emitter *e, const struct vmmap_view *view);

// --- vmmap_tables.c: summary, table of types, table of zones, totals
void vmmap_emit_summary(struct emitter *e, const struct vmmap_view *view);
void vmmap_emit_tables(struct emitter *e, const struct vmmap_view *view);

// --- vmmap_diff.c: -d
struct error *vmmap_diff(const char *target, const struct vmmap_settings *settings);
