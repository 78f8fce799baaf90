// SPDX-License-Identifier: MIT
// The table of live blocks that a recorder in lite mode keeps in its program's memory (struct record_live
// of layout/record.h). All numbers are the program's and may be rubbish. Only what is said to be used is
// read: reading more would make memory in the program. Called by recorder.c.
#include <string.h>

#include "heaps/heaps_impl.h"
#include "layout/record.h"

enum {
	GROUP = 1 << RECORD_LIVE_GROUP_SHIFT,
	WINDOW = 1 << 10, // cells that are read at once
};

struct live_reader {
	struct heap_build *build;
	uint64_t address, bytes; // of struct record_live and all behind it
	struct record_live head;
	uint64_t window_start, window_count;
	uint64_t taken; // cells; no two tables share one
	uint32_t window[WINDOW];
	uint32_t pages[GROUP];
};

static bool fits(const struct live_reader *reader, uint64_t offset, uint64_t count)
{
	return offset <= reader->bytes && count <= (reader->bytes - offset) / sizeof(uint32_t);
}

static bool open_live(struct live_reader *reader)
{
	const struct record_live *head = &reader->head;

	return reader->bytes >= sizeof(*head) &&
	       !target_read(reader->build->target, reader->address, &reader->head, sizeof(*head)) &&
	       head->leaf_count <= RECORD_LIVE_LEAVES &&
	       fits(reader, head->leaves_offset, (uint64_t)head->leaf_count * RECORD_LIVE_PAGES) &&
	       fits(reader, head->cells_offset, head->cell_count);
}

// NULL when they are none, or cannot be read.
static const uint32_t *cells_at(struct live_reader *reader, uint64_t first, uint64_t count)
{
	uint64_t used = reader->head.cell_count;

	if (first > used || count > used - first)
		return NULL;
	if (first < reader->window_start ||
	    first + count > reader->window_start + reader->window_count) {
		reader->window_start = first;
		reader->window_count = used - first < WINDOW ? used - first : WINDOW;
		if (target_read(reader->build->target,
		                reader->address + reader->head.cells_offset +
		                        first * sizeof(uint32_t),
		                reader->window, reader->window_count * sizeof(uint32_t))) {
			reader->window_count = 0;
			return NULL;
		}
	}
	return reader->window + (first - reader->window_start);
}

static void take_page(struct live_reader *reader, uint64_t start, uint32_t table)
{
	unsigned bits = table & ((1 << RECORD_LIVE_TABLE_BITS) - 1);
	const uint32_t *cells;

	if (!bits || bits > RECORD_LIVE_CELLS_BITS)
		return;
	reader->taken += 1u << bits;
	if (reader->taken > reader->head.cell_count)
		return;
	cells = cells_at(reader, (uint64_t)(table >> RECORD_LIVE_TABLE_BITS) * 2, 1u << bits);
	for (uint32_t i = 0; cells && i < 1u << bits; i++) {
		uint32_t place = cells[i] & 255;

		if (cells[i] && record_live_find(cells, bits, place) == i)
			build_stack(reader->build, start + place * 8, cells[i] >> 8);
	}
}

static void take_group(struct live_reader *reader, uint32_t leaf, uint32_t group)
{
	uint64_t first = (uint64_t)leaf * RECORD_LIVE_PAGES + (uint64_t)group * GROUP;
	uint64_t start = (reader->head.leaves[leaf].number << RECORD_LIVE_LEAF_SHIFT) +
	                 ((uint64_t)group * GROUP << RECORD_LIVE_PAGE_SHIFT);

	if (target_read(reader->build->target,
	                reader->address + reader->head.leaves_offset + first * sizeof(uint32_t),
	                reader->pages, sizeof(reader->pages)))
		return;
	for (uint32_t i = 0; i < GROUP; i++)
		take_page(reader, start + ((uint64_t)i << RECORD_LIVE_PAGE_SHIFT),
		          reader->pages[i]);
}

void recorder_read_live(struct heap_build *build, uint64_t address, uint64_t bytes)
{
	struct live_reader *reader = arena_alloc(build->arena, sizeof(*reader));

	reader->build = build;
	reader->address = address;
	reader->bytes = bytes;
	reader->window_count = reader->taken = 0;
	if (!open_live(reader))
		return;
	for (uint32_t leaf = 0; leaf < reader->head.leaf_count; leaf++)
		for (uint32_t group = 0; group < RECORD_LIVE_PAGES / GROUP; group++)
			if (reader->head.leaves[leaf].used[group / 64] >> group % 64 & 1)
				take_group(reader, leaf, group);
}
