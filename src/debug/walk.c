// SPDX-License-Identifier: MIT
// Every block that has a note, while the heap stands still: the gate is closed, and the locks of the
// core are taken as before a fork, because threads that end give blocks back without passing the
// gate. Follows layout/malloc.h as a reader from outside does. Called by check.c.
#include "debug/debug_impl.h"

struct walk {
	bool (*each)(void *context, const struct debug_block *block);
	void *context;
};

static bool visit(const struct walk *walk, uint64_t start, const struct malloc_slab *slab,
                  struct malloc_note *note)
{
	struct malloc_block core = { .start = (void *)start, .bytes = slab->bytes, .note = note };
	struct debug_block block;

	if (!(note->flags & (MALLOC_NOTE_LIVE | MALLOC_NOTE_FILLED)))
		return true;
	debug_block_look(&core, &block);
	return walk->each(walk->context, &block);
}

static bool visit_slice(const struct walk *walk, uint64_t slice)
{
	struct malloc_leaf *leaf = (struct malloc_leaf *)malloc_root[slice >> MALLOC_LEAF_BITS];
	uint64_t index = slice & (MALLOC_LEAF_SLICES - 1), start = slice << MALLOC_SLICE_BITS;
	uint32_t kind = leaf ? leaf->words[index] >> 8 & 0xff : MALLOC_NONE;
	struct malloc_note *notes = leaf ? (struct malloc_note *)leaf->slabs[index].notes : NULL;
	const struct malloc_slab *slab = leaf ? &leaf->slabs[index] : NULL;

	if (!notes || (kind != MALLOC_SLAB && kind != MALLOC_SPAN && kind != MALLOC_LARGE))
		return true;
	if (kind != MALLOC_SLAB)
		return visit(walk, start, slab, notes);
	for (uint32_t i = 0; i < slab->bump; i++)
		if (!visit(walk, start + i * slab->bytes, slab, &notes[i]))
			return false;
	return true;
}

static bool visit_regions(const struct walk *walk)
{
	const struct malloc_region *regions =
		(const struct malloc_region *)heapwright_malloc.regions;

	for (uint32_t i = 0; i < heapwright_malloc.region_count; i++) {
		if (regions[i].kind != MALLOC_REGION_BLOCKS &&
		    regions[i].kind != MALLOC_REGION_LARGE)
			continue;
		for (uint64_t slice = regions[i].start >> MALLOC_SLICE_BITS;
		     slice << MALLOC_SLICE_BITS < regions[i].end; slice++)
			if (!visit_slice(walk, slice))
				return false;
	}
	return true;
}

bool debug_walk(bool (*each)(void *context, const struct debug_block *block), void *context)
{
	struct walk walk = { .each = each, .context = context };

	if (!debug_gate_close())
		return false;
	malloc_fork_prepare();
	visit_regions(&walk);
	malloc_fork_parent();
	debug_gate_open();
	return true;
}
