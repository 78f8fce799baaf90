// SPDX-License-Identifier: MIT
// The mark phase: which blocks the roots reach, in every shape a heap can have, through bitmaps and
// lists, in the tool and in the image.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "heaps/heaps.h"
#include "scan/scan.h"
#include "unit_blob.h"

static_assert(sizeof(struct heap_block) == sizeof(struct scan_block), "one layout");

// A heap of our own: blocks lie in `bytes`, which the scan sees at address `base`.
struct world {
	uint64_t base;
	uint8_t *bytes;
	size_t size;
	struct scan_block *blocks;
	size_t count, capacity;
	struct scan_range *ranges;
	size_t range_count;
	uint64_t values[8];
	size_t value_count;
	uint32_t opaque[8], kept[8];
	size_t opaque_count, kept_count;
	struct scan_image images[4];
	size_t image_count;
	unsigned word_bytes;
	bool trace;
	size_t frontier_capacity;
	struct scan_job *job;
};

#define BASE 0x550000001000u

static void world_open(struct world *world, size_t size, size_t capacity)
{
	*world =
		(struct world){ .base = BASE, .size = size, .word_bytes = 8, .capacity = capacity };
	world->bytes = calloc(1, size);
	world->blocks = calloc(capacity, sizeof(*world->blocks));
	world->images[0] = (struct scan_image){ BASE, BASE + size, (uintptr_t)world->bytes };
	world->image_count = 1;
}

static void world_close(struct world *world)
{
	free(world->bytes);
	free(world->blocks);
	free(world->job);
}

static uint32_t block_add(struct world *world, uint64_t offset, uint64_t bytes)
{
	assert_true(world->count < world->capacity);
	world->blocks[world->count] =
		(struct scan_block){ .address = world->base + offset, .bytes = bytes };
	return (uint32_t)world->count++;
}

// Puts a pointer to the inside of a block into memory.
static void point(struct world *world, uint64_t offset, uint32_t to, uint64_t to_offset)
{
	uint64_t value = world->blocks[to].address + to_offset;

	memcpy(world->bytes + offset, &value, world->word_bytes);
}

static void link_blocks(struct world *world, uint32_t from, uint64_t offset, uint32_t to)
{
	point(world, world->blocks[from].address - world->base + offset, to, 0);
}

static void value_add(struct world *world, uint64_t value)
{
	world->values[world->value_count++] = value;
}

static struct scan_input world_input(const struct world *world)
{
	return (struct scan_input){
		.blocks = world->blocks,
		.block_count = world->count,
		.opaque = world->opaque,
		.opaque_count = world->opaque_count,
		.kept = world->kept,
		.kept_count = world->kept_count,
		.ranges = world->ranges,
		.range_count = world->range_count,
		.values = world->values,
		.value_count = world->value_count,
		.images = world->images,
		.image_count = world->image_count,
		.word_bytes = world->word_bytes,
		.trace = world->trace,
		.frontier_capacity = world->frontier_capacity,
	};
}

static struct scan_job *job_make(const struct scan_input *input)
{
	struct scan_plan plan;
	void *memory;

	assert_true(scan_measure(input, &plan));
	memory = aligned_alloc(64, plan.bytes);
	memset(memory, 0, plan.bytes);
	return scan_fill(input, &plan, memory);
}

static void mark(struct world *world)
{
	struct scan_input input = world_input(world);

	free(world->job);
	world->job = job_make(&input);
	scan_mark(world->job);
}

static bool reached(const struct world *world, uint32_t block)
{
	return scan_closed(world->job, block);
}

// --- shapes ------------------------------------------------------------------------------------
static void follows_lists_and_trees(void **state)
{
	struct world world;
	uint32_t i;

	(void)state;
	world_open(&world, 1 << 20, 64);
	for (i = 0; i < 20; i++)
		block_add(&world, 64 * i, 48);
	value_add(&world, world.blocks[0].address);
	for (i = 0; i < 4; i++)
		link_blocks(&world, i, 8, i + 1); // a list 0..4
	for (i = 4; i < 7; i++) {                 // a tree below 4
		link_blocks(&world, i, 0, 2 * i - 3);
		link_blocks(&world, i, 40, 2 * i - 2);
	}
	link_blocks(&world, 18, 0, 19); // and two that nothing reaches
	mark(&world);
	for (i = 0; i <= 10; i++)
		assert_true(reached(&world, i));
	for (i = 11; i < 20; i++)
		assert_false(reached(&world, i));
	assert_int_equal(world.job->reached_count, 11);
	world_close(&world);
}

