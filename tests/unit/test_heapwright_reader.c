// SPDX-License-Identifier: MIT
// The reader of our own malloc library, on heaps that are written byte by byte: states of blocks with
// threads stopped at every point that the layout's order of writes knows, zones, notes, damage.
#include "unit.h"

#include "toy_own_heap.h"

enum { CLASS_32 = 2, CLASS_48 = 3 };

static const uint64_t slab_32 = OWN_BLOCKS_AT, slab_48 = OWN_BLOCKS_AT + MALLOC_SLICE_BYTES,
		      span_at = OWN_BLOCKS_AT + 2 * MALLOC_SLICE_BYTES,
		      free_at = OWN_BLOCKS_AT + 4 * MALLOC_SLICE_BYTES;

static uint64_t block_32(unsigned index)
{
	return slab_32 + index * 32;
}

// Two slabs with ten blocks each, a span, free slices behind; no cache holds anything.
static void fill(struct own *own)
{
	own_init(own);
	own_make_slab(own, slab_32, 0, CLASS_32, 10);
	own_make_slab(own, slab_48, 0, CLASS_48, 10);
	own_make_span(own, span_at, 0, 2, 0x12000);
	own_make_free(own, free_at, 0, 12);
}

static const struct heap_block *block_at(const struct heaps *heaps, uint64_t address)
{
	ssize_t i = heaps_find(heaps, address);

	return i < 0 || heaps->blocks[i].hb_address != address ? NULL : &heaps->blocks[i];
}

static void assert_state(const struct heaps *heaps, uint64_t address, enum heap_state state,
                         unsigned flags)
{
	const struct heap_block *block = block_at(heaps, address);

	assert_non_null(block);
	assert_int_equal(block->hb_state, state);
	assert_int_equal(block->hb_flags, flags);
}

// --- blocks ---------------------------------------------------------------------------------------
static void blocks_of_slabs_spans_and_mappings(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	own_set_free(&own, slab_32, 3);
	own_make_span(&own, OWN_LARGE_AT, 0, 3, 0x25000);
	own_words(&own, OWN_LARGE_AT, 3, malloc_word(0, MALLOC_LARGE, 0),
	          malloc_word(0, MALLOC_LARGE_REST, 0));
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(heaps->unknown_count, 0);
	assert_int_equal(heaps->block_count, 22);
	assert_int_equal(heaps->used_count, 21);
	assert_state(heaps, block_32(2), HEAP_USED, 0);
	assert_state(heaps, block_32(3), HEAP_FREE, 0);
	assert_null(block_at(heaps, block_32(10))); // never handed out
	assert_int_equal(block_at(heaps, slab_48 + 48)->hb_size, 48);
	assert_int_equal(block_at(heaps, span_at)->hb_size, 0x12000);
	assert_state(heaps, OWN_LARGE_AT, HEAP_USED, HEAP_MMAPPED);
	assert_int_equal(block_at(heaps, OWN_LARGE_AT)->hb_size, 0x25000);
	assert_true(heaps_find(heaps, OWN_LARGE_AT + 0x24fff) >= 0);
	assert_false(heaps->in_malloc);
	own_deinit(&own, heaps);
}

static void zones_have_names_and_their_own_blocks(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	own_make_slab(&own, OWN_ZONE_AT, 2, CLASS_48, 4);
	own_make_free(&own, OWN_ZONE_AT + MALLOC_SLICE_BYTES, 2, 3);
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(heaps->zone_count, 2);
	assert_string_equal(heaps->zones[0].name, "DefaultMallocZone");
	assert_string_equal(heaps->zones[1].name, "Pictures");
	assert_int_equal(heaps->zones[1].address, OWN_META_AT + 0x900);
	assert_int_equal(heaps->zones[1].used_count, 4);
	assert_int_equal(heaps->zones[1].used_bytes, 4 * 48);
	assert_int_equal(heaps->zones[1].capacity_bytes, OWN_ZONE_BYTES);
	assert_int_equal(heaps->zones[1].largest_free_bytes, 3 * MALLOC_SLICE_BYTES);
	assert_int_equal(heaps->zones[1].free_bytes,
	                 3 * MALLOC_SLICE_BYTES + (MALLOC_SLICE_BYTES / 48 - 4) * 48);
	assert_int_equal(block_at(heaps, OWN_ZONE_AT + 48)->hb_zone, 1);
	own_deinit(&own, heaps);
}

