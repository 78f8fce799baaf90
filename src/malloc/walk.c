// SPDX-License-Identifier: MIT
// Every block of one core zone, by the rules of layout/malloc.h, in this process or another one that
// is read through malloc_task_read. What is read may be damaged: every count is bounded. Memory for
// the walk comes from the system, so that a walk of the own zone changes nothing in it.
//
// 1. The addresses in the caches of all threads, and what they have in transit, are gathered and
//    sorted: these blocks are free although their bits are clear.
// 2. The regions of the zone are sorted, and the slices of each are read in pieces.
// 3. A slab's bits are copied, the bits of its cached blocks are set, and what is clear below bump is
//    live. Where notes are kept they alone say what is live.
#include "malloc/malloc_impl.h"

#include <string.h>

#include "base/search.h"

enum {
	PIECE_SLICES = 256,
	BLOCKS_MAX = MALLOC_SLICE_BYTES,
	BIN_MAX = 1 << 20,
	THREADS_MAX = 1 << 20,
	REGIONS_MAX = 1 << 24,
};

struct walk {
	const struct malloc_task *task;
	const struct malloc_visitor *visitor;
	struct malloc_descriptor there;
	uint32_t zone, generation;
	struct malloc_buffer cached;  // uint64_t
	struct malloc_buffer regions; // struct malloc_region
	struct malloc_buffer notes;   // of the slab at hand
	uint64_t leaf_index, leaf;
	uint32_t words[PIECE_SLICES];
	struct malloc_slab slabs[PIECE_SLICES];
	uint64_t bits[BLOCKS_MAX / 64];
	struct malloc_thread thread;
	struct malloc_zone_cache zone_cache;
};

// --- caches of threads --------------------------------------------------------------------------------
static kern_return_t gather_bins(struct walk *walk, const struct malloc_bin *bins)
{
	for (uint32_t i = 0; i < walk->there.class_count; i++) {
		uint64_t base = (uint64_t)bins[i].base, top = (uint64_t)bins[i].top;
		kern_return_t error;

		if (!base || top <= base)
			continue;
		if ((top - base) / sizeof(uint64_t) > BIN_MAX)
			return KERN_FAILURE;
		error = malloc_buffer_read(walk->task, &walk->cached, base, top - base);
		if (error)
			return error;
	}
	return KERN_SUCCESS;
}

static kern_return_t gather_zone_caches(struct walk *walk, uint64_t address)
{
	for (uint32_t i = 0; address && i < MALLOC_ZONES_MAX; i++) {
		kern_return_t error = malloc_task_read(walk->task, address, &walk->zone_cache,
		                                       sizeof(walk->zone_cache));

		if (!error && walk->zone_cache.zone == walk->zone &&
		    walk->zone_cache.generation == walk->generation)
			error = gather_bins(walk, walk->zone_cache.bins);
		if (error)
			return error;
		address = walk->zone_cache.next;
	}
	return KERN_SUCCESS;
}

static kern_return_t gather_transit(struct walk *walk, const struct malloc_transit *transit)
{
	if (!transit->entries || transit->done >= transit->count)
		return KERN_SUCCESS;
	if (transit->count > BIN_MAX)
		return KERN_FAILURE;
	return malloc_buffer_read(walk->task, &walk->cached,
	                          transit->entries + transit->done * sizeof(uint64_t),
	                          (transit->count - transit->done) * sizeof(uint64_t));
}

static kern_return_t gather_thread(struct walk *walk)
{
	kern_return_t error = gather_transit(walk, &walk->thread.transit);

	if (!error && walk->zone == 0)
		return gather_bins(walk, walk->thread.bins);
	return error ? error : gather_zone_caches(walk, walk->thread.zone_caches);
}

static kern_return_t gather_cached(struct walk *walk)
{
	uint64_t address = walk->there.threads;

	for (uint32_t i = 0; address && i < THREADS_MAX; i++) {
		kern_return_t error =
			malloc_task_read(walk->task, address, &walk->thread, sizeof(walk->thread));

		if (!error)
			error = gather_thread(walk);
		if (error)
			return error;
		address = walk->thread.next;
	}
	malloc_records_sort(walk->cached.memory, sizeof(uint64_t),
	                    walk->cached.used / sizeof(uint64_t));
	return KERN_SUCCESS;
}

