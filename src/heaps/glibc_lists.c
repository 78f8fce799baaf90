// SPDX-License-Identifier: MIT
// Bins and fastbins of each arena. A chunk in a bin was seen free by the walk, so
// bins only prove the heap: each entry must be such a chunk, link back to the one
// before, and each free chunk must be in one bin. Chunks in fastbins look used
// (malloc.c, "Fastbins"); their chains say that they are not.
#include "base/search.h"
#include "heaps/glibc.h"

static const struct glibc_free *free_find(const struct glibc *glibc, uint64_t chunk)
{
	size_t at = first_index(glibc->frees.n, i, glibc->frees.v[i].chunk >= chunk);

	return at < glibc->frees.n && glibc->frees.v[at].chunk == chunk ? &glibc->frees.v[at]
	                                                                : NULL;
}

static uint64_t chunk_before(const struct glibc *glibc, uint64_t chunk)
{
	ssize_t i = chunk ? build_find(glibc->build, chunk - 1) : -1;

	return i >= 0 ? glibc->build->blocks.v[i].hb_address : 0;
}

static void bad_list(struct glibc *glibc, struct glibc_arena *arena, const char *list,
                     unsigned number, uint64_t chunk, uint64_t expected, uint64_t found)
{
	if (arena->locked) {
		arena->in_transit++;
		glibc->build->in_malloc = true;
		return;
	}
	struct heap_fault fault = {
		.zone = arena->zone,
		.address = chunk,
		.expected = expected,
		.found = found,
		.what = arena_format(glibc->build->arena, "list of %s %u", list, number),
		.block_before = chunk_before(glibc, chunk),
	};
	build_fault(glibc->build, &fault,
	            "the list of %s %u is broken at 0x%llx: 0x%llx expected, 0x%llx found", list,
	            number, (unsigned long long)chunk, (unsigned long long)expected,
	            (unsigned long long)found);
}

// Follows one bin; returns how many chunks it holds.
static size_t check_bin(struct glibc *glibc, struct glibc_arena *arena, unsigned bin)
{
	unsigned word = glibc->layout.word;
	unsigned offset = glibc->layout.bins + 2 * word * bin;
	uint64_t head = arena->address + offset - 2 * word, previous = head, count = 0;
	uint64_t at = glibc_state_word(glibc, arena, offset);

	if (at == 0) // an arena whose bins were not set up yet
		return 0;
	while (at != head) {
		const struct glibc_free *free = free_find(glibc, at);

		if (!free || free->previous != previous || count > glibc->frees.n) {
			bad_list(glibc, arena, "bin", bin + 1, at, previous,
			         free ? free->previous : 0);
			return count;
		}
		count++;
		previous = at;
		at = free->next;
	}
	uint64_t last = glibc_state_word(glibc, arena, offset + word);
	if (last != previous)
		bad_list(glibc, arena, "bin", bin + 1, head, previous, last);
	return count;
}

static size_t frees_of(const struct glibc *glibc, uint32_t arena)
{
	size_t count = 0, next = 0;

	for (size_t i = 0; i < glibc->pieces.n; i++) {
		while (next < glibc->frees.n &&
		       glibc->frees.v[next].chunk < glibc->pieces.v[i].start)
			next++;
		size_t first = next;
		while (next < glibc->frees.n && glibc->frees.v[next].chunk < glibc->pieces.v[i].end)
			next++;
		if (glibc->pieces.v[i].arena == arena)
			count += next - first;
	}
	return count;
}

static void check_bins(struct glibc *glibc, uint32_t index)
{
	struct glibc_arena *arena = &glibc->arenas.v[index];
	size_t faults = glibc->build->faults.n, listed = 0;

	for (unsigned bin = 0; bin < GLIBC_BINS; bin++)
		listed += check_bin(glibc, arena, bin);
	glibc->bin_chunks += (unsigned)listed;
	size_t walked = frees_of(glibc, index);
	if (listed == walked || faults != glibc->build->faults.n || arena->locked ||
	    glibc->build->zones.v[arena->zone].damaged)
		return;
	struct heap_fault fault = { .zone = arena->zone,
		                    .address = arena->address,
		                    .expected = walked,
		                    .found = listed,
		                    .what = "number of free chunks" };
	build_fault(glibc->build, &fault, "%zu chunks are free, but %zu are in bins", walked,
	            listed);
}

// --- fastbins -----------------------------------------------------------------------------------------
// fastbin_index: sizes in steps of 16 (8 on 32 bit), the first list has two steps.
static bool fast_size(const struct glibc *glibc, ssize_t block, unsigned list)
{
	if (block < 0)
		return false;
	uint64_t size = glibc->build->blocks.v[block].hb_size + glibc->layout.word;
	return size >> (glibc->layout.word == 8 ? 4 : 3) == list + 2;
}

static bool chain_valid(struct glibc *glibc, uint64_t chunk, unsigned list, enum glibc_links links,
                        uint64_t limit)
{
	uint64_t header = 2 * glibc->layout.word, stored;

	for (uint64_t n = 0; chunk && n < limit; n++) {
		ssize_t block = build_find_start(glibc->build, chunk + header);

		if (!fast_size(glibc, block, list) ||
		    !peek_word(&glibc->peek, chunk + header, &stored))
			return false;
		chunk = glibc_link(chunk + header, stored, links);
	}
	return true;
}

static void learn_links(struct glibc *glibc, uint64_t chunk, unsigned list)
{
	bool plain = chain_valid(glibc, chunk, list, LINKS_PLAIN, 64);
	bool safe = chain_valid(glibc, chunk, list, LINKS_SAFE, 64);

	if (plain != safe)
		glibc->links = plain ? LINKS_PLAIN : LINKS_SAFE;
}

static void fast_chain(struct glibc *glibc, struct glibc_arena *arena, unsigned list)
{
	unsigned word = glibc->layout.word;
	uint64_t header = 2 * word, stored, before = 0;
	uint64_t chunk = glibc_state_word(glibc, arena, glibc->layout.fast_first + list * word);

	if (chunk && glibc->links == LINKS_UNKNOWN)
		learn_links(glibc, chunk, list);
	for (size_t n = 0; chunk && n <= glibc->build->blocks.n; n++) {
		ssize_t block = build_find_start(glibc->build, chunk + header);

		if (!fast_size(glibc, block, list) ||
		    !peek_word(&glibc->peek, chunk + header, &stored) ||
		    glibc->build->blocks.v[block].hb_state != HEAP_USED) {
			bad_list(glibc, arena, "fastbin", list, before, 0, chunk);
			return;
		}
		glibc->build->blocks.v[block].hb_state = HEAP_CACHED;
		glibc->fast_chunks++;
		before = chunk;
		chunk = glibc_link(chunk + header, stored, glibc->links);
	}
}

void glibc_lists(struct glibc *glibc)
{
	for (uint32_t i = 0; i < glibc->arenas.n; i++) {
		for (unsigned list = 0; list < glibc->layout.fast_count; list++)
			fast_chain(glibc, &glibc->arenas.v[i], list);
		check_bins(glibc, i);
	}
}
