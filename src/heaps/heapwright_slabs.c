// SPDX-License-Identifier: MIT
// From slice to slice through the regions of our malloc library: what the word and the record of a
// slice say becomes blocks, free memory and ranges with the names that vmmap shows.
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/search.h"
#include "heaps/heapwright.h"

enum {
	SLABS_SLICES_MAX = 16,    // of one slab of small blocks
	SLABS_TINY_BYTES = 1024,  // up to here blocks are tiny
	SLABS_PIECE_BYTES = 4096, // of bits read at a time
};

// Address space of an extent that was not opened yet has no word at all.
static const char *const slab_reserved = "MALLOC (reserved)";
static const char *const slab_tiny = "MALLOC_TINY", *const slab_small = "MALLOC_SMALL",
			 *const slab_large = "MALLOC_LARGE", *const slab_empty = "MALLOC (empty)";

// Where the walk stands in a region.
struct slab_walk {
	struct heapwright *heap;
	const struct malloc_region *region;
	uint64_t slice, end_slice;
	uint32_t zone; // of the region, in build.zones
	uint64_t range_start;
	const char *range_type; // of the slices since range_start
	uint64_t free_bytes;    // of the free run that ends before slice free_end
	uint64_t free_end;
};

// --- words and records of slices ------------------------------------------------------------------
static bool load_leaf(struct heapwright *heap, uint64_t leaf)
{
	size_t bytes = MALLOC_LEAF_SLICES * sizeof(uint32_t);

	if (heap->leaf == leaf)
		return true;
	if (leaf >= MALLOC_ROOT_LEAVES || !heap->root[leaf])
		return false;
	heap->leaf = leaf;
	if (target_read_some(heap->target, heap->root[leaf], heap->words, bytes) == bytes)
		return true;
	heapwright_fault(heap, heap->main_zone, heap->root[leaf], "leaf", bytes, 0,
	                 "leaf %llu at 0x%llx cannot be read", (unsigned long long)leaf,
	                 (unsigned long long)heap->root[leaf]);
	heap->root[leaf] = 0;
	heap->leaf = ~0ull;
	return false;
}

static bool record_of(struct heapwright *heap, uint64_t slice, struct malloc_slab *ret)
{
	uint64_t at = heap->root[slice >> MALLOC_LEAF_BITS] + offsetof(struct malloc_leaf, slabs) +
	              (slice & (MALLOC_LEAF_SLICES - 1)) * sizeof(*ret);
	const uint8_t *bytes = window_bytes(&heap->slab_window, at, sizeof(*ret));

	if (bytes)
		memcpy(ret, bytes, sizeof(*ret));
	return bytes != NULL;
}

static inline uint32_t kind_of(uint32_t word)
{
	return word >> 8 & 0xff;
}

// --- ranges ---------------------------------------------------------------------------------------
static void end_range(struct slab_walk *walk, uint64_t at)
{
	uint64_t end = at < walk->region->end ? at : walk->region->end;

	build_range_typed(walk->heap->build, walk->range_start, end,
	                  walk->range_type == slab_reserved ? HEAP_RANGE_RESERVED
	                                                    : HEAP_RANGE_BLOCKS,
	                  walk->zone, walk->range_type);
	walk->range_start = end;
}

// Says what the next slices are for and goes on behind them.
static void pass_slices(struct slab_walk *walk, uint64_t count, const char *type)
{
	if (walk->range_type && walk->range_type != type)
		end_range(walk, walk->slice << MALLOC_SLICE_BITS);
	walk->range_type = type;
	walk->slice += count;
}

static void slice_fault(struct slab_walk *walk, const char *what, uint64_t expected, uint64_t found,
                        const char *text)
{
	struct heapwright *heap = walk->heap;
	uint64_t address = walk->slice << MALLOC_SLICE_BITS;

	heapwright_fault(heap, walk->zone, address, what, expected, found,
	                 "the slice at 0x%llx: %s (0x%llx instead of 0x%llx)",
	                 (unsigned long long)address, text, (unsigned long long)found,
	                 (unsigned long long)expected);
	pass_slices(walk, 1, slab_empty);
}

