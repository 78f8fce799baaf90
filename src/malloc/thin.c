// SPDX-License-Identifier: MIT
// Relief, the part inside of what is in use: pages of slabs on which every block is free in its slab, or
// was never handed out, and the pages behind the blocks of spans. They read as zero afterwards, which
// free blocks may: nothing of the allocator lies in them. Slabs and spans with notes are left alone, for
// features know what is in their free blocks.
//
// Called by malloc_core_relieve only: what is given back has to be faulted in again.
#include "malloc/malloc_impl.h"

enum { RANGE_PAGES_MAX = 64 }; // of the longest slab

// Only what is in memory counts, and is worth a call.
static size_t range_give(uintptr_t start, uintptr_t end)
{
	unsigned char resident[RANGE_PAGES_MAX];
	size_t pages = (end - start) / PAGE_BYTES, found = 0;

	if (start >= end || pages > RANGE_PAGES_MAX ||
	    inside_residents((void *)start, end - start, resident))
		return 0;
	for (size_t i = 0; i < pages; i++)
		found += resident[i] & 1;
	if (!found || inside_discard((void *)start, end - start))
		return 0;
	return found * PAGE_BYTES;
}

static uint32_t slab_run_end(const struct malloc_slab *slab, uint32_t from, bool is_free)
{
	uint32_t i = from;

	while (i < slab->bump && malloc_slab_block_freed(slab, i) == is_free)
		i++;
	return is_free && i == slab->bump ? slab->block_count : i;
}

// Under the lock of its shard.
static size_t slab_thin(uint32_t slice)
{
	const struct malloc_slab *slab = slice_slab(slice);
	uintptr_t start = slice_address(slice), from, to;
	size_t returned = 0;

	if (slab->notes)
		return 0;
	for (uint32_t i = 0, end; i < slab->block_count; i = end) {
		i = slab_run_end(slab, i, false);
		end = slab_run_end(slab, i, true);
		from = start + i * slab->bytes + PAGE_BYTES - 1;
		to = start + end * slab->bytes;
		if (end == slab->block_count)
			to = start + ((size_t)slab->slice_count << MALLOC_SLICE_BITS);
		returned += range_give(from & -(size_t)PAGE_BYTES, to & -(size_t)PAGE_BYTES);
	}
	return returned;
}

// All slabs with free blocks are in the list of their shard, but one of which no block came back yet.
static size_t shard_thin(struct core_zone *zone, struct shard *shard)
{
	size_t returned = 0;

	if (!__atomic_load_n(&shard->slabs, __ATOMIC_RELAXED))
		return 0;
	inside_lock(shard_lock(zone, shard));
	for (uint32_t slice = shard->list; slice; slice = slice_slab(slice)->next)
		returned += slab_thin(slice);
	if (shard->fresh)
		returned += slab_thin(shard->fresh);
	inside_unlock(shard_lock(zone, shard));
	return returned;
}

static size_t span_thin(uint32_t slice)
{
	const struct malloc_slab *slab = slice_slab(slice);
	uintptr_t start = slice_address(slice);

	if (slab->notes)
		return 0;
	return range_give(start + slab->bytes,
	                  start + ((size_t)slab->slice_count << MALLOC_SLICE_BITS));
}

// Runs, and so spans, may reach over the border of extents that touch.
static size_t extent_thin(const struct extent *extent)
{
	uint32_t end = address_slice(extent->open_end);
	size_t returned = 0;

	for (uint32_t s = address_slice(extent->start); s < end; s++)
		if (word_kind(slice_word(s)) == MALLOC_SPAN)
			returned += span_thin(s);
	return returned;
}

size_t malloc_zone_thin(struct core_zone *zone)
{
	size_t returned = 0;

	for (unsigned arena = 0; arena < zone_arenas(zone); arena++)
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			returned += shard_thin(zone, zone_shard(zone, class, arena));
	inside_lock(&zone->pool.lock);
	for (const struct extent *extent = zone->pool.extents; extent; extent = extent->next)
		returned += extent_thin(extent);
	inside_unlock(&zone->pool.lock);
	return returned;
}