static void counts_interior_pointers_but_not_the_end(void **state)
{
	struct world world;
	uint32_t inside, end, empty, behind_empty, last_byte;

	(void)state;
	world_open(&world, 1 << 16, 16);
	inside = block_add(&world, 0, 5000);
	end = block_add(&world, 0x2000, 24);
	empty = block_add(&world, 0x2020, 0);
	behind_empty = block_add(&world, 0x2040, 0);
	last_byte = block_add(&world, 0x3000, 24);
	value_add(&world, world.blocks[inside].address + 4999);
	value_add(&world, world.blocks[end].address + 24);
	value_add(&world, world.blocks[empty].address);
	value_add(&world, world.blocks[behind_empty].address + 1);
	value_add(&world, world.blocks[last_byte].address + 23);
	mark(&world);
	assert_true(reached(&world, inside));
	assert_false(reached(&world, end));
	assert_true(reached(&world, empty));
	assert_false(reached(&world, behind_empty));
	assert_true(reached(&world, last_byte));
	world_close(&world);
}

static void ignores_words_that_are_not_aligned(void **state)
{
	struct world world;
	struct scan_range ranges[1];
	uint32_t aligned, unaligned;

	(void)state;
	world_open(&world, 1 << 16, 4);
	aligned = block_add(&world, 0x1000, 32);
	unaligned = block_add(&world, 0x2000, 32);
	ranges[0] = (struct scan_range){ BASE + 4, BASE + 28 }; // words at 8 and 16 only
	world.ranges = ranges;
	world.range_count = 1;
	point(&world, 8, aligned, 0);
	point(&world, 20, unaligned, 0);
	mark(&world);
	assert_true(reached(&world, aligned));
	assert_false(reached(&world, unaligned));
	world_close(&world);
}

static void follows_words_of_32_bits(void **state)
{
	struct world world;
	uint32_t first, second, third;

	(void)state;
	world_open(&world, 1 << 16, 4);
	world.base = 0x08050000;
	world.word_bytes = 4;
	world.images[0] =
		(struct scan_image){ world.base, world.base + world.size, (uintptr_t)world.bytes };
	first = block_add(&world, 0x0, 12);
	second = block_add(&world, 0x20, 12);
	third = block_add(&world, 0x40, 12);
	link_blocks(&world, first, 4, second);
	link_blocks(&world, second, 8, third);
	value_add(&world, world.blocks[first].address);
	mark(&world);
	assert_true(reached(&world, second));
	assert_true(reached(&world, third));
	world_close(&world);
}

static void neither_marks_nor_follows_free_blocks(void **state)
{
	struct world world;
	uint32_t used, freed, behind;

	(void)state;
	world_open(&world, 1 << 16, 4);
	used = block_add(&world, 0, 32);
	freed = block_add(&world, 48, 32);
	behind = block_add(&world, 96, 32);
	world.blocks[freed].state = 1;
	link_blocks(&world, used, 0, freed);
	link_blocks(&world, freed, 0, behind);
	value_add(&world, world.blocks[used].address);
	mark(&world);
	assert_true(reached(&world, used));
	assert_int_equal(world.job->reached_count, 1);
	assert_false(reached(&world, behind));
	world_close(&world);
}

static void keeps_contents_of_opaque_blocks_unread(void **state)
{
	struct world world;
	uint32_t used, behind;

	(void)state;
	world_open(&world, 1 << 16, 4);
	used = block_add(&world, 0, 32);
	behind = block_add(&world, 48, 32);
	link_blocks(&world, used, 0, behind);
	world.opaque[world.opaque_count++] = used;
	value_add(&world, world.blocks[used].address + 31);
	mark(&world);
	assert_true(reached(&world, used));
	assert_false(reached(&world, behind));
	world_close(&world);
}

static void counts_kept_blocks_as_reached(void **state)
{
	struct world world;
	struct scan_range ranges[1];
	uint32_t kept, behind;

	(void)state;
	world_open(&world, 1 << 16, 4);
	kept = block_add(&world, 0, 32);
	behind = block_add(&world, 48, 32);
	link_blocks(&world, kept, 0, behind);
	world.kept[world.kept_count++] = kept;
	ranges[0] = (struct scan_range){ BASE, BASE + 32 };
	world.ranges = ranges;
	world.range_count = 1;
	mark(&world);
	assert_true(reached(&world, kept));
	assert_true(reached(&world, behind));
	world_close(&world);
}

