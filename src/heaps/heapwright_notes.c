// SPDX-License-Identifier: MIT
// What debugging features keep about blocks: what the program asked for, where its pointer lies in the
// block, and whether it owns the block. Between the slabs and the program stands the feature, which
// may keep freed blocks back, and for a moment has those in its hands that it fills, checks or copies.
#include <string.h>

#include "heaps/heapwright.h"

static void remember_requested(struct heapwright *heap, const struct heap_block *block,
                               uint64_t requested)
{
	if (block->hb_state == HEAP_USED && requested <= block->hb_size)
		vec_push(&heap->build->requested,
		         ((struct heap_requested){ block->hb_address, requested }));
}

static void note_fault(struct heapwright *heap, const struct heapwright_slab *slab,
                       const struct heap_block *block, const struct malloc_note *note)
{
	heapwright_fault(heap, heapwright_zone(heap, slab->zone), block->hb_address,
	                 "note of a block", block->hb_size, note->user_offset,
	                 "the block at 0x%llx of %llu bytes: its note tells %u bytes from %u on",
	                 (unsigned long long)block->hb_address, (unsigned long long)block->hb_size,
	                 note->requested_bytes, note->user_offset);
}

// Of a block that is not the program's (any more). What was claimed and neither filled nor kept back is
// in a thread's hands, and what realloc copies out of it is followed. One without any flag was just
// made, or never came by the feature.
static void take_back(struct heap_block *block, uint32_t flags)
{
	if (flags & (MALLOC_NOTE_KEPT_BACK | MALLOC_NOTE_FILLED)) {
		block->hb_state = HEAP_CACHED;
		block->hb_flags &= HEAP_MMAPPED;
	} else if (flags & MALLOC_NOTE_FREED) {
		block->hb_flags |= HEAP_TRANSIT | HEAP_LOADER;
	}
}

static uint64_t usable_bytes(const struct heapwright *heap, const struct heap_block *block,
                             const struct malloc_note *note, uint64_t requested)
{
	struct malloc_place place =
		malloc_place_make(block->hb_address, block->hb_size, note->user_offset, requested,
	                          note->flags, target_page_bytes(heap->target));

	return malloc_place_usable(&place, block->hb_address, block->hb_size, note->flags);
}

static void apply_note(struct heapwright *heap, const struct heapwright_slab *slab,
                       struct heap_block *block, const struct malloc_note *note)
{
	uint64_t requested =
		slab->class == HEAPWRIGHT_NO_CLASS ? slab->requested : note->requested_bytes;

	if (note->flags & (MALLOC_NOTE_EDGES | MALLOC_NOTE_FILLED))
		heapwright_damage(heap, slab, block, note, requested);
	if (block->hb_state != HEAP_USED)
		return;
	if (!(note->flags & MALLOC_NOTE_LIVE)) {
		take_back(block, note->flags);
		return;
	}
	if (note->user_offset > block->hb_size || requested > block->hb_size - note->user_offset) {
		note_fault(heap, slab, block, note);
		return;
	}
	uint64_t usable = usable_bytes(heap, block, note, requested);
	block->hb_address += note->user_offset;
	block->hb_size = usable;
	remember_requested(heap, block, requested);
}

static void read_notes(struct heapwright *heap, const struct heapwright_slab *slab)
{
	struct heap_block *blocks = heap->build->blocks.v + slab->first;

	for (uint32_t i = 0; i < slab->count; i++) {
		struct malloc_note note;
		const uint8_t *bytes = window_bytes(&heap->entry_window,
		                                    slab->notes + i * sizeof(note), sizeof(note));

		if (!bytes) {
			heapwright_fault(heap, heapwright_zone(heap, slab->zone), slab->notes,
			                 "notes of a slab", slab->count, i,
			                 "the notes of the slab at 0x%llx cannot be read",
			                 (unsigned long long)slab->start);
			return;
		}
		memcpy(&note, bytes, sizeof(note));
		apply_note(heap, slab, &blocks[i], &note);
	}
}

void heapwright_notes(struct heapwright *heap)
{
	const uint32_t patterns = MALLOC_FEATURE_EDGES | MALLOC_FEATURE_SCRIBBLE;

	if (heap->descriptor.features & patterns)
		heap->build->edges_kept = true;
	for (size_t i = 0; i < heap->slabs.n; i++) {
		const struct heapwright_slab *slab = &heap->slabs.v[i];

		if (slab->notes)
			read_notes(heap, slab);
		else if (slab->requested)
			remember_requested(heap, &heap->build->blocks.v[slab->first],
			                   slab->requested);
	}
}