// The first cached address that is not below an address.
static size_t cached_from(const struct walk *walk, uint64_t address)
{
	const uint64_t *cached = walk->cached.memory;
	return first_index(walk->cached.used / sizeof(uint64_t), i, cached[i] >= address);
}

static bool is_cached(const struct walk *walk, uint64_t address)
{
	size_t at = cached_from(walk, address);

	return at < walk->cached.used / sizeof(uint64_t) &&
	       ((const uint64_t *)walk->cached.memory)[at] == address;
}

// --- blocks -------------------------------------------------------------------------------------------
static kern_return_t read_notes(struct walk *walk, const struct malloc_slab *slab, uint32_t count)
{
	walk->notes.used = 0;
	if (!slab->notes)
		return KERN_SUCCESS;
	return malloc_buffer_read(walk->task, &walk->notes, slab->notes,
	                          count * sizeof(struct malloc_note));
}

static const struct malloc_note *note_at(const struct walk *walk, uint32_t index)
{
	return walk->notes.used ? (const struct malloc_note *)walk->notes.memory + index : NULL;
}

// As malloc_size tells it: what may be used, but not 0.
static void tell_noted(struct walk *walk, uint64_t start, uint64_t bytes, uint64_t requested,
                       const struct malloc_note *note)
{
	struct malloc_place place = malloc_place_make(start, bytes, note->user_offset, requested,
	                                              note->flags, PAGE_BYTES);
	uint64_t usable = malloc_place_usable(&place, start, bytes, note->flags);

	walk->visitor->block(walk->visitor->context, place.user, usable ? usable : 1);
}

static bool is_live(const struct walk *walk, uint32_t index)
{
	const struct malloc_note *note = note_at(walk, index);

	return note ? note->flags & MALLOC_NOTE_LIVE : !(walk->bits[index / 64] >> index % 64 & 1);
}

static void set_cached_bits(struct walk *walk, uint64_t start, const struct malloc_slab *slab)
{
	const uint64_t *cached = walk->cached.memory;
	uint64_t end = start + slab->bytes * slab->block_count;
	size_t count = walk->cached.used / sizeof(uint64_t);

	for (size_t i = cached_from(walk, start); i < count && cached[i] < end; i++) {
		uint64_t index = (cached[i] - start) / slab->bytes;

		walk->bits[index / 64] |= 1ull << index % 64;
	}
}

static kern_return_t read_bits(struct walk *walk, const struct malloc_slab *slab)
{
	size_t bytes = (slab->block_count + 63) / 64 * sizeof(uint64_t);

	memset(walk->bits, 0, bytes);
	return slab->freed ? malloc_task_read(walk->task, slab->freed, walk->bits, bytes)
	                   : KERN_SUCCESS;
}

static kern_return_t visit_slab(struct walk *walk, uint64_t start, const struct malloc_slab *slab)
{
	const struct malloc_visitor *visitor = walk->visitor;
	kern_return_t error;
	uint32_t live = 0;

	if (slab->bytes < 16 || slab->block_count > BLOCKS_MAX || slab->bump > slab->block_count ||
	    slab->bytes * slab->block_count > 16ull * MALLOC_SLICE_BYTES)
		return KERN_FAILURE;
	error = read_bits(walk, slab);
	if (!error)
		error = read_notes(walk, slab, slab->block_count);
	if (error)
		return error;
	set_cached_bits(walk, start, slab);
	for (uint32_t i = 0; i < slab->bump; i++) {
		const struct malloc_note *note = note_at(walk, i);
		uint64_t block = start + i * slab->bytes;

		if (!is_live(walk, i))
			continue;
		live++;
		if (visitor->block && note)
			tell_noted(walk, block, slab->bytes, note->requested_bytes, note);
		else if (visitor->block)
			visitor->block(visitor->context, block, slab->bytes);
	}
	if (visitor->slab)
		visitor->slab(visitor->context, slab->bytes, live, slab->block_count - live);
	return KERN_SUCCESS;
}

