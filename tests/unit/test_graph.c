// SPDX-License-Identifier: MIT
// The graph over byte buffers: leaks and their kinds, owners and sums, references and paths, over
// images and through the code that runs in a clone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "graph/graph.h"
#include "unit_blob.h"

#define HEAP_BASE  0x550000000000u
#define DATA_BASE  0x600000000000u
#define DATA_BYTES 4096

// A target with a heap and a data segment, blocks and roots made by hand.
struct world {
	struct target *target;
	struct target_ops ops;
	struct target_segment segments[3];
	struct heap_block *blocks;
	struct heaps heaps;
	struct root_range range;
	struct root_value values[4];
	struct roots roots;
	struct graph *graph;
	uint8_t *heap, *data;
	const uint8_t *data_image; // of a clone that lacks its data
	uint64_t heap_base, data_base;
	size_t heap_bytes, capacity;
};

static struct world *current; // whose roots regions_roots gives

// Stands in for the room regions, whose own tests cover it.
struct error *regions_roots(struct regions *regions, const struct roots **ret)
{
	(void)regions;
	*ret = &current->roots;
	return NULL;
}

static void *pages(size_t bytes)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

// identity: the target's addresses are our own, as code in a clone sees them.
static void world_open(struct world *world, size_t heap_bytes, size_t capacity, bool identity)
{
	*world = (struct world){ .heap_bytes = heap_bytes, .capacity = capacity };
	world->heap = pages(heap_bytes);
	world->data = pages(DATA_BYTES);
	world->heap_base = identity ? (uintptr_t)world->heap : HEAP_BASE;
	world->data_base = identity ? (uintptr_t)world->data : DATA_BASE;
	world->blocks = calloc(capacity, sizeof(*world->blocks));
	world->heaps.blocks = world->blocks;
	current = world;
}

static uint32_t block_add(struct world *world, uint64_t offset, uint64_t bytes)
{
	uint32_t block = (uint32_t)world->heaps.block_count++;

	assert_true(block < world->capacity);
	world->blocks[block].hb_address = world->heap_base + offset;
	world->blocks[block].hb_size = bytes;
	return block;
}

static void blocks_add(struct world *world, size_t count, uint64_t bytes)
{
	size_t i;

	for (i = 0; i < count; i++)
		block_add(world, i * ((bytes + 31) & ~(uint64_t)15), bytes);
}

static void put(struct world *world, uint32_t from, uint64_t offset, uint32_t to,
                uint64_t to_offset)
{
	uint64_t value = world->blocks[to].hb_address + to_offset;

	memcpy(world->heap + (world->blocks[from].hb_address - world->heap_base) + offset, &value,
	       8);
}

static void root(struct world *world, uint64_t offset, uint32_t to, uint64_t to_offset)
{
	uint64_t value = world->blocks[to].hb_address + to_offset;

	memcpy(world->data + offset, &value, 8);
}

static void root_value(struct world *world, const char *what, uint32_t to)
{
	world->values[world->roots.value_count++] = (struct root_value){
		.value = world->blocks[to].hb_address, .kind = ROOT_REGISTER, .what = what
	};
}

static void segment_set(struct world *world, size_t i, uint64_t start, size_t bytes, uint8_t *image)
{
	world->segments[i] = (struct target_segment){ .start = start,
		                                      .end = start + bytes,
		                                      .contents_end = start + bytes,
		                                      .image = image,
		                                      .readable = true,
		                                      .protection = TARGET_READ | TARGET_WRITE };
}

static void world_target(struct world *world)
{
	bool heap_first = world->heap_base < world->data_base;

	segment_set(world, !heap_first, world->heap_base, world->heap_bytes, world->heap);
	segment_set(world, heap_first, world->data_base, DATA_BYTES, world->data);
	world->target = target_from_segments(world->segments, 2, 8);
	world->ops = *world->target->ops;
	world->target->ops = &world->ops;
	world->range = (struct root_range){ .start = world->data_base,
		                            .end = world->data_base + DATA_BYTES };
	world->roots.ranges = &world->range;
	world->roots.range_count = 1;
	world->roots.values = world->values;
}

static void build(struct world *world)
{
	if (!world->target)
		world_target(world);
	assert_null(graph_build(world->target, &world->heaps, NULL, &world->graph));
}