static void ranges_tell_what_they_are_for(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	own.descriptor->class_bytes[4] = 2048;
	own_make_slab(&own, slab_48, 0, 4, 10);
	struct heaps *heaps = own_read(&own, 0);
	assert_string_equal(heaps_range_at(heaps, slab_32)->type, "MALLOC_TINY");
	assert_string_equal(heaps_range_at(heaps, slab_48)->type, "MALLOC_SMALL");
	assert_string_equal(heaps_range_at(heaps, span_at)->type, "MALLOC_LARGE");
	assert_string_equal(heaps_range_at(heaps, free_at)->type, "MALLOC (empty)");
	assert_int_equal(heaps_range_at(heaps, OWN_META_AT + OWN_ENTRIES)->kind,
	                 HEAP_RANGE_METADATA);
	assert_int_equal(heaps_range_at(heaps, OWN_META_AT + OWN_ROOT + 8)->kind,
	                 HEAP_RANGE_METADATA);
	own_deinit(&own, heaps);
}

// --- caches ---------------------------------------------------------------------------------------
static void cached_blocks_are_not_the_programs(void **state)
{
	(void)state;
	struct own own;
	uint64_t cached[] = { block_32(1), block_32(7) };
	fill(&own);
	own_fill_bin(&own, &own.threads[2]->bins[CLASS_32], cached, 2);
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->fault_count, 0);
	assert_state(heaps, block_32(1), HEAP_CACHED, 0);
	assert_state(heaps, block_32(7), HEAP_CACHED, 0);
	assert_state(heaps, block_32(2), HEAP_USED, 0);
	own_deinit(&own, heaps);
}

// Full arrays that wait for a thread: their index says nothing, and what stands above top is of no meaning,
// even while a thread is inside. An empty one keeps its array.
static void arrays_of_the_depot_are_of_any_class(void **state)
{
	(void)state;
	for (uint64_t text = 0; text <= OWN_TEXT_AT; text += OWN_TEXT_AT) {
		struct own own;
		uint64_t full[] = { block_32(1), block_32(7), block_32(2) },
			 empty[] = { block_32(0) };
		fill(&own);
		own.threads[2]->depot = 1;
		own.threads[2]->thread_id = 0;
		own_fill_bin(&own, &own.threads[2]->bins[CLASS_48 + 1], full, 3);
		own.threads[2]->bins[CLASS_48 + 1].top--;
		own_fill_bin(&own, &own.threads[2]->bins[CLASS_48], empty, 1);
		own.threads[2]->bins[CLASS_48].top--;
		struct heaps *heaps = own_read(&own, text);
		assert_int_equal(heaps->fault_count, 0);
		assert_state(heaps, block_32(1), HEAP_CACHED, 0);
		assert_state(heaps, block_32(7), HEAP_CACHED, 0);
		assert_state(heaps, block_32(2), HEAP_USED, 0);
		assert_state(heaps, block_32(0), HEAP_USED, 0);
		own_deinit(&own, heaps);
	}
}

static void zone_cache(struct own *own, uint32_t generation, uint64_t block)
{
	uint64_t at = OWN_META_AT + OWN_THREADS + OWN_ZONE_CACHE;
	struct malloc_zone_cache *cache = own_here(own, at);

	cache->zone = 2;
	cache->generation = generation;
	own_fill_bin(own, &cache->bins[CLASS_48], &block, 1);
	own->threads[0]->zone_caches = at;
}