// A span or a large block: it is there, so it is live, unless a note or a cache says otherwise.
static kern_return_t visit_whole(struct walk *walk, uint64_t start, const struct malloc_slab *slab)
{
	const struct malloc_visitor *visitor = walk->visitor;
	kern_return_t error = read_notes(walk, slab, 1);
	const struct malloc_note *note = note_at(walk, 0);
	bool live;

	if (error)
		return error;
	live = note ? note->flags & MALLOC_NOTE_LIVE : !is_cached(walk, start);
	if (live && visitor->block && note)
		tell_noted(walk, start, slab->bytes, slab->requested, note);
	else if (live && visitor->block)
		visitor->block(visitor->context, start, slab->bytes);
	if (visitor->slab)
		visitor->slab(visitor->context, slab->bytes, live, !live);
	return KERN_SUCCESS;
}

// --- slices and regions -------------------------------------------------------------------------------
static kern_return_t find_leaf(struct walk *walk, uint64_t index, uint64_t *ret)
{
	kern_return_t error = KERN_SUCCESS;

	if (index >= MALLOC_ROOT_LEAVES)
		return KERN_FAILURE;
	if (index != walk->leaf_index || !walk->leaf)
		error = malloc_task_read(walk->task, walk->there.root + index * sizeof(uint64_t),
		                         &walk->leaf, sizeof(walk->leaf));
	walk->leaf_index = index;
	*ret = walk->leaf;
	return error;
}

// Words and descriptions of count slices, all of one leaf.
static kern_return_t read_slices(struct walk *walk, uint64_t slice, uint32_t count)
{
	uint64_t at = slice & (MALLOC_LEAF_SLICES - 1), leaf;
	kern_return_t error = find_leaf(walk, slice >> MALLOC_LEAF_BITS, &leaf);

	if (error || !leaf)
		return error ? error : KERN_FAILURE;
	error = malloc_task_read(walk->task,
	                         leaf + offsetof(struct malloc_leaf, words) + at * sizeof(uint32_t),
	                         walk->words, count * sizeof(uint32_t));
	if (error)
		return error;
	return malloc_task_read(walk->task,
	                        leaf + offsetof(struct malloc_leaf, slabs) +
	                                at * sizeof(struct malloc_slab),
	                        walk->slabs, count * sizeof(struct malloc_slab));
}

static kern_return_t visit_slice(struct walk *walk, uint64_t slice, uint32_t index)
{
	uint32_t word = walk->words[index], kind = word >> 8 & 0xff;
	uint64_t start = slice << MALLOC_SLICE_BITS;

	if (word >> 16 != walk->zone)
		return KERN_SUCCESS;
	if (kind == MALLOC_SLAB)
		return visit_slab(walk, start, &walk->slabs[index]);
	if (kind == MALLOC_SPAN || kind == MALLOC_LARGE)
		return visit_whole(walk, start, &walk->slabs[index]);
	return KERN_SUCCESS;
}

static kern_return_t visit_slices(struct walk *walk, uint64_t slice, uint64_t end)
{
	while (slice < end) {
		uint64_t in_leaf = MALLOC_LEAF_SLICES - (slice & (MALLOC_LEAF_SLICES - 1));
		uint64_t count = end - slice < PIECE_SLICES ? end - slice : PIECE_SLICES;
		kern_return_t error;

		count = count < in_leaf ? count : in_leaf;
		error = read_slices(walk, slice, (uint32_t)count);
		for (uint32_t i = 0; !error && i < count; i++)
			error = visit_slice(walk, slice + i, i);
		if (error)
			return error;
		slice += count;
	}
	return KERN_SUCCESS;
}

