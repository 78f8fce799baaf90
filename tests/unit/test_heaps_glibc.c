// SPDX-License-Identifier: MIT
// The reader of glibc's heaps on heaps that are whole: every block is found with its size and state,
// for the layouts of several releases.
#include "unit.h"

#include "toy_heap.h"

enum { BLOCKS = 40 };

static const struct heap_block *block_at(const struct heaps *heaps, uint64_t memory)
{
	ssize_t i = heaps_find(heaps, memory);
	assert_true(i >= 0);
	assert_int_equal(heaps->blocks[i].hb_address, memory);
	return &heaps->blocks[i];
}

static void every_block_is_found(void **state)
{
	const struct toy_form *form = *state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_init(&toy, form);
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = toy_block(&toy, 32 + 16 * (i % 8));
	toy_block(&toy, 64);
	toy_close(&toy);
	toy_free(&toy, blocks[3], 1);
	toy_free(&toy, blocks[7], 1);
	toy_free(&toy, blocks[20], 9);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->block_count, BLOCKS + 1);
	assert_int_equal(heaps->used_count, BLOCKS - 2);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(heaps->unknown_count, 0);
	assert_false(heaps->in_malloc);
	for (unsigned i = 0; i < BLOCKS; i++) {
		const struct heap_block *block = block_at(heaps, blocks[i]);
		bool free = i == 3 || i == 7 || i == 20;
		assert_int_equal(block->hb_state, free ? HEAP_FREE : HEAP_USED);
		assert_int_equal(block->hb_size, 32 + 16 * (i % 8) - form->word);
		assert_ptr_equal(block_at(heaps, blocks[i]), block);
		assert_int_equal(heaps_find(heaps, blocks[i] + block->hb_size - 1),
		                 block - heaps->blocks);
	}
	assert_int_equal(heaps->zone_count, 1);
	assert_string_equal(heaps->zones[0].name, "main_arena");
	assert_int_equal(heaps->zones[0].address, toy.arena);
	assert_int_equal(heaps->zones[0].largest_free_bytes, toy.heap_at + TOY_HEAP_BYTES - toy.at);
	toy_deinit(&toy, heaps);
}

static void nothing_is_found_outside_of_blocks(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_236);
	uint64_t block = toy_block(&toy, 48);
	toy_block(&toy, 32);
	toy_close(&toy);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps_find(heaps, block - 1), -1);
	assert_int_equal(heaps_find(heaps, toy.at + 64), -1); // in the top
	assert_int_equal(heaps_find(heaps, toy.arena), -1);
	assert_int_equal(heaps_find(heaps, 0), -1);
	assert_int_equal(heaps_find(heaps, ~0ull), -1);
	assert_int_equal(heaps_range_at(heaps, toy.arena)->kind, HEAP_RANGE_METADATA);
	assert_int_equal(heaps_range_at(heaps, block)->kind, HEAP_RANGE_BLOCKS);
	assert_null(heaps_range_at(heaps, toy.data_at));
	toy_deinit(&toy, heaps);
}

static void fastbins_hold_cached_blocks(const struct toy_form *form)
{
	struct toy toy;
	uint64_t blocks[6];
	toy_init(&toy, form);
	for (unsigned i = 0; i < 6; i++)
		blocks[i] = toy_block(&toy, 48);
	toy_close(&toy);
	toy_fastbin(&toy, blocks[1]);
	toy_fastbin(&toy, blocks[4]);
	toy_fastbin(&toy, blocks[2]);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->fault_count, 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(block_at(heaps, blocks[i])->hb_state,
		                 i == 1 || i == 2 || i == 4 ? HEAP_CACHED : HEAP_USED);
	toy_deinit(&toy, heaps);
}

static void fastbins_with_plain_and_protected_links(void **state)
{
	(void)state;
	fastbins_hold_cached_blocks(&toy_231);
	fastbins_hold_cached_blocks(&toy_236);
	fastbins_hold_cached_blocks(&toy_i386);
}

// A cache whose 64-byte chunks are blocks[0..2].
static void thread_cache(const struct toy_form *form, uint64_t cache_chunk, unsigned count_bytes,
                         unsigned entries, unsigned empty_count)
{
	struct toy toy;
	uint64_t blocks[4];
	toy_init(&toy, form);
	uint64_t cache = toy_block(&toy, cache_chunk);
	for (unsigned i = 0; i < 4; i++)
		blocks[i] = toy_block(&toy, 64);
	toy_close(&toy);
	unsigned bin = 2; // 32, 48, 64
	for (unsigned i = 0; i < 76 && empty_count; i++)
		*(uint16_t *)toy_byte(&toy, cache + 2 * i) = (uint16_t)empty_count;
	*toy_byte(&toy, cache + bin * count_bytes) = (uint8_t)(empty_count ? empty_count - 3 : 3);
	uint64_t next = 0;
	for (unsigned i = 0; i < 3; i++) {
		toy_put(&toy, blocks[i], toy_protect(&toy, blocks[i], next));
		next = blocks[i];
	}
	toy_put(&toy, cache + entries + 8 * bin, next);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->fault_count, 0);
	assert_false(heaps->in_malloc);
	assert_int_equal(block_at(heaps, blocks[0])->hb_state, HEAP_CACHED);
	assert_int_equal(block_at(heaps, blocks[1])->hb_state, HEAP_CACHED);
	assert_int_equal(block_at(heaps, blocks[2])->hb_state, HEAP_CACHED);
	assert_int_equal(block_at(heaps, blocks[3])->hb_state, HEAP_USED);
	assert_int_equal(block_at(heaps, cache)->hb_flags, HEAP_LOADER);
	toy_deinit(&toy, heaps);
}