static void world_close(struct world *world)
{
	graph_close(world->graph);
	target_close(world->target);
	munmap(world->heap, world->heap_bytes);
	munmap(world->data, DATA_BYTES);
	free(world->blocks);
}

static void assert_leak(const struct world *world, uint32_t block, enum leak_kind kind,
                        uint32_t leak_root, uint32_t owner, uint32_t count)
{
	const struct leak *leak = graph_leak_of(world->graph, block);

	assert_non_null(leak);
	assert_int_equal(leak->lk_block, block);
	assert_int_equal(leak->lk_kind, kind);
	assert_int_equal(leak->lk_root, leak_root);
	assert_int_equal(leak->lk_owner, owner);
	assert_int_equal(leak->lk_tree_count, count);
}

// --- kinds ---------------------------------------------------------------------------------------
static void finds_nothing_when_all_is_reached(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, 1 << 16, 8, false);
	blocks_add(&world, 3, 32);
	root(&world, 8, 0, 0);
	put(&world, 0, 0, 1, 31);
	root_value(&world, "rbx", 2);
	build(&world);
	assert_int_equal(world.graph->leak_count, 0);
	assert_true(graph_reached(world.graph, 1));
	assert_null(graph_leak_of(world.graph, 1));
	world_close(&world);
}

static void groups_a_tree_under_its_root(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, 1 << 16, 8, false);
	blocks_add(&world, 6, 32);
	put(&world, 3, 8, 0, 0); // 3 -> 0, 5; 0 -> 1; 1 and 5 share 2; 4 stands alone
	put(&world, 3, 16, 5, 0);
	put(&world, 0, 24, 1, 4);
	put(&world, 1, 0, 2, 0);
	put(&world, 5, 0, 2, 0);
	build(&world);
	assert_int_equal(world.graph->leak_count, 6);
	assert_int_equal(world.graph->leak_bytes, 6 * 32);
	assert_leak(&world, 3, LEAK_ROOT, 3, GRAPH_NO_BLOCK, 5);
	assert_leak(&world, 0, LEAK_INDIRECT, 3, 3, 2);
	assert_leak(&world, 5, LEAK_INDIRECT, 3, 3, 2);
	assert_leak(&world, 1, LEAK_INDIRECT, 3, 0, 1);
	assert_leak(&world, 2, LEAK_INDIRECT, 3, 5, 1); // the shorter way
	assert_leak(&world, 4, LEAK_ROOT, 4, GRAPH_NO_BLOCK, 1);
	assert_int_equal(graph_leak_of(world.graph, 0)->lk_owner_offset, 8);
	assert_int_equal(graph_leak_of(world.graph, 1)->lk_owner_offset, 24);
	assert_int_equal(graph_leak_of(world.graph, 3)->lk_tree_bytes, 5 * 32);
	world_close(&world);
}

static void tells_rings_from_lists(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, 1 << 16, 16, false);
	blocks_add(&world, 12, 32);
	put(&world, 0, 0, 1, 0); // a ring of three, with a tail
	put(&world, 1, 0, 2, 0);
	put(&world, 2, 0, 0, 0);
	put(&world, 1, 8, 3, 0);
	put(&world, 4, 0, 5, 0); // a list whose end is a ring
	put(&world, 5, 0, 6, 0);
	put(&world, 6, 0, 5, 0);
	put(&world, 7, 0, 7, 16); // itself
	put(&world, 8, 0, 9, 0);  // a ring under a ring
	put(&world, 9, 0, 8, 0);
	put(&world, 9, 8, 10, 0);
	put(&world, 10, 0, 11, 0);
	put(&world, 11, 0, 10, 0);
	build(&world);
	assert_leak(&world, 0, LEAK_CYCLE, 0, GRAPH_NO_BLOCK, 4);
	assert_leak(&world, 1, LEAK_INDIRECT, 0, 0, 3);
	assert_leak(&world, 3, LEAK_INDIRECT, 0, 1, 1);
	assert_leak(&world, 4, LEAK_ROOT, 4, GRAPH_NO_BLOCK, 3);
	assert_leak(&world, 5, LEAK_INDIRECT, 4, 4, 2);
	assert_leak(&world, 7, LEAK_CYCLE, 7, GRAPH_NO_BLOCK, 1);
	assert_leak(&world, 8, LEAK_CYCLE, 8, GRAPH_NO_BLOCK, 4);
	assert_leak(&world, 10, LEAK_INDIRECT, 8, 9, 2);
	world_close(&world);
}

