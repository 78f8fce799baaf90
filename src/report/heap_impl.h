// SPDX-License-Identifier: MIT
// What the files of the heap report share (heap.c, heap_rows.c, heap_addresses.c,
// heap_damage.c).
#pragma once

#include "report/report.h"

// Blocks counted together: of one type, or of one type and size.
struct heap_row {
	const struct type *type; // NULL: non-object
	uint64_t size;           // 0 unless rows are per size
	const char *label;       // of -guessNonObjects, NULL else
	uint64_t count, bytes;
};

struct heap_rows {
	struct heap_row *v;
	size_t n;
	uint64_t count, bytes;
};

// Which blocks are counted.
struct heap_view {
	struct look *look;
	const struct heap_settings *settings;
	const bool *old; // one flag per block that -diffFrom drops; NULL: all count
	const uint32_t
		*field_owner; // of -guessNonObjects: the object that points at a non-object; NULL
	const uint32_t *field_offset;
	const uint32_t *found; // the blocks of -addresses
	size_t found_count;
};

static inline bool heap_counts(const struct heap_view *view, size_t block)
{
	return view->look->heaps->blocks[block].hb_state == HEAP_USED &&
	       !(view->old && view->old[block]);
}

// Rows of one zone (or of all, zone -1), sorted as the settings say.
struct heap_rows heap_rows_make(const struct heap_view *view, int zone);
void heap_rows_print(struct emitter *e, const struct heap_view *view, const struct heap_rows *rows);

// "Session", "Session[24]", "non-object" or "malloc<32>".
const char *heap_block_name(const struct heap_view *view, uint32_t block);

// Finds the object that points at each non-object (-guessNonObjects, -sumObjectFields).
struct error *heap_fields_find(struct heap_view *view);

// heap_damage.c: -damage.
void heap_print_damage(struct emitter *e, struct look *look);

// heap_addresses.c: -addresses.
struct error *heap_find_addresses(struct heap_view *view);
void heap_print_addresses(struct emitter *e, const struct heap_view *view);
