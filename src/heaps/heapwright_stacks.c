// SPDX-License-Identifier: MIT
// The stacks of blocks of our malloc library: an array of nodes beside each slab, one node in the
// record of each block of whole pages. What the nodes mean stands in recorder.c. Called by
// heapwright.c after the caches and notes, which say what is live and where it starts.
#include <string.h>

#include "heaps/heapwright.h"

static void remember(struct heap_build *build, const struct heap_block *block, uint32_t node)
{
	if (block->hb_state == HEAP_USED)
		build_stack(build, block->hb_address, node);
}

static void read_stacks(struct heapwright *heap, const struct heapwright_slab *slab)
{
	const struct heap_block *blocks = heap->build->blocks.v + slab->first;

	for (uint32_t i = 0; i < slab->count; i++) {
		uint32_t node;
		const uint8_t *bytes = window_bytes(&heap->entry_window,
		                                    slab->stacks + i * sizeof(node), sizeof(node));

		if (!bytes)
			return; // blocks without stacks: nothing of the heap is in doubt
		memcpy(&node, bytes, sizeof(node));
		remember(heap->build, &blocks[i], node);
	}
}

void heapwright_stacks(struct heapwright *heap)
{
	if (!heap->descriptor.record)
		return;
	heap->build->recorder = heap->descriptor.record;
	for (size_t i = 0; i < heap->slabs.n; i++) {
		const struct heapwright_slab *slab = &heap->slabs.v[i];

		if (slab->class == HEAPWRIGHT_NO_CLASS)
			remember(heap->build, &heap->build->blocks.v[slab->first], slab->stack);
		else if (slab->stacks)
			read_stacks(heap, slab);
	}
}