static void holds_a_ring_by_what_references_it(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, 1 << 16, 8, false);
	blocks_add(&world, 4, 32);
	put(&world, 0, 0, 1, 0);
	put(&world, 1, 0, 0, 0);
	put(&world, 3, 0, 1, 0); // a block behind it in memory
	build(&world);
	assert_leak(&world, 3, LEAK_ROOT, 3, GRAPH_NO_BLOCK, 3);
	assert_leak(&world, 1, LEAK_INDIRECT, 3, 3, 2);
	assert_leak(&world, 0, LEAK_INDIRECT, 3, 1, 1);
	world_close(&world);
}

static void follows_neither_free_blocks_nor_into_them(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, 1 << 16, 8, false);
	blocks_add(&world, 3, 32);
	world.blocks[1].hb_state = HEAP_CACHED;
	root(&world, 0, 1, 0);
	put(&world, 1, 0, 2, 0);
	put(&world, 0, 0, 1, 0);
	build(&world);
	assert_int_equal(world.graph->leak_count, 2);
	assert_false(graph_reached(world.graph, 1));
	assert_null(graph_leak_of(world.graph, 1));
	assert_leak(&world, 2, LEAK_ROOT, 2, GRAPH_NO_BLOCK, 1);
	world_close(&world);
}

static void keeps_what_the_loader_made(void **state)
{
	struct world world;
	struct arena arena;
	const struct graph_reference *steps;
	size_t count;

	(void)state;
	world_open(&world, 1 << 16, 8, false);
	blocks_add(&world, 3, 32);
	world.blocks[0].hb_flags = HEAP_LOADER;
	put(&world, 0, 8, 1, 0);
	build(&world);
	assert_true(graph_reached(world.graph, 0));
	assert_true(graph_reached(world.graph, 1));
	assert_int_equal(world.graph->leak_count, 1);
	arena_init(&arena, world.target->arena->ar_source);
	assert_null(graph_path(world.graph, &arena, 0, &steps, &count));
	assert_int_equal(count, 1);
	assert_int_equal(steps[0].root_value->kind, ROOT_LOADER);
	arena_deinit(&arena);
	world_close(&world);
}

static void survives_a_list_of_a_million_leaks(void **state)
{
	enum { COUNT = 1000000 };
	struct world world;
	uint32_t i;

	(void)state;
	world_open(&world, (size_t)COUNT * 48, COUNT, false);
	blocks_add(&world, COUNT, 24);
	for (i = 1; i < COUNT; i++)
		put(&world, i, 16, i - 1, 0);
	build(&world);
	assert_int_equal(world.graph->leak_count, COUNT);
	assert_leak(&world, COUNT - 1, LEAK_ROOT, COUNT - 1, GRAPH_NO_BLOCK, COUNT);
	assert_leak(&world, 0, LEAK_INDIRECT, COUNT - 1, 1, 1);
	world_close(&world);
}

static void survives_leaks_that_all_know_each_other(void **state)
{
	enum { COUNT = 600 };
	struct world world;
	uint32_t i, j;

	(void)state;
	world_open(&world, COUNT * (COUNT * 16 + 64), COUNT, false);
	blocks_add(&world, COUNT, COUNT * 16);
	for (i = 0; i < COUNT; i++)
		for (j = 0; j < 2 * COUNT; j++)
			put(&world, i, 8 * j, j % COUNT, j);
	build(&world);
	assert_leak(&world, 0, LEAK_CYCLE, 0, GRAPH_NO_BLOCK, COUNT);
	assert_leak(&world, COUNT - 1, LEAK_INDIRECT, 0, 0, 1);
	world_close(&world);
}