// A block of several granules, in which nothing else starts, and one of more than 4 GiB.
static void finds_the_start_of_huge_blocks(void **state)
{
	struct world world;
	uint32_t before, huge, after, giant;

	(void)state;
	world_open(&world, 1 << 12, 8);
	before = block_add(&world, 0, 32);
	huge = block_add(&world, 0x1000, 100 << 20);
	after = block_add(&world, (200 << 20), 32);
	giant = block_add(&world, (uint64_t)1 << 32, (uint64_t)5 << 30);
	value_add(&world, world.blocks[huge].address + (90 << 20));
	value_add(&world, world.blocks[huge].address + (100 << 20)); // its end
	value_add(&world, world.blocks[giant].address + ((uint64_t)5 << 30) - 1);
	mark(&world);
	assert_false(reached(&world, before));
	assert_true(reached(&world, huge));
	assert_false(reached(&world, after));
	assert_true(reached(&world, giant));
	assert_true(world.job->missing_bytes >= (uint64_t)5 << 30);
	world_close(&world);
}

static void says_how_much_was_missing(void **state)
{
	struct world world;
	uint32_t across, found, lost;

	(void)state;
	world_open(&world, 1 << 16, 4);
	across = block_add(&world, 0x0, 0x3000);
	lost = block_add(&world, 0x4000, 32);
	found = block_add(&world, 0x5000, 32);
	world.images[0].end = BASE + 0x1000;
	world.images[1] = (struct scan_image){ BASE + 0x2000, BASE + 0x8000,
		                               (uintptr_t)world.bytes + 0x2000 };
	world.image_count = 2;
	point(&world, 0x1800, lost, 0);
	point(&world, 0x2800, found, 0);
	value_add(&world, world.blocks[across].address);
	mark(&world);
	assert_false(reached(&world, lost));
	assert_true(reached(&world, found));
	assert_int_equal(world.job->missing_bytes, 0x1000);
	world_close(&world);
}

// Blocks of 8 bytes that begin at every multiple of 8.
static void tells_neighbours_in_one_slot_apart(void **state)
{
	struct world world;
	uint32_t i;

	(void)state;
	world_open(&world, 1 << 20, 10000);
	for (i = 0; i < 10000; i++)
		block_add(&world, 8 * i, 8);
	for (i = 0; i + 3 < 10000; i += 3)
		link_blocks(&world, i, 0, i + 3);
	value_add(&world, world.blocks[0].address + 7);
	mark(&world);
	for (i = 0; i < 10000; i++)
		assert_int_equal(reached(&world, i), i % 3 == 0);
	world_close(&world);
}

static void refuses_blocks_that_overlap(void **state)
{
	struct world world;
	struct scan_input input;
	struct scan_plan plan;

	(void)state;
	world_open(&world, 1 << 12, 4);
	block_add(&world, 0, 32);
	block_add(&world, 31, 32);
	input = world_input(&world);
	assert_false(scan_measure(&input, &plan));
	world.blocks[1].address = world.blocks[0].address - 64;
	assert_false(scan_measure(&input, &plan));
	world.blocks[1].address = UINT64_MAX - 8;
	assert_false(scan_measure(&input, &plan));
	world_close(&world);
}

static void refuses_blocks_larger_than_any_memory(void **state)
{
	enum { COUNT = 100 };
	const uint64_t bytes = ((uint64_t)1 << 40) - 1;
	struct world world;
	struct scan_input input;
	struct scan_plan plan;
	uint64_t i;

	(void)state;
	world_open(&world, 1 << 12, COUNT);
	for (i = 0; i < COUNT; i++)
		block_add(&world, i << 40, bytes);
	input = world_input(&world);
	assert_false(scan_measure(&input, &plan));
	input.block_count = 4;
	assert_true(scan_measure(&input, &plan));
	assert_true(plan.bytes < 64 << 20);
	world_close(&world);
}

static void marks_nothing_in_an_empty_heap(void **state)
{
	struct world world;
	uint64_t start;

	(void)state;
	world_open(&world, 1 << 12, 4);
	value_add(&world, 0);
	value_add(&world, BASE);
	mark(&world);
	assert_int_equal(world.job->reached_count, 0);
	assert_int_equal(scan_find(world.job, BASE, &start), SCAN_NO_BLOCK);
	world_close(&world);
}