static void thread_caches_of_all_forms(void **state)
{
	(void)state;
	thread_cache(&toy_226, 0x250, 1, 64, 0);
	thread_cache(&toy_231, 0x290, 2, 128, 0);
	thread_cache(&toy_236, 0x290, 2, 128, 0);
	thread_cache(&toy_243, 0x300, 2, 152, 16);
}

static void block_that_only_has_the_size_of_a_cache(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_236);
	uint64_t block = toy_block(&toy, 0x290), other = toy_block(&toy, 64);
	toy_block(&toy, 64);
	toy_close(&toy);
	toy_put(&toy, block + 128 + 16, other); // one pointer that fits, but no chain
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(block_at(heaps, other)->hb_state, HEAP_USED);
	assert_int_equal(block_at(heaps, block)->hb_flags, 0);
	toy_deinit(&toy, heaps);
}

static void mapped_blocks_add_up(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_236);
	toy_block(&toy, 64);
	toy_close(&toy);
	toy_put(&toy, toy.map_at + 8, 0x5000 | 2);
	// Aligned to 8192: the first header is left behind, the real one tells its distance.
	toy_put(&toy, toy.map_at + 0x5000 + 8, 0x8000 | 2);
	toy_put(&toy, toy.map_at + 0x7ff0, 0x2ff0);
	toy_put(&toy, toy.map_at + 0x7ff8, 0x5010 | 2);
	toy_counters(&toy, 2, 0xd000);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(heaps->zone_count, 2);
	assert_int_equal(block_at(heaps, toy.map_at + 16)->hb_size, 0x5000 - 16);
	assert_int_equal(block_at(heaps, toy.map_at + 16)->hb_flags, HEAP_MMAPPED);
	assert_int_equal(block_at(heaps, toy.map_at + 0x8000)->hb_size, 0x5010 - 16);
	assert_int_equal(heaps_find(heaps, toy.map_at + 0x5010), -1);
	toy_deinit(&toy, heaps);
}

static void mapped_blocks_of_243_use_the_whole_end(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_243);
	toy_block(&toy, 64);
	toy_close(&toy);
	toy_put(&toy, toy.map_at + 8, 0x4ff0 | 2);
	toy_counters(&toy, 1, 0x5000);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(block_at(heaps, toy.map_at + 16)->hb_size, 0x4ff0 - 8);
	toy_deinit(&toy, heaps);
}

// mremap_chunk of 2.43 counts the header of the old chunk once more, at every realloc.
static void counter_of_243_grows_by_headers(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_243);
	toy.at += 0x540; // the TLS of a static program, which takes the first of the brk memory
	memset(toy_byte(&toy, toy.heap_at), 0x5a, 0x540);
	toy_put(&toy, toy.parameters + 16, toy.at);
	uint64_t first = toy_block(&toy, 64);
	toy_close(&toy);
	toy_put(&toy, toy_next(&toy) + 24, TOY_HEAP_BYTES - 0x540);
	toy_put(&toy, toy.map_at + 8, 0x4ff0 | 2);
	toy_counters(&toy, 1, 0x5000 + 3 * 16);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(heaps->block_count, 2);
	block_at(heaps, first);
	assert_int_equal(block_at(heaps, toy.map_at + 16)->hb_size, 0x4ff0 - 8);
	toy_deinit(&toy, heaps);
}

static void false_mapped_block_is_told_by_the_counters(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_236);
	toy_block(&toy, 64);
	toy_close(&toy);
	toy_put(&toy, toy.map_at + 8, 0x5000 | 2);
	toy_put(&toy, toy.map_at + 0x9000 + 8, 0x3000 | 2); // a program's own data
	toy_put(&toy, toy.map_at + 0x10000 + 8, 0x2000 | 2);
	toy_counters(&toy, 2, 0x7000);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->fault_count, 0);
	assert_true(heaps_find(heaps, toy.map_at + 16) >= 0);
	assert_true(heaps_find(heaps, toy.map_at + 0x10010) >= 0);
	assert_int_equal(heaps_find(heaps, toy.map_at + 0x9010), -1);
	toy_deinit(&toy, heaps);
}

