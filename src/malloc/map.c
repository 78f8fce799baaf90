// SPDX-License-Identifier: MIT
// From an address to what lies there: leaves of the two-level table are mapped when the first memory of
// their GiB is used, and stay. Also the table of regions that readers of the process go by.
#include "malloc/malloc_impl.h"

uint64_t malloc_root[MALLOC_ROOT_LEAVES] INSIDE_RARELY;
struct malloc_window malloc_window = { .first_slice = UINT64_MAX / 2 }; // of no address
struct inside_lock malloc_map_lock, malloc_region_lock;

// Not among the variables, where leaks would take their starts for references to the blocks there.
enum { REGIONS_LEAST = 1 << 14 }; // of the second table

static uint32_t region_room, region_hint;

static void window_open(uint32_t index, const struct malloc_leaf *leaf)
{
	if (malloc_window.words)
		return;
	malloc_window.words = leaf->words;
	__atomic_store_n(&malloc_window.first_slice, (uint64_t)index << MALLOC_LEAF_BITS,
	                 __ATOMIC_RELEASE);
}

static bool leaf_make(uint32_t index)
{
	struct malloc_leaf *leaf, *made = NULL;
	uint64_t signals;

	signals = malloc_lock_quietly(&malloc_map_lock);
	leaf = (struct malloc_leaf *)malloc_root[index];
	if (!leaf) {
		leaf = made = malloc_meta_map(sizeof(*leaf));
		__atomic_store_n(&malloc_root[index], (uintptr_t)leaf, __ATOMIC_RELEASE);
		if (leaf)
			window_open(index, leaf);
	}
	malloc_unlock_quiet(&malloc_map_lock, signals);
	if (made)
		malloc_meta_publish((uintptr_t)made, sizeof(*made));
	return leaf != NULL;
}

bool malloc_map_cover(uintptr_t start, size_t bytes)
{
	uint32_t first = address_slice(start) >> MALLOC_LEAF_BITS;
	uint32_t last = address_slice(start + bytes - 1) >> MALLOC_LEAF_BITS;

	for (uint32_t i = first; i <= last; i++)
		if (!__atomic_load_n(&malloc_root[i], __ATOMIC_ACQUIRE) && !leaf_make(i))
			return false;
	return true;
}

static void set_word(uint32_t slice, uint32_t word)
{
	__atomic_store_n(&slice_leaf(slice)->words[slice & (MALLOC_LEAF_SLICES - 1)], word,
	                 __ATOMIC_RELEASE);
}

void malloc_map_set(uint32_t slice, uint32_t count, uint32_t first_word, uint32_t rest_word)
{
	for (uint32_t i = count - 1; i > 0; i--)
		set_word(slice + i, rest_word);
	set_word(slice, first_word);
}

void malloc_map_set_slab(uint32_t slice, uint32_t count, uint32_t zone, uint32_t class)
{
	for (uint32_t i = count; i-- > 0;)
		set_word(slice + i, malloc_word(zone, MALLOC_SLAB + i, class));
}

static struct malloc_region *regions(void)
{
	return (struct malloc_region *)heapwright_malloc.regions;
}

static void region_put(struct malloc_region *ret, uintptr_t start, uintptr_t end, uint32_t kind)
{
	*ret = (struct malloc_region){ start, end, kind, 0 };
}

void malloc_regions_start(void *first)
{
	heapwright_malloc.regions = (uintptr_t)first;
	region_room = FIRST_REGIONS_BYTES / sizeof(struct malloc_region);
}

// At least twice as long; the old table stays, for a reader may hold its address.
static bool regions_grow(void)
{
	uint32_t room = region_room < REGIONS_LEAST / 2 ? REGIONS_LEAST : 2 * region_room, i;
	size_t bytes = room * sizeof(struct malloc_region);
	struct malloc_region *table = malloc_meta_map(bytes);
	uintptr_t start = (uintptr_t)table, end = start + bytes;

	if (!table)
		return false;
	for (i = 0; i < heapwright_malloc.region_count; i++)
		table[i] = regions()[i];
	region_put(&table[i++], start - PAGE_BYTES, start, MALLOC_REGION_GUARD);
	region_put(&table[i++], start, end, MALLOC_REGION_METADATA);
	region_put(&table[i++], end, end + PAGE_BYTES, MALLOC_REGION_GUARD);
	__atomic_store_n(&heapwright_malloc.regions, start, __ATOMIC_RELEASE);
	heapwright_malloc.region_count = i;
	region_room = room;
	return true;
}

// The hint is at or below the first unused entry.
static uint32_t region_unused(void)
{
	uint32_t i = region_hint;

	while (i < heapwright_malloc.region_count && regions()[i].end)
		i++;
	if (i == region_room) {
		if (!regions_grow())
			return UINT32_MAX;
		i = heapwright_malloc.region_count;
	}
	region_hint = i + 1;
	return i;
}

uint32_t malloc_region_add(uintptr_t start, uintptr_t end, uint32_t kind, uint32_t zone)
{
	uint32_t i;
	uint64_t signals;

	signals = malloc_lock_quietly(&malloc_region_lock);
	i = region_unused();
	if (i != UINT32_MAX) {
		regions()[i] = (struct malloc_region){ start, end, kind, zone };
		if (i >= heapwright_malloc.region_count)
			__atomic_store_n(&heapwright_malloc.region_count, i + 1, __ATOMIC_RELEASE);
	}
	malloc_unlock_quiet(&malloc_region_lock, signals);
	return i;
}

void malloc_region_remove(uint32_t region)
{
	uint64_t signals;

	if (region == UINT32_MAX)
		return;
	signals = malloc_lock_quietly(&malloc_region_lock);
	regions()[region] = (struct malloc_region){ 0 };
	if (region < region_hint)
		region_hint = region;
	malloc_unlock_quiet(&malloc_region_lock, signals);
}