static void caches_of_zones_count_while_the_zone_lives(void **state)
{
	(void)state;
	for (uint32_t generation = 4; generation <= 5; generation++) {
		struct own own;
		fill(&own);
		own_make_slab(&own, OWN_ZONE_AT, 2, CLASS_48, 4);
		zone_cache(&own, generation, OWN_ZONE_AT + 96);
		struct heaps *heaps = own_read(&own, 0);
		assert_int_equal(heaps->fault_count, 0);
		assert_state(heaps, OWN_ZONE_AT + 96, generation == 5 ? HEAP_CACHED : HEAP_USED, 0);
		own_deinit(&own, heaps);
	}
}

// The slot at the top: a free that is half done, or what the last malloc left behind.
static void slot_at_the_top_is_in_transit_only_inside(void **state)
{
	(void)state;
	for (unsigned inside = 0; inside < 2; inside++) {
		struct own own;
		uint64_t entries[] = { block_32(4), block_32(5) };
		fill(&own);
		own_fill_bin(&own, &own.threads[0]->bins[CLASS_32], entries, 2);
		own.threads[0]->bins[CLASS_32].top--;
		own_fill_bin(&own, &own.threads[1]->bins[CLASS_32], &(uint64_t){ block_32(8) }, 1);
		own.threads[1]->bins[CLASS_32].top--;
		own.threads[1]->thread_id = 101; // runs no more, and was not in malloc
		struct heaps *heaps = own_read(&own, inside ? OWN_TEXT_AT + 8 : 0x400000);
		assert_int_equal(heaps->fault_count, 0);
		assert_state(heaps, block_32(4), HEAP_CACHED, 0);
		assert_state(heaps, block_32(5), HEAP_USED,
		             inside ? HEAP_TRANSIT | HEAP_LOADER : 0);
		assert_int_equal(heaps->in_malloc, inside);
		own_deinit(&own, heaps);
	}
}

static void transit(struct own *own, uint64_t entries, uint32_t count, uint32_t done,
                    uint32_t group)
{
	own->threads[0]->transit = (struct malloc_transit){
		.entries = entries, .count = count, .done = done, .group = group, .class = CLASS_32
	};
}

// Published above the top, the bits cleared, the top not yet raised.
static void refill_under_way(void **state)
{
	(void)state;
	struct own own;
	uint64_t entries[] = { block_32(5), block_32(4), block_32(9) };
	fill(&own);
	struct malloc_bin *bin = &own.threads[0]->bins[CLASS_32];
	own_fill_bin(&own, bin, entries, 3);
	bin->top = bin->base;
	transit(&own, (uintptr_t)bin->base, 3, 0, 0);
	own.threads[0]->transit.bin = own_there(&own, bin);
	own_set_free(&own, slab_32, 9); // not taken out yet
	own_slab(&own, slab_32)->bump = 10;
	struct heaps *heaps = own_read(&own, OWN_TEXT_AT);
	assert_int_equal(heaps->fault_count, 0);
	assert_state(heaps, block_32(5), HEAP_CACHED, 0);
	assert_state(heaps, block_32(4), HEAP_CACHED, 0);
	assert_state(heaps, block_32(9), HEAP_FREE, 0);
	assert_state(heaps, block_32(3), HEAP_USED, 0);
	own_deinit(&own, heaps);
}

// Entry 0 is in its slab and another thread has it already; entries 1 and 2 are being set, 1 is, and 2
// may be anybody's; entry 3 waits.
static void flush_under_way(void **state)
{
	(void)state;
	struct own own;
	uint64_t at;
	fill(&own);
	at = own_array(&own, 4);
	for (unsigned i = 0; i < 4; i++)
		own_put(&own, at + i * 8, block_32(i));
	transit(&own, at, 4, 1, 2);
	own_set_free(&own, slab_32, 1);
	struct heaps *heaps = own_read(&own, OWN_TEXT_AT);
	assert_state(heaps, block_32(0), HEAP_USED, 0);
	assert_state(heaps, block_32(1), HEAP_FREE, 0);
	assert_state(heaps, block_32(2), HEAP_USED, HEAP_TRANSIT | HEAP_LOADER);
	assert_state(heaps, block_32(3), HEAP_CACHED, 0);
	assert_int_equal(heaps->fault_count, 0);
	own_deinit(&own, heaps);
}

