// SPDX-License-Identifier: MIT
// What the program overwrote: the edges of its blocks and the filling of freed ones, where debugging
// features put them (layout/malloc.h). Called by heapwright_notes.c for each block whose note tells of
// edges or filling, so it costs nothing where no feature is on.
#include <string.h>

#include "heaps/heapwright.h"

// One stretch of memory that held a pattern: the bytes of word, from phase on, over and over.
struct stretch {
	uint64_t from, to, phase;
	uint32_t word;
};

enum { PIECE_BYTES = 4096 };

static void take_byte(struct heap_damage *damage, uint64_t at, uint8_t byte)
{
	uint64_t offset;

	if (!damage->count)
		damage->at = at;
	offset = at - damage->at;
	damage->count = offset + 1;
	if (offset < HEAP_DAMAGE_FOUND)
		damage->found[offset] = byte;
}

// Bytes between two that differ are told, too, though they may be as they were.
static void take_piece(const struct stretch *stretch, uint64_t from, const uint8_t *bytes, size_t n,
                       struct heap_damage *damage)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t at = from + i;
		bool differs =
			bytes[i] != (uint8_t)(stretch->word >> 8 * ((at - stretch->phase) & 3));
		uint64_t offset = at - damage->at;

		if (differs)
			take_byte(damage, at, bytes[i]);
		else if (damage->count && offset < HEAP_DAMAGE_FOUND)
			damage->found[offset] = bytes[i];
	}
}

static void look_at(struct heapwright *heap, const struct stretch *stretch,
                    struct heap_damage *damage)
{
	damage->count = 0;
	for (uint64_t at = stretch->from; at < stretch->to;) {
		size_t n = stretch->to - at < PIECE_BYTES ? stretch->to - at : PIECE_BYTES;
		const uint8_t *bytes = window_bytes(&heap->block_window, at, n);

		if (!bytes)
			return;
		take_piece(stretch, at, bytes, n, damage);
		at += n;
	}
	if (damage->count)
		vec_push(&heap->build->damage, *damage);
}

// Which of the two fillings it was is told by the byte that most overruns do not reach.
static void look_at_filling(struct heapwright *heap, const struct heap_block *block,
                            struct heap_damage *damage)
{
	uint64_t end = block->hb_address + block->hb_size;
	const uint8_t *last = block->hb_size ? window_bytes(&heap->block_window, end - 1, 1) : NULL;
	struct stretch all = { block->hb_address, end, 0, 0 };

	if (!last)
		return;
	if (*last)
		all.word = 0x01010101u * MALLOC_FILL_FREED;
	damage->kind = HEAP_DAMAGE_FREED;
	look_at(heap, &all, damage);
}

void heapwright_damage(struct heapwright *heap, const struct heapwright_slab *slab,
                       const struct heap_block *block, const struct malloc_note *note,
                       uint64_t requested)
{
	struct malloc_place place;
	struct heap_damage damage = { .zone = heapwright_zone(heap, slab->zone),
		                      .address = block->hb_address + note->user_offset,
		                      .requested = requested };

	if (note->flags & MALLOC_NOTE_FILLED)
		look_at_filling(heap, block, &damage);
	if ((note->flags & (MALLOC_NOTE_LIVE | MALLOC_NOTE_EDGES)) !=
	    (MALLOC_NOTE_LIVE | MALLOC_NOTE_EDGES))
		return;
	if (note->user_offset > block->hb_size || requested > block->hb_size - note->user_offset)
		return;
	place = malloc_place_make(block->hb_address, block->hb_size, note->user_offset, requested,
	                          note->flags, target_page_bytes(heap->target));
	damage.kind = HEAP_DAMAGE_BEFORE;
	look_at(heap, &(struct stretch){ place.before, place.user, place.user, MALLOC_EDGE_BEFORE },
	        &damage);
	damage.kind = HEAP_DAMAGE_BEHIND;
	look_at(heap,
	        &(struct stretch){ place.user_end, place.behind, place.user_end,
	                           MALLOC_EDGE_BEHIND },
	        &damage);
}
