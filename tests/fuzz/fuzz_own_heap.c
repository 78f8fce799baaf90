// SPDX-License-Identifier: MIT
// Fuzzes the reader of our own malloc library: a whole heap is written with slabs, spans, a large block,
// caches, transit records, notes, zones and Guard Malloc; the input overwrites words of its metadata.
// The first byte says where the thread stands, then each 12 bytes are a place (4) and a word (8). Every block
// must be found again at both ends, whatever the tables said.
#include "../unit/unit.h"

#include "../unit/toy_own_heap.h"

enum { FUZZ_EDIT_BYTES = 12, FUZZ_EDITS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void fuzz_threads(struct own *own)
{
	uint64_t cached[3] = { OWN_BLOCKS_AT, OWN_BLOCKS_AT + 64, OWN_BLOCKS_AT + 96 };
	uint64_t at = OWN_META_AT + OWN_THREADS + OWN_ZONE_CACHE, array = own_array(own, 3);
	struct malloc_zone_cache *zone = own_here(own, at);

	own_fill_bin(own, &own->threads[0]->bins[2], cached, 3);
	own_fill_bin(own, &own->threads[1]->bins[3], &(uint64_t){ OWN_BLOCKS_AT + 0x10000 }, 1);
	own->threads[1]->depot = 1;
	for (unsigned i = 0; i < 3; i++)
		own_put(own, array + i * 8, OWN_BLOCKS_AT + 0x10000 + 48 * (i + 1));
	own->threads[2]->transit = (struct malloc_transit){ array, 3, 1, 1, 3, 0 };
	zone->zone = 2;
	zone->generation = 5;
	own_fill_bin(own, &zone->bins[4], &(uint64_t){ OWN_ZONE_AT + 0x20000 }, 1);
	own->threads[0]->zone_caches = at;
}

static void fuzz_fill(struct own *own)
{
	own_init(own);
	own_make_slab(own, OWN_BLOCKS_AT, 0, 2, 40);
	own_make_slab(own, OWN_BLOCKS_AT + 0x10000, 0, 3, 40)->notes = OWN_META_AT + OWN_NOTES;
	own_set_free(own, OWN_BLOCKS_AT, 5);
	own_make_span(own, OWN_BLOCKS_AT + 0x20000, 0, 2, 0x15000);
	own_make_free(own, OWN_BLOCKS_AT + 0x40000, 0, 12);
	own_make_span(own, OWN_LARGE_AT, 0, 3, 0x25000);
	own_words(own, OWN_LARGE_AT, 3, malloc_word(0, MALLOC_LARGE, 0),
	          malloc_word(0, MALLOC_LARGE_REST, 0));
	struct malloc_note *notes = own_here(own, OWN_META_AT + OWN_NOTES);
	for (unsigned i = 0; i < 40; i++)
		notes[i] = (struct malloc_note){ 30, 0, 0, MALLOC_NOTE_LIVE };
	notes[7] = (struct malloc_note){ 10, 16, 0, MALLOC_NOTE_LIVE | MALLOC_NOTE_EDGES };
	struct guard_record *records = own_guard(own);
	records[1] = (struct guard_record){ .run_start = OWN_ZONE_AT + 0x1000,
		                            .block = OWN_ZONE_AT + 0x1ff0,
		                            .bytes = 13,
		                            .run_pages = 1,
		                            .state = GUARD_LIVE };
	((struct guard_descriptor *)own_here(own, OWN_META_AT + OWN_GUARD))->record_count = 3;
	own->messages->next = 3;
	fuzz_threads(own);
}

// The first mebibyte holds what is interesting; of the leaf only the slices in use.
static void fuzz_edit(struct own *own, const uint8_t *edit)
{
	static const uint32_t places[][2] = {
		{ 0, 0x4000 },
		{ OWN_THREADS, OWN_THREADS + 0x10000 },
		{ OWN_BITS, OWN_BITS + 0x1000 },
		{ OWN_NOTES, OWN_NOTES + 0x400 },
		{ OWN_LEAF, OWN_LEAF + 0x200 },
		{ OWN_LEAF + 0x10000, OWN_LEAF + 0x12000 },
		{ OWN_GUARD, OWN_GUARD + 0x1100 },
		{ OWN_GUARD_RECORDS, OWN_GUARD_RECORDS + 0x200 },
	};
	uint32_t place;

	memcpy(&place, edit, 4);
	const uint32_t *range = places[place % 8];
	uint32_t offset = (place >> 3) % (range[1] - range[0] - 8);
	memcpy(own->meta + range[0] + offset, edit + 4, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	if (!count)
		return 0;
	struct own own;
	fuzz_fill(&own);
	for (size_t i = 1; i + FUZZ_EDIT_BYTES <= count && i < FUZZ_EDITS_MAX * FUZZ_EDIT_BYTES;
	     i += FUZZ_EDIT_BYTES)
		fuzz_edit(&own, bytes + i);
	struct heaps *heaps = own_read(&own, bytes[0] & 1 ? OWN_TEXT_AT + 16 : 0);
	if (!heaps)
		abort();
	for (size_t i = 0; i < heaps->block_count; i++) {
		const struct heap_block *block = &heaps->blocks[i];
		uint64_t last = block->hb_address + (block->hb_size ? block->hb_size - 1 : 0);
		if (heaps_find(heaps, block->hb_address) != (ssize_t)i ||
		    heaps_find(heaps, last) != (ssize_t)i)
			abort();
	}
	own_deinit(&own, heaps);
	return 0;
}