// The two oldest are on their way, where they are; the bin begins behind them.
static void flush_leaves_the_rest_in_the_bin(void **state)
{
	(void)state;
	struct own own;
	uint64_t entries[] = { block_32(0), block_32(1), block_32(2) };
	fill(&own);
	struct malloc_bin *bin = &own.threads[0]->bins[CLASS_32];
	own_fill_bin(&own, bin, entries, 3);
	transit(&own, (uintptr_t)bin->base, 2, 0, 0);
	bin->base += 2;
	struct heaps *heaps = own_read(&own, OWN_TEXT_AT);
	assert_int_equal(heaps->fault_count, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_state(heaps, block_32(i), HEAP_CACHED, 0);
	own_deinit(&own, heaps);
}

// What a flush left goes to the start of the array: of the bin top is new and base is old, or both are
// new. Block 0 was given back and belongs to the program again.
static void flush_moves_what_stays(void **state)
{
	(void)state;
	for (unsigned base_done = 0; base_done < 2; base_done++) {
		struct own own;
		uint64_t entries[] = { block_32(2), block_32(0), block_32(2) };
		fill(&own);
		struct malloc_bin *bin = &own.threads[0]->bins[CLASS_32];
		own_fill_bin(&own, bin, entries, 1);
		transit(&own, (uintptr_t)(bin->base + 2), 1, 0, 0);
		own_put(&own, (uintptr_t)(bin->base + 1), block_32(0));
		own_put(&own, (uintptr_t)(bin->base + 2), block_32(2));
		own.threads[0]->transit.bin = own_there(&own, bin);
		if (!base_done)
			bin->base += 2;
		struct heaps *heaps = own_read(&own, OWN_TEXT_AT);
		assert_int_equal(heaps->fault_count, 0);
		assert_state(heaps, block_32(0), HEAP_USED, 0);
		assert_state(heaps, block_32(2), HEAP_CACHED, 0);
		own_deinit(&own, heaps);
	}
}

// A full array and a bin change hands: of both only the transit records tell.
static void exchange_with_the_depot(void **state)
{
	(void)state;
	struct own own;
	uint64_t entries[] = { block_32(1), block_32(7) };
	fill(&own);
	struct malloc_bin *bin = &own.threads[0]->bins[CLASS_32], *slot = &own.threads[2]->bins[0];
	own_fill_bin(&own, bin, entries, 2);
	*slot = *bin;
	slot->top = NULL;
	own.threads[2]->depot = 1;
	own.threads[2]->thread_id = 0;
	transit(&own, (uintptr_t)bin->base, 2, 0, 0);
	own.threads[2]->transit = own.threads[0]->transit;
	own.threads[0]->transit.bin = own_there(&own, bin);
	own.threads[2]->transit.bin = own_there(&own, slot);
	struct heaps *heaps = own_read(&own, OWN_TEXT_AT);
	assert_int_equal(heaps->fault_count, 0);
	assert_state(heaps, block_32(1), HEAP_CACHED, 0);
	assert_state(heaps, block_32(7), HEAP_CACHED, 0);
	assert_state(heaps, block_32(2), HEAP_USED, 0);
	own_deinit(&own, heaps);
}

// base is that of the new array already, top and limit still belong to the old one.
static void growth_under_way(void **state)
{
	(void)state;
	struct own own;
	uint64_t entries[] = { block_32(0), block_32(1) };
	fill(&own);
	struct malloc_bin *bin = &own.threads[0]->bins[CLASS_32];
	own_fill_bin(&own, bin, entries, 2);
	transit(&own, (uintptr_t)bin->base, 2, 0, 0);
	own.threads[0]->transit.bin = own_there(&own, bin);
	own_put(&own, own_array(&own, 3), block_32(6)); // between the arrays: not an entry
	bin->base = (uint64_t *)(uintptr_t)own_array(&own, 31);
	struct heaps *heaps = own_read(&own, OWN_TEXT_AT);
	assert_int_equal(heaps->fault_count, 0);
	assert_state(heaps, block_32(0), HEAP_CACHED, 0);
	assert_state(heaps, block_32(1), HEAP_CACHED, 0);
	assert_state(heaps, block_32(6), HEAP_USED, 0);
	own_deinit(&own, heaps);
}

// While a run is cut its words are behind its record: no slab is overlooked, none invented.
static void runs_being_cut_hide_no_slab(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	own_make_slab(&own, free_at + 2 * MALLOC_SLICE_BYTES, 0, CLASS_48, 5);
	assert_int_equal(own_slab(&own, free_at)->slice_count, 12); // still
	own.leaf->words[own_slice(free_at) + 5] = malloc_word(0, MALLOC_SLAB + 3, CLASS_48);
	struct heaps *heaps = own_read(&own, OWN_TEXT_AT);
	assert_int_equal(heaps->fault_count, 0);
	assert_state(heaps, free_at + 2 * MALLOC_SLICE_BYTES + 48, HEAP_USED, 0);
	own_deinit(&own, heaps);
}

// realloc moves the pages of a mapping: without a block its memory must stay a root.
static void mapping_without_a_block_is_left_alone(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	struct heaps *heaps = own_read(&own, OWN_TEXT_AT);
	assert_null(heaps_range_at(heaps, OWN_LARGE_AT));
	own_deinit(&own, heaps);
}

// --- notes ----------------------------------------------------------------------------------------
static struct malloc_note *notes_of(struct own *own, uint64_t slab)
{
	own_slab(own, slab)->notes = OWN_META_AT + OWN_NOTES;
	own->descriptor->features = MALLOC_FEATURE_NOTES;
	return own_here(own, OWN_META_AT + OWN_NOTES);
}

static void notes_tell_sizes_and_the_programs_pointer(void **state)
{
	(void)state;
	struct own own;
	uint64_t bytes = 0;
	fill(&own);
	struct malloc_note *notes = notes_of(&own, slab_48);
	for (unsigned i = 0; i < 10; i++)
		notes[i] = (struct malloc_note){ .requested_bytes = 40, .flags = MALLOC_NOTE_LIVE };
	notes[1] = (struct malloc_note){ 7, 16, 0, MALLOC_NOTE_LIVE | MALLOC_NOTE_EDGES };
	notes[2].flags = MALLOC_NOTE_KEPT_BACK | MALLOC_NOTE_FREED | MALLOC_NOTE_FILLED;
	notes[3].flags = MALLOC_NOTE_FREED; // claimed: realloc may be copying out of it
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(block_at(heaps, slab_48)->hb_size, 48);
	assert_true(heaps_requested(heaps, (size_t)heaps_find(heaps, slab_48), &bytes));
	assert_int_equal(bytes, 40);
	assert_null(block_at(heaps, slab_48 + 48));
	assert_int_equal(block_at(heaps, slab_48 + 64)->hb_size, 7);
	assert_true(heaps_requested(heaps, (size_t)heaps_find(heaps, slab_48 + 64), &bytes));
	assert_int_equal(bytes, 7);
	assert_state(heaps, slab_48 + 2 * 48, HEAP_CACHED, 0);
	assert_state(heaps, slab_48 + 3 * 48, HEAP_USED, HEAP_TRANSIT | HEAP_LOADER);
	assert_false(heaps_requested(heaps, (size_t)heaps_find(heaps, block_32(1)), &bytes));
	own_deinit(&own, heaps);
}

static void impossible_note_is_told(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	struct malloc_note *notes = notes_of(&own, slab_48);
	for (unsigned i = 0; i < 10; i++)
		notes[i] = (struct malloc_note){ .requested_bytes = 40, .flags = MALLOC_NOTE_LIVE };
	notes[4].requested_bytes = 49;
	notes[5].user_offset = 0xffffffff;
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->fault_count, 2);
	assert_int_equal(heaps->faults[0].address, slab_48 + 4 * 48);
	assert_string_equal(heaps->faults[0].what, "note of a block");
	assert_state(heaps, slab_48 + 4 * 48, HEAP_USED, 0); // as the slab says
	own_deinit(&own, heaps);
}