// --- size --------------------------------------------------------------------------------------
static void follows_a_list_of_a_million_in_little_memory(void **state)
{
	enum { COUNT = 1 << 20 };
	struct world world;
	uint32_t i;

	(void)state;
	world_open(&world, (size_t)COUNT * 32, COUNT);
	for (i = 0; i < COUNT; i++)
		block_add(&world, (uint64_t)32 * i, 24);
	for (i = 0; i + 1 < COUNT; i++)
		link_blocks(&world, (uint32_t)(i * 7919u % COUNT), 0,
		            (uint32_t)((i + 1) * 7919u % COUNT));
	value_add(&world, world.blocks[0].address);
	world.frontier_capacity = 1;
	mark(&world);
	assert_int_equal(world.job->reached_count, COUNT);
	assert_int_equal(world.job->overflow_count, 0);
	world_close(&world);
}

static void survives_a_full_frontier(void **state)
{
	enum { FAN = 5000 };
	struct world world;
	uint32_t i, j;

	(void)state;
	world_open(&world, 1 << 20, 3 * FAN + 1);
	block_add(&world, 0, 8 * FAN);
	for (i = 0; i < 3 * FAN; i++)
		block_add(&world, 0x10000 + 32 * i, 24);
	for (i = 0; i < FAN; i++) {
		link_blocks(&world, 0, 8 * i, 1 + i);
		for (j = 0; j < 2; j++)
			link_blocks(&world, 1 + i, 8 * j, 1 + FAN + i + j * FAN);
	}
	value_add(&world, world.blocks[0].address);
	world.frontier_capacity = 4;
	mark(&world);
	assert_int_equal(world.job->reached_count, 3 * FAN + 1);
	assert_true(world.job->overflow_count > 0);
	world_close(&world);
}

// --- who reached whom ----------------------------------------------------------------------------
static void tells_the_owner_in_breadth(void **state)
{
	struct world world;
	struct scan_range ranges[1];
	const struct scan_owner *owners;
	uint32_t i;

	(void)state;
	world_open(&world, 1 << 16, 8);
	for (i = 0; i < 6; i++)
		block_add(&world, 0x1000 + 0x1000 * i, 0xff0);
	ranges[0] = (struct scan_range){ BASE, BASE + 64 };
	world.ranges = ranges;
	world.range_count = 1;
	world.trace = true;
	point(&world, 24, 0, 0);
	value_add(&world, 1);
	value_add(&world, world.blocks[5].address);
	value_add(&world, world.blocks[0].address); // a register that holds what a variable holds
	point(&world, 0x1008, 1, 4);
	link_blocks(&world, 1, 16, 2);
	link_blocks(&world, 2, 24, 3);
	link_blocks(&world, 0, 0xff0 - 16, 3); // the shorter way, late in a block of several pieces
	link_blocks(&world, 3, 0, 0);
	mark(&world);
	owners = scan_owners(world.job);
	assert_int_equal(owners[0].owner, SCAN_NO_BLOCK);
	assert_int_equal(owners[0].where, BASE + 24);
	assert_int_equal(owners[1].owner, 0);
	assert_int_equal(owners[1].offset, 8);
	assert_int_equal(owners[1].where, 4);
	assert_int_equal(owners[2].owner, 1);
	assert_int_equal(owners[2].offset, 16);
	assert_int_equal(owners[3].owner, 0);
	assert_int_equal(owners[3].offset, 0xff0 - 16);
	assert_int_equal(owners[5].owner, SCAN_NO_BLOCK);
	assert_int_equal(owners[5].where, 0);
	assert_int_equal(owners[5].offset, 1);
	assert_false(reached(&world, 4));
	world_close(&world);
}

// --- random graphs, against a plain walk ------------------------------------------------------------
static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

// Blocks of mixed sizes, tightly or with gaps, some free; each word a pointer with odds 1 in 3.
static void random_fill(struct world *world, uint64_t seed, size_t count)
{
	uint64_t offset = 0, odds = random_next(&seed) % 12 + 4;
	size_t i;

	for (i = 0; i < count; i++) {
		uint64_t bytes = random_next(&seed) % (i % 97 ? 100 : 20000);

		block_add(world, offset, bytes);
		if (random_next(&seed) % 10 == 0)
			world->blocks[i].state = 1;
		offset += ((bytes + 15) & ~(uint64_t)15) + 16 + random_next(&seed) % 3 * 16;
	}
	assert_true(offset <= world->size);
	for (i = 0; i < count; i++) {
		uint64_t at = world->blocks[i].address - world->base, word;

		for (word = 0; word + 8 <= world->blocks[i].bytes; word += 8)
			if (random_next(&seed) % odds == 0)
				point(world, at + word, (uint32_t)(random_next(&seed) % count),
				      random_next(&seed) % 64);
	}
	for (i = 0; i < 3; i++)
		value_add(world, world->blocks[random_next(&seed) % count].address);
}