// --- blocks ---------------------------------------------------------------------------------------
static void list_blocks(struct heapwright *heap, const struct heapwright_slab *slab, uint32_t zone,
                        uint32_t from, const uint64_t *bits, uint32_t count)
{
	struct heap_block used = { .hb_size = slab->step, .hb_zone = zone };
	struct heap_block free = { .hb_size = slab->step, .hb_zone = zone, .hb_state = HEAP_FREE };
	struct heap_block *v = heap->build->blocks.v + heap->build->blocks.n;
	uint64_t address = slab->start + from * slab->step;

	for (uint32_t i = 0; i < count; i++, address += slab->step) {
		v[i] = bits[i / 64] >> i % 64 & 1 ? free : used;
		v[i].hb_address = address;
	}
	heap->build->blocks.n += count;
}

// Lists the blocks below bump; false when the bits cannot be read.
static bool list_slab(struct heapwright *heap, const struct heapwright_slab *slab, uint32_t zone,
                      uint64_t bits_at)
{
	uint64_t bits[SLABS_PIECE_BYTES / sizeof(uint64_t)];

	vec_reserve(&heap->build->blocks, heap->build->blocks.n + slab->count);
	for (uint32_t done = 0; done < slab->count; done += SLABS_PIECE_BYTES * 8) {
		uint32_t left = slab->count - done;
		uint32_t count = left < SLABS_PIECE_BYTES * 8 ? left : SLABS_PIECE_BYTES * 8;
		size_t bytes = (count + 63) / 64 * sizeof(uint64_t);
		const uint8_t *read = window_bytes(&heap->bit_window, bits_at + done / 8, bytes);

		if (!read)
			return false;
		memcpy(bits, read, bytes);
		list_blocks(heap, slab, zone, done, bits, count);
	}
	return true;
}

static bool room_for(struct heapwright *heap, uint64_t count)
{
	if (count > heap->block_room)
		return false;
	heap->block_room -= count;
	return true;
}

// What is wrong with the record of a slab of small blocks; NULL when nothing is.
static const char *slab_problem(const struct slab_walk *walk, const struct malloc_slab *slab,
                                uint32_t class)
{
	const struct malloc_descriptor *d = &walk->heap->descriptor;
	uint64_t slices = slab->slice_count;

	if (class >= d->class_count || slab->bytes != d->class_bytes[class] || slab->bytes < 16 ||
	    slab->bytes % 16)
		return "its block size is not that of its class";
	if (!slices || slices > SLABS_SLICES_MAX || slices > walk->end_slice - walk->slice)
		return "its slab does not fit into the region";
	if (!slab->block_count || slab->block_count > (slices << MALLOC_SLICE_BITS) / slab->bytes ||
	    slab->bump > slab->block_count)
		return "its slab has more blocks than room";
	return NULL;
}

static void take_slab(struct slab_walk *walk, uint32_t word, const struct malloc_slab *record)
{
	struct heapwright *heap = walk->heap;
	uint32_t zone = heapwright_zone(heap, word >> 16);
	const char *problem = slab_problem(walk, record, word & 0xff);
	size_t blocks_before = heap->build->blocks.n;

	if (problem) {
		slice_fault(walk, "slab", word & 0xff, record->bytes, problem);
		return;
	}
	struct heapwright_slab slab = { .start = walk->slice << MALLOC_SLICE_BITS,
		                        .step = record->bytes,
		                        .notes = record->notes,
		                        .stacks = record->stacks,
		                        .first = blocks_before,
		                        .count = record->bump,
		                        .total = record->block_count,
		                        .zone = word >> 16,
		                        .class = word & 0xff };
	if (!room_for(heap, slab.count) || !list_slab(heap, &slab, zone, record->freed)) {
		heap->build->blocks.n = blocks_before;
		slice_fault(walk, "bits of a slab", 0, record->freed,
		            "the bits of its slab cannot be read");
		return;
	}
	vec_push(&heap->slabs, slab);
	heap->build->zones.v[zone].free_bytes +=
		(uint64_t)(record->block_count - record->bump) * record->bytes;
	pass_slices(walk, record->slice_count,
	            record->bytes <= SLABS_TINY_BYTES ? slab_tiny : slab_small);
}