// --- Guard Malloc -----------------------------------------------------------------------------------
static struct guard_record record_at(uint64_t block, uint64_t bytes, uint8_t state, uint16_t zone)
{
	return (struct guard_record){ .run_start = block & ~4095ull,
		                      .block = block,
		                      .bytes = bytes,
		                      .run_pages = 1,
		                      .open_pages = 1,
		                      .state = state,
		                      .zone = zone };
}

static void guarded_blocks_come_from_records(void **state)
{
	(void)state;
	struct own own;
	uint64_t bytes = 0;
	fill(&own);
	struct guard_record *records = own_guard(&own);
	records[1] = record_at(OWN_ZONE_AT + 0x5ff0, 13, GUARD_LIVE, 1);
	records[2] = record_at(OWN_ZONE_AT + 0x1fe0, 32, GUARD_CHECKED, 0);
	records[3] = record_at(OWN_ZONE_AT + 0x3fe0, 32, GUARD_FREED, 0);
	records[4] = record_at(OWN_ZONE_AT + 0x7fe0, 32, GUARD_PREPARED, 0);
	records[5] = record_at(0x1000, 32, GUARD_LIVE, 0);
	struct guard_descriptor *d = own_here(&own, OWN_META_AT + OWN_GUARD);
	d->record_count = 6;
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->fault_count, 1);
	assert_string_equal(heaps->faults[0].what, "record of Guard Malloc");
	assert_state(heaps, OWN_ZONE_AT + 0x5ff0, HEAP_USED, 0);
	assert_state(heaps, OWN_ZONE_AT + 0x1fe0, HEAP_USED, 0);
	assert_state(heaps, OWN_ZONE_AT + 0x3fe0, HEAP_CACHED, 0);
	assert_null(block_at(heaps, OWN_ZONE_AT + 0x7fe0));
	assert_int_equal(block_at(heaps, OWN_ZONE_AT + 0x5ff0)->hb_zone, 1);
	assert_true(
		heaps_requested(heaps, (size_t)heaps_find(heaps, OWN_ZONE_AT + 0x5ff0), &bytes));
	assert_int_equal(bytes, 13);
	assert_state(heaps, block_32(1), HEAP_USED, 0); // the core's are there too
	assert_int_equal(heaps_range_at(heaps, OWN_META_AT + OWN_GUARD_RECORDS + 99)->kind,
	                 HEAP_RANGE_METADATA);
	own_deinit(&own, heaps);
}

