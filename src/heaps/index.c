// SPDX-License-Identifier: MIT
// From an address to its block: a bit filter by 64 MiB, a binary search among the
// ranges, one table entry per KiB, and a binary search among the few blocks there. Where blocks lie far
// apart there are no entries: a damaged heap may say that a few of them are all that is in terabytes.
// Nothing is written after index_build, so that threads may ask at once.
#include "base/search.h"
#include "heaps/heaps_impl.h"

static inline size_t filter_slot(uint64_t address)
{
	return (address >> INDEX_FILTER_BITS) & (INDEX_FILTER_SLOTS - 1);
}

static void filter_add(uint8_t *filter, uint64_t start, uint64_t end)
{
	uint64_t first = start >> INDEX_FILTER_BITS,
		 count = ((end - 1) >> INDEX_FILTER_BITS) - first + 1;

	for (uint64_t i = 0; i < count && i < INDEX_FILTER_SLOTS; i++) {
		size_t slot = (first + i) & (INDEX_FILTER_SLOTS - 1);

		filter[slot / 8] |= (uint8_t)(1u << slot % 8);
	}
}

static uint64_t granule_count(const struct index_extent *extent)
{
	return ((extent->end - extent->start - 1) >> INDEX_GRANULE_BITS) + 2;
}

static bool is_dense(const struct index_extent *extent)
{
	return extent->count > 8 && granule_count(extent) / extent->count < INDEX_SPARSE_GRANULES;
}

// For each granule of the extent the last of its blocks that starts at or before the granule does.
static void index_granules(struct heap_index *index, struct index_extent *extent,
                           const struct heap_block *blocks)
{
	uint64_t count = granule_count(extent);

	extent->granules = index->granules.n;
	vec_reserve(&index->granules, index->granules.n + count);
	uint32_t last = extent->first, end = extent->first + extent->count;
	for (uint64_t g = 0; g < count; g++) {
		uint64_t at = extent->start + (g << INDEX_GRANULE_BITS);

		while (last + 1 < end && blocks[last + 1].hb_address <= at)
			last++;
		index->granules.v[index->granules.n++] = last;
	}
}

void index_build(struct heap_index *index, const struct page_source *source,
                 const struct heap_block *blocks, size_t block_count,
                 const struct heap_range *ranges, size_t range_count)
{
	index_deinit(index);
	index->source = source;
	vec_init(&index->extents, source);
	vec_init(&index->granules, source);
	index->filter = source->resize(NULL, 0, INDEX_FILTER_SLOTS / 8);
	size_t next = 0;
	for (size_t i = 0; i < range_count; i++) {
		const struct heap_range *range = &ranges[i];

		if (range->kind != HEAP_RANGE_BLOCKS)
			continue;
		while (next < block_count && blocks[next].hb_address < range->start)
			next++;
		size_t first = next;
		while (next < block_count && blocks[next].hb_address < range->end)
			next++;
		if (next == first)
			continue;
		struct index_extent *extent = vec_add(&index->extents);
		*extent = (struct index_extent){ range->start, range->end, (uint32_t)first,
			                         (uint32_t)(next - first), ~0ull };
		filter_add(index->filter, range->start, range->end);
		if (is_dense(extent))
			index_granules(index, extent, blocks);
	}
}

void index_deinit(struct heap_index *index)
{
	if (!index->source)
		return;
	vec_deinit(&index->extents);
	vec_deinit(&index->granules);
	index->source->resize(index->filter, INDEX_FILTER_SLOTS / 8, 0);
	*index = (struct heap_index){ 0 };
}

static const struct index_extent *extent_at(const struct heap_index *index, uint64_t address)
{
	size_t at = first_index(index->extents.n, i, index->extents.v[i].end > address);

	if (at == index->extents.n || index->extents.v[at].start > address)
		return NULL;
	return &index->extents.v[at];
}

ssize_t index_find(const struct heap_index *index, const struct heap_block *blocks,
                   uint64_t address)
{
	size_t slot = filter_slot(address);

	if (!index->filter || !(index->filter[slot / 8] >> slot % 8 & 1))
		return -1;
	const struct index_extent *extent = extent_at(index, address);
	if (!extent)
		return -1;
	uint32_t low = extent->first, high = extent->first + extent->count - 1;
	if (extent->granules != ~0ull) {
		const uint32_t *granule = index->granules.v + extent->granules +
		                          ((address - extent->start) >> INDEX_GRANULE_BITS);

		low = granule[0];
		high = granule[1];
	}
	while (low < high) {
		uint32_t middle = low + (high - low + 1) / 2;

		if (blocks[middle].hb_address <= address)
			low = middle;
		else
			high = middle - 1;
	}
	const struct heap_block *block = &blocks[low];
	if (address < block->hb_address)
		return -1;
	uint64_t size = block->hb_size ? block->hb_size : 1;
	return address - block->hb_address < size ? (ssize_t)low : -1;
}
