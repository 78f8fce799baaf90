// SPDX-License-Identifier: MIT
// Damaged heaps: what contradicts itself is named with its place, the rest is still read.
#include "unit.h"

#include "toy_heap.h"

enum { BLOCKS = 80 };

static void toy_fill(struct toy *toy, uint64_t *blocks)
{
	toy_init(toy, &toy_236);
	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = toy_block(toy, 48 + 16 * (i % 5));
	toy_close(toy);
}

static const struct heap_fault *only_fault(const struct heaps *heaps, const char *what)
{
	assert_int_equal(heaps->fault_count, 1);
	assert_string_equal(heaps->faults[0].what, what);
	assert_true(heaps->zones[heaps->faults[0].zone].damaged);
	return &heaps->faults[0];
}

static void overwritten_size_names_its_culprit(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	memset(toy_byte(&toy, blocks[10] - 8), 'A', 8); // block 9 was written past its end
	struct heaps *heaps = toy_read(&toy);
	const struct heap_fault *fault = only_fault(heaps, "size of the chunk");
	assert_int_equal(fault->address, blocks[10] - 8);
	assert_int_equal(fault->found, 0x4141414141414141);
	assert_int_equal(fault->block_before, blocks[9]);
	assert_non_null(strstr(fault->text, "main_arena"));
	assert_int_equal(heaps->used_count, BLOCKS - 1); // only block 10 itself is lost
	assert_true(heaps_find(heaps, blocks[11]) >= 0);
	assert_int_equal(heaps_find(heaps, blocks[10]), -1);
	toy_deinit(&toy, heaps);
}

static void rubbish_behind_the_last_block(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	memset(toy_byte(&toy, blocks[BLOCKS - 1] - 16), 0xee, 32);
	struct heaps *heaps = toy_read(&toy);
	only_fault(heaps, "size of the chunk");
	assert_int_equal(heaps->used_count, BLOCKS - 1);
	toy_deinit(&toy, heaps);
}

static void broken_bin_is_named(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	toy_free(&toy, blocks[4], 3);
	toy_free(&toy, blocks[8], 3);
	toy_put(&toy, blocks[4] + 8, 0x1234);
	struct heaps *heaps = toy_read(&toy);
	const struct heap_fault *fault = only_fault(heaps, "list of bin 3");
	assert_int_equal(fault->address, blocks[4] - 16);
	assert_int_equal(fault->found, 0x1234);
	assert_int_equal(fault->block_before, blocks[3]);
	assert_int_equal(heaps->block_count, BLOCKS);
	toy_deinit(&toy, heaps);
}

static void free_chunk_without_a_bin(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	toy_free(&toy, blocks[4], 3);
	toy_put(&toy, toy_bin(&toy, 3) + 16, toy_bin(&toy, 3));
	toy_put(&toy, toy_bin(&toy, 3) + 24, toy_bin(&toy, 3));
	struct heaps *heaps = toy_read(&toy);
	const struct heap_fault *fault = only_fault(heaps, "number of free chunks");
	assert_int_equal(fault->expected, 1);
	assert_int_equal(fault->found, 0);
	toy_deinit(&toy, heaps);
}

static void fastbin_that_leads_nowhere(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	toy_fastbin(&toy, blocks[0]);
	toy_fastbin(&toy, blocks[5]);
	toy_fastbin(&toy, blocks[10]);
	toy_put(&toy, blocks[5], toy_protect(&toy, blocks[5], blocks[20])); // not a chunk
	struct heaps *heaps = toy_read(&toy);
	assert_true(heaps->fault_count >= 1);
	assert_true(heaps->zones[0].damaged);
	assert_int_equal(heaps->block_count, BLOCKS);
	toy_deinit(&toy, heaps);
}

static void wrong_end_of_a_free_chunk(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	toy_free(&toy, blocks[30], 5);
	toy_put(&toy, blocks[31] - 16, 0x990);
	struct heaps *heaps = toy_read(&toy);
	const struct heap_fault *fault = only_fault(heaps, "size of the previous chunk");
	assert_int_equal(fault->found, 0x990);
	assert_int_equal(fault->expected, 48);
	toy_deinit(&toy, heaps);
}

static void mapped_blocks_that_do_not_add_up(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	toy_put(&toy, toy.map_at + 8, 0x5000 | 2);
	toy_counters(&toy, 5, 0x50000);
	struct heaps *heaps = toy_read(&toy);
	const struct heap_fault *fault = only_fault(heaps, "sum of mapped chunks");
	assert_int_equal(fault->expected, 0x50000);
	assert_int_equal(fault->found, 0x5000);
	assert_string_equal(heaps->zones[fault->zone].name, "mmapped");
	assert_false(heaps->zones[0].damaged);
	toy_deinit(&toy, heaps);
}

static void memory_of_the_arena_that_does_not_add_up(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	toy_put(&toy, toy_next(&toy) + 24, TOY_HEAP_BYTES + 4096);
	struct heaps *heaps = toy_read(&toy);
	only_fault(heaps, "memory of the arena");
	toy_deinit(&toy, heaps);
}

static void heap_full_of_rubbish_ends(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	uint32_t random = 1;
	for (size_t i = 64; i < TOY_HEAP_BYTES; i++)
		toy.heap[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
	struct heaps *heaps = toy_read(&toy);
	assert_true(heaps->fault_count >= 1);
	assert_true(heaps->fault_count <= 110);
	toy_deinit(&toy, heaps);
}

// A list that bites its own tail must not be followed for ever.
static void circular_fastbin_ends(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	toy_fastbin(&toy, blocks[0]);
	toy_fastbin(&toy, blocks[5]);
	toy_put(&toy, blocks[0], toy_protect(&toy, blocks[0], blocks[5] - 16));
	struct heaps *heaps = toy_read(&toy);
	only_fault(heaps, "list of fastbin 1");
	toy_deinit(&toy, heaps);
}

static void ring_of_arenas_that_leads_into_rubbish(void **state)
{
	(void)state;
	struct toy toy;
	uint64_t blocks[BLOCKS];
	toy_fill(&toy, blocks);
	toy_put(&toy, toy_next(&toy), toy.heap_at + 64);
	struct heaps *heaps = toy_read(&toy);
	assert_int_equal(heaps->block_count, 0);
	toy_deinit(&toy, heaps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overwritten_size_names_its_culprit),
		cmocka_unit_test(rubbish_behind_the_last_block),
		cmocka_unit_test(broken_bin_is_named),
		cmocka_unit_test(free_chunk_without_a_bin),
		cmocka_unit_test(fastbin_that_leads_nowhere),
		cmocka_unit_test(wrong_end_of_a_free_chunk),
		cmocka_unit_test(mapped_blocks_that_do_not_add_up),
		cmocka_unit_test(memory_of_the_arena_that_does_not_add_up),
		cmocka_unit_test(heap_full_of_rubbish_ends),
		cmocka_unit_test(circular_fastbin_ends),
		cmocka_unit_test(ring_of_arenas_that_leads_into_rubbish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