// What such an extent costs must follow from the blocks in it, not from its size.
static void extent_as_large_as_the_address_space(void **state)
{
	(void)state;
	for (unsigned bits = 44; bits < 64; bits++) {
		struct own own;
		fill(&own);
		own_guard(&own);
		struct guard_descriptor *d = own_here(&own, OWN_META_AT + OWN_GUARD);
		struct guard_extent *extent = own_here(&own, d->extents);
		*extent = (struct guard_extent){ 4096, UINT64_C(1) << bits, UINT64_C(1) << bits };
		struct heaps *heaps = own_read(&own, 0);
		assert_state(heaps, block_32(1), HEAP_USED, 0);
		assert_state(heaps, block_32(9), HEAP_USED, 0);
		own_deinit(&own, heaps);
	}
}

static void guard_of_another_version_is_told(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	own_guard(&own);
	struct guard_descriptor *d = own_here(&own, OWN_META_AT + OWN_GUARD);
	d->version = GUARD_VERSION + 1;
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->unknown_count, 1);
	assert_string_equal(heaps->unknown[0].name, "Guard Malloc");
	assert_state(heaps, block_32(1), HEAP_USED, 0);
	own_deinit(&own, heaps);
}

// --- messages -------------------------------------------------------------------------------------
static void messages_come_oldest_first_and_printable(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	own.messages->next = MALLOC_MESSAGES + 2;
	for (unsigned i = 0; i < MALLOC_MESSAGES; i++)
		snprintf(own.messages->text[i], MALLOC_MESSAGE_BYTES, "slot %u\n", i);
	memcpy(own.messages->text[2], "\033[2Jbad", 8);
	strcpy(own.messages->text[4], "first\nsecond\n\n");
	memset(own.messages->text[3], 'x', MALLOC_MESSAGE_BYTES); // no end
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->message_count, MALLOC_MESSAGES);
	assert_int_equal(heaps->message_total, MALLOC_MESSAGES + 2);
	assert_string_equal(heaps->messages[0], "\\x1B[2Jbad");
	assert_int_equal(strlen(heaps->messages[1]), MALLOC_MESSAGE_BYTES - 1);
	assert_string_equal(heaps->messages[2], "first. second");
	assert_string_equal(heaps->messages[MALLOC_MESSAGES - 1], "slot 1");
	own_deinit(&own, heaps);
}