// One block of whole pages.
static void take_pages(struct slab_walk *walk, uint32_t word, const struct malloc_slab *record)
{
	struct heapwright *heap = walk->heap;
	uint64_t start = walk->slice << MALLOC_SLICE_BITS, slices = record->slice_count;
	struct heapwright_slab slab = { .start = start,
		                        .step = record->bytes,
		                        .notes = record->notes,
		                        .requested = record->requested,
		                        .stack = record->stack,
		                        .first = heap->build->blocks.n,
		                        .count = 1,
		                        .total = 1,
		                        .zone = word >> 16,
		                        .class = HEAPWRIGHT_NO_CLASS };

	if (!slices || slices > walk->end_slice - walk->slice || !record->bytes ||
	    record->bytes > walk->region->end - start || !room_for(heap, 1)) {
		slice_fault(walk, "block of pages", walk->region->end - start, record->bytes,
		            "its block does not fit into the region");
		return;
	}
	struct heap_block block = { .hb_address = start,
		                    .hb_size = record->bytes,
		                    .hb_zone = heapwright_zone(heap, word >> 16),
		                    .hb_flags = kind_of(word) == MALLOC_LARGE ? HEAP_MMAPPED : 0 };
	vec_push(&heap->build->blocks, block);
	vec_push(&heap->slabs, slab);
	heap->page_block_count++;
	pass_slices(walk, slices, slab_large);
}

// Slice by slice, for the length that a record tells may be old while a thread cuts a run.
static void take_free(struct slab_walk *walk, uint32_t word)
{
	struct heap_zone *zone =
		&walk->heap->build->zones.v[heapwright_zone(walk->heap, word >> 16)];

	if (walk->free_end != walk->slice)
		walk->free_bytes = 0;
	walk->free_bytes += MALLOC_SLICE_BYTES;
	walk->free_end = walk->slice + 1;
	zone->free_bytes += MALLOC_SLICE_BYTES;
	if (walk->free_bytes > zone->largest_free_bytes)
		zone->largest_free_bytes = walk->free_bytes;
	pass_slices(walk, 1, slab_empty);
}

static void take_slices(struct slab_walk *walk)
{
	uint64_t in_leaf = walk->slice & (MALLOC_LEAF_SLICES - 1);
	struct malloc_slab record;

	if (!load_leaf(walk->heap, walk->slice >> MALLOC_LEAF_BITS)) {
		pass_slices(walk, MALLOC_LEAF_SLICES - in_leaf, slab_reserved);
		return;
	}
	uint32_t word = walk->heap->words[in_leaf], kind = kind_of(word);
	if (kind == MALLOC_NONE) {
		pass_slices(walk, 1, slab_reserved);
		return;
	}
	if (kind == MALLOC_FREE_SPAN || kind == MALLOC_FREE_REST)
		take_free(walk, word);
	else if (!record_of(walk->heap, walk->slice, &record))
		slice_fault(walk, "slab", 0, word, "its record cannot be read");
	else if (kind == MALLOC_SLAB)
		take_slab(walk, word, &record);
	else if (kind == MALLOC_SPAN || kind == MALLOC_LARGE)
		take_pages(walk, word, &record);
	else if (walk->heap->inside) // the words of a run are written from the last to the first
		pass_slices(walk, 1, slab_empty);
	else
		slice_fault(walk, "slice", MALLOC_SLAB, kind, "nothing begins before it");
}

// The mapping of one block. While realloc moves it or free takes it down nothing is told about it: then
// it stays what it is without us, memory that may hold references.
static void walk_large(struct slab_walk *walk)
{
	uint64_t slice = walk->slice;

	if (load_leaf(walk->heap, slice >> MALLOC_LEAF_BITS) &&
	    kind_of(walk->heap->words[slice & (MALLOC_LEAF_SLICES - 1)]) == MALLOC_LARGE)
		take_slices(walk);
	if (walk->slice != slice)
		end_range(walk, walk->region->end);
}