static uint32_t plain_find(const struct world *world, uint64_t value)
{
	size_t low = 0, high = world->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (world->blocks[middle].address <= value)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || world->blocks[low - 1].state != SCAN_USED)
		return SCAN_NO_BLOCK;
	if (value != world->blocks[low - 1].address &&
	    value - world->blocks[low - 1].address >= world->blocks[low - 1].bytes)
		return SCAN_NO_BLOCK;
	return (uint32_t)low - 1;
}

static void plain_mark(const struct world *world, bool *marks)
{
	uint32_t *stack = calloc(world->count + 1, sizeof(*stack)), block;
	size_t depth = 0, i;

	for (i = 0; i < world->value_count; i++) {
		block = plain_find(world, world->values[i]);
		if (block != SCAN_NO_BLOCK && !marks[block]) {
			marks[block] = true;
			stack[depth++] = block;
		}
	}
	while (depth) {
		const struct scan_block *from = &world->blocks[stack[--depth]];

		for (i = 0; i + 8 <= from->bytes; i += 8) {
			uint64_t value;

			memcpy(&value, world->bytes + (from->address - world->base) + i, 8);
			block = plain_find(world, value);
			if (block != SCAN_NO_BLOCK && !marks[block]) {
				marks[block] = true;
				stack[depth++] = block;
			}
		}
	}
	free(stack);
}

static void assert_same_marks(const struct world *world, const bool *marks)
{
	size_t i;

	for (i = 0; i < world->count; i++)
		assert_int_equal(marks[i] || world->blocks[i].state != SCAN_USED,
		                 reached(world, (uint32_t)i));
}

static void agrees_with_a_plain_walk_on_random_graphs(void **state)
{
	const size_t counts[] = { 1, 10, 1000, 20000, 60000 };
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= 10; seed++) {
		size_t count = counts[seed % 5];
		struct world world;
		bool *marks = calloc(count, sizeof(*marks));

		world_open(&world, count * 512 + 65536, count);
		random_fill(&world, seed * 0x9e3779b9, count);
		plain_mark(&world, marks);
		mark(&world);
		assert_same_marks(&world, marks);
		world.frontier_capacity = 16;
		mark(&world);
		assert_same_marks(&world, marks);
		world.trace = true;
		mark(&world);
		assert_same_marks(&world, marks);
		free(marks);
		world_close(&world);
	}
}

static void image_marks_as_the_tool_does(void **state)
{
	uint64_t seed;

	(void)state;
	if (!unit_blob_usable())
		skip();
	for (seed = 1; seed <= 6; seed++) {
		struct world world;
		struct scan_input input;
		bool *marks = calloc(30000, sizeof(*marks));

		world_open(&world, 30000 * 512, 30000);
		world.base = (uintptr_t)world.bytes;
		random_fill(&world, seed * 77777, 30000);
		plain_mark(&world, marks);
		input = world_input(&world);
		input.identity = true;
		input.image_count = 0;
		world.job = job_make(&input);
		unit_blob_run(world.job);
		assert_same_marks(&world, marks);
		free(marks);
		world_close(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_lists_and_trees),
		cmocka_unit_test(counts_interior_pointers_but_not_the_end),
		cmocka_unit_test(ignores_words_that_are_not_aligned),
		cmocka_unit_test(follows_words_of_32_bits),
		cmocka_unit_test(neither_marks_nor_follows_free_blocks),
		cmocka_unit_test(keeps_contents_of_opaque_blocks_unread),
		cmocka_unit_test(counts_kept_blocks_as_reached),
		cmocka_unit_test(finds_the_start_of_huge_blocks),
		cmocka_unit_test(says_how_much_was_missing),
		cmocka_unit_test(tells_neighbours_in_one_slot_apart),
		cmocka_unit_test(refuses_blocks_that_overlap),
		cmocka_unit_test(refuses_blocks_larger_than_any_memory),
		cmocka_unit_test(marks_nothing_in_an_empty_heap),
		cmocka_unit_test(follows_a_list_of_a_million_in_little_memory),
		cmocka_unit_test(survives_a_full_frontier),
		cmocka_unit_test(tells_the_owner_in_breadth),
		cmocka_unit_test(agrees_with_a_plain_walk_on_random_graphs),
		cmocka_unit_test(image_marks_as_the_tool_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