static void reads_around_missing_memory(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, 1 << 16, 8, false);
	block_add(&world, 0, 0x3000); // its middle is missing
	block_add(&world, 0x4000, 32);
	block_add(&world, 0x5000, 32);
	block_add(&world, 0x6000, 32);
	put(&world, 0, 0x10, 1, 0);
	put(&world, 0, 0x1010, 2, 0);
	put(&world, 0, 0x2010, 3, 0);
	segment_set(&world, 0, world.heap_base, 0x1000, world.heap);
	segment_set(&world, 1, world.heap_base + 0x2000, 0xe000, world.heap + 0x2000);
	world.target = target_from_segments(world.segments, 2, 8);
	world.ops = *world.target->ops;
	build(&world);
	assert_leak(&world, 0, LEAK_ROOT, 0, GRAPH_NO_BLOCK, 3);
	assert_leak(&world, 2, LEAK_ROOT, 2, GRAPH_NO_BLOCK, 1);
	assert_leak(&world, 3, LEAK_INDIRECT, 0, 0, 1);
	world_close(&world);
}

static void says_how_much_could_not_be_read(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, 1 << 16, 8, false);
	block_add(&world, 0, 0x3000);
	world_target(&world);
	root(&world, 0, 0, 0);
	((struct target_segment *)world.target->segments)[0].contents_end = HEAP_BASE + 0x1000;
	build(&world);
	assert_int_equal(world.graph->leak_count, 0);
	assert_non_null(strstr(world.graph->how, "8192 bytes could not be read"));
	world_close(&world);
}

static void refuses_a_table_that_is_not_in_order(void **state)
{
	struct world world;
	struct error *error;

	(void)state;
	world_open(&world, 1 << 16, 8, false);
	blocks_add(&world, 2, 32);
	world.blocks[1].hb_address = world.blocks[0].hb_address;
	world_target(&world);
	error = graph_build(world.target, &world.heaps, NULL, &world.graph);
	assert_non_null(error);
	assert_int_equal(error->kind, ERROR_DAMAGED);
	world_close(&world);
}

// --- references and paths --------------------------------------------------------------------------
struct list {
	struct graph_reference v[16];
	size_t n, limit;
};

static bool list_add(void *context, const struct graph_reference *reference)
{
	struct list *list = context;

	assert_true(list->n < 16);
	list->v[list->n++] = *reference;
	return list->n != list->limit;
}

static void references_world(struct world *world)
{
	world_open(world, 1 << 16, 8, false);
	blocks_add(world, 5, 32);
	root(world, 16, 0, 4);
	root_value(world, "rbx", 3);
	put(world, 0, 0, 1, 0);
	put(world, 0, 24, 2, 8);
	put(world, 1, 8, 2, 0);
	put(world, 2, 16, 3, 0);
	put(world, 4, 0, 3, 31);
	build(world);
}

static void lists_references_out_of_a_block(void **state)
{
	struct world world;
	struct list list = { .n = 0 };

	(void)state;
	references_world(&world);
	assert_null(graph_references_from(world.graph, 0, list_add, &list));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.v[0].to, 1);
	assert_int_equal(list.v[1].from, 0);
	assert_int_equal(list.v[1].from_offset, 24);
	assert_int_equal(list.v[1].to, 2);
	assert_int_equal(list.v[1].to_offset, 8);
	world_close(&world);
}

static void lists_references_to_blocks(void **state)
{
	const uint32_t wanted[] = { 0, 3 };
	struct world world;
	struct list list = { .n = 0 }, first = { .limit = 1 };

	(void)state;
	references_world(&world);
	assert_null(graph_references_to(world.graph, wanted, 2, list_add, &list));
	assert_int_equal(list.n, 4);
	assert_int_equal(list.v[0].from, GRAPH_NO_BLOCK);
	assert_int_equal(list.v[0].root, DATA_BASE + 16);
	assert_int_equal(list.v[0].to, 0);
	assert_int_equal(list.v[0].to_offset, 4);
	assert_string_equal(list.v[1].root_value->what, "rbx");
	assert_int_equal(list.v[2].from, 2);
	assert_int_equal(list.v[3].from, 4);
	assert_int_equal(list.v[3].to_offset, 31);
	assert_null(graph_references_to(world.graph, wanted, 2, list_add, &first));
	assert_int_equal(first.n, 1);
	world_close(&world);
}