// --- damage ---------------------------------------------------------------------------------------
static void freed_twice_is_told_with_its_place(void **state)
{
	(void)state;
	struct own own;
	uint64_t entries[] = { block_32(1), block_32(6), block_32(1) };
	fill(&own);
	own_fill_bin(&own, &own.threads[1]->bins[CLASS_32], entries, 3);
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->fault_count, 1);
	assert_string_equal(heaps->faults[0].what, "cache of a thread");
	assert_int_equal(heaps->faults[0].found, block_32(1));
	assert_non_null(strstr(heaps->faults[0].text, "freed twice"));
	assert_true(heaps->zones[0].damaged);
	assert_state(heaps, block_32(6), HEAP_CACHED, 0);
	own_deinit(&own, heaps);
}

static void assert_one_fault(void (*damage)(struct own *), const char *what, size_t used)
{
	struct own own;
	fill(&own);
	damage(&own);
	struct heaps *heaps = own_read(&own, 0);
	assert_true(heaps->fault_count >= 1);
	assert_string_equal(heaps->faults[0].what, what);
	assert_int_equal(heaps->used_count, used);
	own_deinit(&own, heaps);
}

static void slab_with_too_many_blocks(struct own *own)
{
	own_slab(own, slab_32)->block_count = 4000;
}

static void slab_of_no_class(struct own *own)
{
	own_slab(own, slab_32)->bytes = 40;
}

static void slab_behind_its_region(struct own *own)
{
	own_make_slab(own, OWN_BLOCKS_AT + OWN_BLOCK_BYTES - MALLOC_SLICE_BYTES, 0, CLASS_32, 5);
	own_slab(own, OWN_BLOCKS_AT + OWN_BLOCK_BYTES - MALLOC_SLICE_BYTES)->slice_count = 2;
}

static void bits_nowhere(struct own *own)
{
	own_slab(own, slab_32)->freed = 0x1000;
}

static void span_without_bytes(struct own *own)
{
	own_slab(own, span_at)->bytes = 0;
}

static void leaf_nowhere(struct own *own)
{
	own_put(own,
	        OWN_META_AT + OWN_ROOT +
	                (OWN_BLOCKS_AT >> (MALLOC_SLICE_BITS + MALLOC_LEAF_BITS)) * 8,
	        0x123000);
}

static void region_backwards(struct own *own)
{
	own->regions[3].start = own->regions[3].end + 0x10000;
}