static kern_return_t visit_region(struct walk *walk, const struct malloc_region *region)
{
	uint64_t slice = region->start >> MALLOC_SLICE_BITS;
	uint64_t end = (region->end + MALLOC_SLICE_BYTES - 1) >> MALLOC_SLICE_BITS;
	bool ours = region->zone == walk->zone;

	if (region->kind == MALLOC_REGION_GUARD || !ours || region->end <= region->start)
		return KERN_SUCCESS;
	if (walk->visitor->region)
		walk->visitor->region(walk->visitor->context, region);
	if (region->kind == MALLOC_REGION_METADATA ||
	    (!walk->visitor->block && !walk->visitor->slab))
		return KERN_SUCCESS;
	return visit_slices(walk, slice, region->kind == MALLOC_REGION_LARGE ? slice + 1 : end);
}

static kern_return_t visit_regions(struct walk *walk)
{
	const struct malloc_region *regions;
	kern_return_t error;
	size_t count;

	if (walk->there.region_count > REGIONS_MAX)
		return KERN_FAILURE;
	error = malloc_buffer_read(walk->task, &walk->regions, walk->there.regions,
	                           walk->there.region_count * sizeof(struct malloc_region));
	if (error)
		return error;
	regions = walk->regions.memory;
	count = walk->regions.used / sizeof(*regions);
	malloc_records_sort(walk->regions.memory, sizeof(*regions), count);
	for (size_t i = 0; !error && i < count; i++)
		error = visit_region(walk, &regions[i]);
	return error;
}

// --- the whole ----------------------------------------------------------------------------------------
static kern_return_t read_descriptor(const struct malloc_task *task, struct malloc_descriptor *ret)
{
	kern_return_t error = malloc_task_read(task, (uintptr_t)&heapwright_malloc + task->slide,
	                                       ret, sizeof(*ret));

	if (error)
		return error;
	if (ret->class_count > MALLOC_CLASSES_MAX || ret->zone_count > MALLOC_ZONES_MAX)
		return KERN_FAILURE;
	return KERN_SUCCESS;
}

kern_return_t malloc_walk_find(const struct malloc_task *task, uint64_t zone_address,
                               uint32_t *ret_number)
{
	struct malloc_zone_record records[64];
	struct malloc_descriptor there;
	kern_return_t error = read_descriptor(task, &there);

	for (uint32_t i = 0; !error && i < there.zone_count; i += 64) {
		uint32_t count = there.zone_count - i < 64 ? there.zone_count - i : 64;

		error = malloc_task_read(task, there.zones + i * sizeof(*records), records,
		                         count * sizeof(*records));
		for (uint32_t j = 0; !error && j < count; j++) {
			if (records[j].address != zone_address)
				continue;
			*ret_number = i + j;
			return KERN_SUCCESS;
		}
	}
	return error ? error : KERN_INVALID_ARGUMENT;
}

static kern_return_t read_generation(struct walk *walk)
{
	struct malloc_zone_record record;
	kern_return_t error;

	if (walk->zone >= walk->there.zone_count)
		return KERN_INVALID_ARGUMENT;
	error = malloc_task_read(walk->task, walk->there.zones + walk->zone * sizeof(record),
	                         &record, sizeof(record));
	walk->generation = record.generation;
	return error;
}

kern_return_t malloc_walk(const struct malloc_task *task, uint32_t zone_number,
                          const struct malloc_visitor *visitor)
{
	struct walk *walk = inside_map(sizeof(*walk), PAGE_BYTES, INSIDE_READ_WRITE);
	kern_return_t error;

	if (!walk)
		return KERN_RESOURCE_SHORTAGE;
	walk->task = task;
	walk->visitor = visitor;
	walk->zone = zone_number;
	error = read_descriptor(task, &walk->there);
	if (!error)
		error = read_generation(walk);
	if (!error && (visitor->block || visitor->slab))
		error = gather_cached(walk);
	if (!error)
		error = visit_regions(walk);
	malloc_buffer_release(&walk->cached);
	malloc_buffer_release(&walk->regions);
	malloc_buffer_release(&walk->notes);
	inside_unmap(walk, sizeof(*walk));
	return error;
}