static void walk_region(struct heapwright *heap, const struct malloc_region *region)
{
	struct slab_walk walk = { .heap = heap,
		                  .region = region,
		                  .slice = region->start >> MALLOC_SLICE_BITS,
		                  .zone = heapwright_zone(heap, region->zone),
		                  .range_start = region->start };

	walk.end_slice = (region->end + MALLOC_SLICE_BYTES - 1) >> MALLOC_SLICE_BITS;
	if (walk.slice < heap->next_slice) // of a region that ends within a slice
		walk.slice = heap->next_slice;
	heap->next_slice = walk.end_slice;
	if (region->kind == MALLOC_REGION_LARGE) {
		walk_large(&walk);
		return;
	}
	while (walk.slice < walk.end_slice)
		take_slices(&walk);
	end_range(&walk, region->end);
}

// --- the root -------------------------------------------------------------------------------------
struct leaf_place {
	uint64_t address;
	uint32_t number;
};

static int compare_leaves(const void *a, const void *b)
{
	const struct leaf_place *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

// A leaf that stands for two parts of the address space is damage, and would be read again and again.
static void check_leaves(struct heapwright *heap)
{
	VEC(struct leaf_place) leaves;
	uint64_t end = 0;

	vec_init(&leaves, heap->build->source);
	for (uint32_t i = 0; i < MALLOC_ROOT_LEAVES; i++)
		if (heap->root[i])
			vec_push(&leaves, ((struct leaf_place){ heap->root[i], i }));
	if (leaves.n)
		qsort(leaves.v, leaves.n, sizeof(*leaves.v), compare_leaves);
	for (size_t i = 0; i < leaves.n; i++) {
		uint64_t address = leaves.v[i].address;
		bool fine =
			address >= end && checked_add(address, sizeof(struct malloc_leaf), &end);

		if (fine)
			continue;
		heapwright_fault(heap, heap->main_zone, address, "leaf", end, address,
		                 "leaf %u at 0x%llx overlaps another one", leaves.v[i].number,
		                 (unsigned long long)address);
		heap->root[leaves.v[i].number] = 0;
	}
	vec_deinit(&leaves);
}

static bool read_root(struct heapwright *heap)
{
	size_t bytes = MALLOC_ROOT_LEAVES * sizeof(*heap->root);

	heap->root = arena_alloc(heap->build->arena, bytes);
	if (target_read_some(heap->target, heap->descriptor.root, heap->root, bytes) != bytes) {
		heapwright_fault(heap, heap->main_zone, heap->descriptor.root, "root of slices",
		                 bytes, 0, "the table at 0x%llx cannot be read",
		                 (unsigned long long)heap->descriptor.root);
		return false;
	}
	check_leaves(heap);
	return true;
}

void heapwright_slabs(struct heapwright *heap)
{
	heap->leaf = ~0ull;
	heap->words = arena_array(heap->build->arena, MALLOC_LEAF_SLICES, sizeof(*heap->words));
	heap->block_room = UINT32_MAX - 1 - heap->build->blocks.n;
	if (!read_root(heap))
		return;
	for (size_t i = 0; i < heap->regions.n; i++)
		if (heap->regions.v[i].kind == MALLOC_REGION_BLOCKS ||
		    heap->regions.v[i].kind == MALLOC_REGION_LARGE)
			walk_region(heap, &heap->regions.v[i]);
}

const struct heapwright_slab *heapwright_slab_at(const struct heapwright *heap, uint64_t address)
{
	const struct heapwright_slab *v = heap->slabs.v;
	size_t at = first_index(heap->slabs.n, i, v[i].start > address);

	if (!at || (address - v[at - 1].start) / v[at - 1].step >= v[at - 1].total)
		return NULL;
	return &v[at - 1];
}