static void regions_overlap(struct own *own)
{
	own->regions[3] = own->regions[0];
}

static void ring_of_threads(struct own *own)
{
	own->threads[2]->next = OWN_META_AT + OWN_THREADS;
}

static void top_below_base(struct own *own)
{
	own_fill_bin(own, &own->threads[0]->bins[CLASS_32], NULL, 0);
	own->threads[0]->bins[CLASS_32].top--;
}

static void zones_nowhere(struct own *own)
{
	own->descriptor->zones = UINT64_MAX - 8;
}

static void damage_is_named_and_the_rest_is_read(void **state)
{
	(void)state;
	assert_one_fault(slab_with_too_many_blocks, "slab", 11);
	assert_one_fault(slab_of_no_class, "slab", 11);
	assert_one_fault(slab_behind_its_region, "slab", 21);
	assert_one_fault(bits_nowhere, "bits of a slab", 11);
	assert_one_fault(span_without_bytes, "block of pages", 20);
	assert_one_fault(leaf_nowhere, "leaf", 0);
	assert_one_fault(region_backwards, "region", 21);
	assert_one_fault(regions_overlap, "region", 21);
	assert_one_fault(ring_of_threads, "cache of a thread", 21);
	assert_one_fault(top_below_base, "cache of a thread", 21);
	assert_one_fault(zones_nowhere, "table of zones", 21);
}

// --- the descriptor -------------------------------------------------------------------------------
static void newer_layout_is_not_guessed_at(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	own.descriptor->version = MALLOC_VERSION + 1;
	own.descriptor->bytes += 64;
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->block_count, 0);
	assert_int_equal(heaps->unknown_count, 1);
	assert_string_equal(heaps->unknown[0].name, "libheapwright");
	assert_non_null(strstr(heaps->unknown[0].evidence, "newer"));
	own_deinit(&own, heaps);
}

static void library_that_was_never_called(void **state)
{
	(void)state;
	struct own own;
	fill(&own);
	own.descriptor->ready = 0;
	struct heaps *heaps = own_read(&own, 0);
	assert_int_equal(heaps->zone_count, 0);
	assert_int_equal(heaps->unknown_count, 0);
	assert_non_null(strstr(heaps->how, "never called"));
	own_deinit(&own, heaps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_of_slabs_spans_and_mappings),
		cmocka_unit_test(zones_have_names_and_their_own_blocks),
		cmocka_unit_test(ranges_tell_what_they_are_for),
		cmocka_unit_test(cached_blocks_are_not_the_programs),
		cmocka_unit_test(caches_of_zones_count_while_the_zone_lives),
		cmocka_unit_test(arrays_of_the_depot_are_of_any_class),
		cmocka_unit_test(exchange_with_the_depot),
		cmocka_unit_test(slot_at_the_top_is_in_transit_only_inside),
		cmocka_unit_test(refill_under_way),
		cmocka_unit_test(flush_under_way),
		cmocka_unit_test(flush_leaves_the_rest_in_the_bin),
		cmocka_unit_test(flush_moves_what_stays),
		cmocka_unit_test(growth_under_way),
		cmocka_unit_test(runs_being_cut_hide_no_slab),
		cmocka_unit_test(mapping_without_a_block_is_left_alone),
		cmocka_unit_test(notes_tell_sizes_and_the_programs_pointer),
		cmocka_unit_test(impossible_note_is_told),
		cmocka_unit_test(guarded_blocks_come_from_records),
		cmocka_unit_test(extent_as_large_as_the_address_space),
		cmocka_unit_test(guard_of_another_version_is_told),
		cmocka_unit_test(messages_come_oldest_first_and_printable),
		cmocka_unit_test(freed_twice_is_told_with_its_place),
		cmocka_unit_test(damage_is_named_and_the_rest_is_read),
		cmocka_unit_test(newer_layout_is_not_guessed_at),
		cmocka_unit_test(library_that_was_never_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