static void finds_the_shortest_path(void **state)
{
	const struct graph_reference *steps;
	struct world world;
	struct arena arena;
	struct error *error;
	size_t count;

	(void)state;
	references_world(&world);
	arena_init(&arena, world.target->arena->ar_source);
	assert_null(graph_path(world.graph, &arena, 2, &steps, &count));
	assert_int_equal(count, 2); // not by way of 1
	assert_int_equal(steps[0].root, DATA_BASE + 16);
	assert_int_equal(steps[0].to, 0);
	assert_int_equal(steps[0].to_offset, 4);
	assert_int_equal(steps[1].from, 0);
	assert_int_equal(steps[1].from_offset, 24);
	assert_int_equal(steps[1].to, 2);
	assert_int_equal(steps[1].to_offset, 8);
	assert_null(graph_path(world.graph, &arena, 3, &steps, &count));
	assert_int_equal(count, 1);
	assert_string_equal(steps[0].root_value->what, "rbx");
	error = graph_path(world.graph, &arena, 4, &steps, &count);
	assert_non_null(error);
	assert_int_equal(error->kind, ERROR_NOT_FOUND);
	arena_deinit(&arena);
	world_close(&world);
}

static void tells_every_owner(void **state)
{
	const struct graph_owners *owners;
	struct world world;

	(void)state;
	references_world(&world);
	assert_null(graph_owners(world.graph, &owners));
	assert_int_equal(owners->owner[0], GRAPH_NO_BLOCK);
	assert_int_equal(owners->root[0], DATA_BASE + 16);
	assert_int_equal(owners->owner[1], 0);
	assert_int_equal(owners->owner[2], 0);
	assert_int_equal(owners->owner_offset[2], 24);
	assert_int_equal(owners->owner[3], GRAPH_NO_BLOCK);
	assert_int_equal(owners->root[3], 0);
	assert_int_equal(owners->owner_offset[3], 0); // the number of the value
	assert_int_equal(owners->owner[4], GRAPH_NO_BLOCK);
	assert_int_equal(owners->owner_offset[4], UINT32_MAX);
	world_close(&world);
}

// --- in a clone ----------------------------------------------------------------------------------
// A clone that is this process: shared memory is memory, code runs where it is.
static int runs;
static uint64_t fault_address; // what the first run reports, 0 for none