static void foreign_sbrk_is_no_heap(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_236);
	uint64_t first = toy_block(&toy, 64);
	toy_block(&toy, 16); // two fenceposts
	toy_block(&toy, 16);
	uint64_t foreign = toy.at;
	memset(toy_byte(&toy, foreign), 0x5a, 4096);
	toy.at += 4096;
	uint64_t behind = toy_block(&toy, 96);
	toy_close(&toy);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(heaps->block_count, 2);
	block_at(heaps, first);
	block_at(heaps, behind);
	assert_null(heaps_range_at(heaps, foreign + 100));
	toy_deinit(&toy, heaps);
}

static void locked_arena_asks_for_another_look(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_236);
	uint64_t split = toy_block(&toy, 4096), behind = toy_block(&toy, 64);
	toy_block(&toy, 64);
	toy_close(&toy);
	toy_free(&toy, split, 1);
	// malloc took 64 bytes of the free chunk; the header of the rest is not written yet.
	toy_put(&toy, split - 8, 64 | 1);
	toy_put(&toy, toy_bin(&toy, 1) + 16, split - 16 + 64);
	toy_put(&toy, toy_bin(&toy, 1) + 24, split - 16 + 64);
	toy_put_int(&toy, toy.arena, 1);
	struct heaps *heaps = toy_read(&toy);
	assert_true(heaps->in_malloc);
	assert_int_equal(heaps->fault_count, 0);
	assert_int_equal(block_at(heaps, behind)->hb_state, HEAP_USED);
	assert_int_equal(heaps->used_count, 3);
	toy_deinit(&toy, heaps);
}

// A thread's control block is {itself, vector + 16}; its TLS lies before it.
static void tls_vector_belongs_to_the_loader(void **state)
{
	(void)state;
	struct toy toy;
	toy_init(&toy, &toy_236);
	uint64_t vector = toy_block(&toy, 320), alike = toy_block(&toy, 320);
	toy_close(&toy);
	toy_put(&toy, vector, 17);
	toy_put(&toy, alike, 17);
	toy_put(&toy, vector + 32, toy.map_at + 0x1800);
	toy_put(&toy, alike + 32, toy.map_at + 0x1800);
	toy_put(&toy, toy.map_at + 0x1900, toy.map_at + 0x1900);
	toy_put(&toy, toy.map_at + 0x1908, vector + 16);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(block_at(heaps, vector)->hb_flags, HEAP_LOADER);
	assert_int_equal(block_at(heaps, alike)->hb_flags, 0);
	toy_deinit(&toy, heaps);
}

static void no_allocator_is_said(void **state)
{
	(void)state;
	uint8_t bytes[4096] = { 0 };
	struct target_file file = { .path = "/usr/lib/libjemalloc.so.2" };
	struct target_segment segment = { .start = 0x10000,
		                          .end = 0x11000,
		                          .image = bytes,
		                          .readable = true,
		                          .protection = TARGET_READ | TARGET_WRITE,
		                          .contents_end = 0x11000 };
	struct heaps *heaps;
	struct target *target = target_from_segments(&segment, 1, 8);
	assert_null(heaps_read(target, NULL, &heaps));
	assert_int_equal(heaps->unknown_count, 1);
	assert_string_equal(heaps->unknown[0].name, "unknown");
	assert_int_equal(heaps->block_count, 0);
	heaps_close(heaps);
	target_close(target);
	segment.file = &file;
	target = target_from_segments(&segment, 1, 8);
	assert_null(heaps_read(target, NULL, &heaps));
	assert_int_equal(heaps->unknown_count, 1);
	assert_string_equal(heaps->unknown[0].name, "jemalloc");
	heaps_close(heaps);
	target_close(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(every_block_is_found, (void *)&toy_226),
		cmocka_unit_test_prestate(every_block_is_found, (void *)&toy_231),
		cmocka_unit_test_prestate(every_block_is_found, (void *)&toy_236),
		cmocka_unit_test_prestate(every_block_is_found, (void *)&toy_243),
		cmocka_unit_test_prestate(every_block_is_found, (void *)&toy_i386),
		cmocka_unit_test(nothing_is_found_outside_of_blocks),
		cmocka_unit_test(fastbins_with_plain_and_protected_links),
		cmocka_unit_test(thread_caches_of_all_forms),
		cmocka_unit_test(block_that_only_has_the_size_of_a_cache),
		cmocka_unit_test(mapped_blocks_add_up),
		cmocka_unit_test(mapped_blocks_of_243_use_the_whole_end),
		cmocka_unit_test(counter_of_243_grows_by_headers),
		cmocka_unit_test(false_mapped_block_is_told_by_the_counters),
		cmocka_unit_test(foreign_sbrk_is_no_heap),
		cmocka_unit_test(locked_arena_asks_for_another_look),
		cmocka_unit_test(tls_vector_belongs_to_the_loader),
		cmocka_unit_test(no_allocator_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