static struct error *here_share(struct target *target, size_t bytes, struct target_shared *ret)
{
	(void)target;
	*ret = (struct target_shared){ .bytes = bytes };
	ret->here = mmap(NULL, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
	                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(ret->here != MAP_FAILED);
	ret->there = (uintptr_t)ret->here;
	return NULL;
}

static struct error *here_run(struct target *target, uint64_t entry, uint64_t argument,
                              uint64_t stack)
{
	(void)target;
	assert_int_equal(stack % 16, 0);
	if (runs++ == 0 && fault_address)
		return error_at(ERROR_FAULT, fault_address, "the code faulted");
	unit_blob_call(entry, argument);
	return NULL;
}

static size_t here_read(struct target *target, const struct target_segment *segment,
                        uint64_t address, void *buffer, size_t n)
{
	(void)target, (void)segment;
	memcpy(buffer, (const void *)(uintptr_t)address, n);
	return n;
}

static struct error *here_load(struct target *target, struct target_segment *segment)
{
	(void)target;
	segment->image = (const uint8_t *)(uintptr_t)segment->start;
	return NULL;
}

static struct target_segment *segment_of(struct world *world, uint64_t address)
{
	return (struct target_segment *)target_segment_at(world->target, address);
}

static void clone_build(struct world *world)
{
	runs = 0;
	world_target(world);
	segment_of(world, world->heap_base)->image = NULL;
	segment_of(world, world->data_base)->image = world->data_image;
	world->ops.read = here_read;
	world->ops.load = here_load;
	world->ops.share = here_share;
	world->ops.run = here_run;
	build(world);
}

static void clone_world(struct world *world)
{
	world_open(world, 1 << 20, 8, true);
	blocks_add(world, 5, 32);
	root(world, 16, 0, 4);
	put(world, 0, 0, 1, 0);
	put(world, 3, 0, 2, 0);
	root_value(world, "rbx", 4);
}

static void marks_inside_a_clone(void **state)
{
	const struct graph_owners *owners;
	struct world world;

	(void)state;
	if (!unit_blob_usable())
		skip();
	fault_address = 0;
	clone_world(&world);
	clone_build(&world);
	assert_int_equal(runs, 1);
	assert_int_equal(world.graph->leak_count, 2);
	assert_leak(&world, 3, LEAK_ROOT, 3, GRAPH_NO_BLOCK, 2);
	assert_null(graph_owners(world.graph, &owners));
	assert_int_equal(owners->owner[1], 0);
	world_close(&world);
}

static void leaves_out_roots_that_fault(void **state)
{
	struct world world;

	(void)state;
	if (!unit_blob_usable())
		skip();
	clone_world(&world);
	fault_address = world.data_base + 24;
	clone_build(&world);
	assert_int_equal(runs, 2);
	assert_int_equal(world.graph->leak_count, 4); // all but what the register holds
	world_close(&world);
}

static void leaves_out_blocks_that_fault(void **state)
{
	struct world world;

	(void)state;
	if (!unit_blob_usable())
		skip();
	clone_world(&world);
	fault_address = world.blocks[0].hb_address + 8;
	clone_build(&world);
	assert_int_equal(runs, 2);
	assert_int_equal(world.graph->leak_count, 3);
	assert_true(graph_reached(world.graph, 0));
	assert_false(graph_reached(world.graph, 1));
	world_close(&world);
}

static void uses_images_when_the_clone_cannot_run(void **state)
{
	struct world world;

	(void)state;
	clone_world(&world);
	fault_address = 8; // belongs to nothing that could be left out
	clone_build(&world);
	assert_int_equal(runs, 1);
	assert_int_equal(world.graph->leak_count, 2);
	world_close(&world);
}

// The data segment is one that a fork leaves out or empties: what it held is in an image.
static void takes_roots_that_the_clone_lacks_from_images(void **state)
{
	const struct graph_owners *owners;
	struct world world;

	(void)state;
	if (!unit_blob_usable())
		skip();
	fault_address = 0;
	clone_world(&world);
	world.data_image = world.data;
	world.data = pages(DATA_BYTES);
	memcpy(world.data, world.data_image, DATA_BYTES);
	memset((void *)(uintptr_t)world.data_image, 0, DATA_BYTES);
	world.data_base = (uintptr_t)world.data_image;
	world.data_image = world.data;
	clone_build(&world);
	assert_int_equal(runs, 1);
	assert_true(graph_reached(world.graph, 0));
	assert_true(graph_reached(world.graph, 1));
	assert_int_equal(world.graph->leak_count, 2);
	assert_null(graph_owners(world.graph, &owners));
	assert_int_equal(owners->owner[0], GRAPH_NO_BLOCK);
	assert_int_equal(owners->root[0], world.data_base + 16);
	assert_int_equal(owners->root[4], 0);
	munmap((void *)(uintptr_t)world.data_base, DATA_BYTES);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_nothing_when_all_is_reached),
		cmocka_unit_test(groups_a_tree_under_its_root),
		cmocka_unit_test(tells_rings_from_lists),
		cmocka_unit_test(holds_a_ring_by_what_references_it),
		cmocka_unit_test(follows_neither_free_blocks_nor_into_them),
		cmocka_unit_test(keeps_what_the_loader_made),
		cmocka_unit_test(survives_a_list_of_a_million_leaks),
		cmocka_unit_test(survives_leaks_that_all_know_each_other),
		cmocka_unit_test(reads_around_missing_memory),
		cmocka_unit_test(says_how_much_could_not_be_read),
		cmocka_unit_test(refuses_a_table_that_is_not_in_order),
		cmocka_unit_test(lists_references_out_of_a_block),
		cmocka_unit_test(lists_references_to_blocks),
		cmocka_unit_test(finds_the_shortest_path),
		cmocka_unit_test(tells_every_owner),
		cmocka_unit_test(marks_inside_a_clone),
		cmocka_unit_test(leaves_out_roots_that_fault),
		cmocka_unit_test(leaves_out_blocks_that_fault),
		cmocka_unit_test(takes_roots_that_the_clone_lacks_from_images),
		cmocka_unit_test(uses_images_when_the_clone_cannot_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
