// SPDX-License-Identifier: MIT
// The table of live blocks of lite mode over a foreign malloc: after any order of allocations and frees
// it holds exactly the blocks that live, each with its own stack, whichever threads they came from and
// went to; and it holds them in 16 bytes each.
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "record/record_impl.h"

enum {
	GLIBC_DISTANCE = 32,
	SHRINK = 2, // 64 leaves
	PAGE = 1 << RECORD_LIVE_PAGE_SHIFT,
	ARENA = 1 << 26, // HEAP_MAX_SIZE of glibc
};

#define BASE UINT64_C(0x7f1234560000)

static struct record_live *area;

static void start(uint32_t block_distance)
{
	uint64_t bytes = record_live_bytes(SHRINK);

	if (record_header)
		munmap(record_header, record_header->total_bytes);
	record_header = mmap(NULL, sizeof(*record_header) + bytes, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(record_header != MAP_FAILED);
	record_header->total_bytes = sizeof(*record_header) + bytes;
	record_header->live_offset = sizeof(*record_header);
	record_header->live_capacity = bytes;
	record_settings.block_distance = block_distance;
	area = (struct record_live *)(record_header + 1);
	assert_true(record_live_start());
}

static void tell(uint32_t kind, uint64_t address, uint32_t node)
{
	struct record_event event = { .stamp = record_stamp(0, kind),
		                      .address = address,
		                      .node = node };

	record_live_apply(&event);
}

static void allocate(uint64_t address, uint32_t node)
{
	tell(RECORD_MALLOC, address, node);
}

static void release(uint64_t address)
{
	tell(RECORD_FREE, address, 0);
}

// --- reading, by the layout alone -----------------------------------------------------------------
static const uint32_t *table_at(uint64_t address, unsigned *ret_bits)
{
	const uint32_t *pages = (const uint32_t *)((char *)area + area->leaves_offset);
	const uint32_t *cells = (const uint32_t *)((char *)area + area->cells_offset);

	for (uint32_t leaf = 0; leaf < area->leaf_count; leaf++) {
		uint64_t page = address >> RECORD_LIVE_PAGE_SHIFT;
		uint32_t table;

		if (area->leaves[leaf].number != address >> RECORD_LIVE_LEAF_SHIFT)
			continue;
		page %= RECORD_LIVE_PAGES;
		table = pages[leaf * (uint64_t)RECORD_LIVE_PAGES + page];
		*ret_bits = table & ((1 << RECORD_LIVE_TABLE_BITS) - 1);
		if (!table)
			return NULL;
		page >>= RECORD_LIVE_GROUP_SHIFT;
		assert_true(area->leaves[leaf].used[page / 64] >> page % 64 & 1);
		return cells + (uint64_t)(table >> RECORD_LIVE_TABLE_BITS) * 2;
	}
	return NULL;
}

static uint32_t node_of(uint64_t address)
{
	unsigned bits = 0;
	const uint32_t *cells = table_at(address, &bits);
	uint32_t at = cells ? record_live_find(cells, bits, record_live_place(address)) : 0;

	return cells && at < 1u << bits ? cells[at] >> 8 : 0;
}

static uint64_t blocks_in_page(const uint32_t *cells, unsigned bits)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < 1u << bits; i++)
		n += cells[i] && record_live_find(cells, bits, cells[i] & 255) == i;
	return n;
}

static uint64_t block_count(void)
{
	uint64_t n = 0;
	unsigned bits;

	for (uint32_t leaf = 0; leaf < area->leaf_count; leaf++)
		for (uint64_t page = 0; page < RECORD_LIVE_PAGES; page++) {
			uint64_t group = page >> RECORD_LIVE_GROUP_SHIFT;
			const uint32_t *cells;

			if (!(area->leaves[leaf].used[group / 64] >> group % 64 & 1))
				continue;
			cells = table_at((area->leaves[leaf].number << RECORD_LIVE_LEAF_SHIFT) +
			                         (page << RECORD_LIVE_PAGE_SHIFT),
			                 &bits);
			n += cells ? blocks_in_page(cells, bits) : 0;
		}
	return n;
}

// --- one thread -----------------------------------------------------------------------------------
static void all_places_of_a_page_have_room(void **state)
{
	(void)state;
	start(0);
	for (uint32_t i = 0; i < PAGE / 8; i++)
		allocate(BASE + i * 8, i + 1);
	for (uint32_t i = 0; i < PAGE / 8; i++)
		assert_int_equal(node_of(BASE + i * 8), i + 1);
	for (uint32_t i = 0; i < PAGE / 8; i += 2)
		release(BASE + i * 8);
	for (uint32_t i = 0; i < PAGE / 8; i++)
		assert_int_equal(node_of(BASE + i * 8), i % 2 ? i + 1 : 0);
	assert_int_equal(block_count(), PAGE / 16);
	assert_int_equal(record_header->lost, 0);
}

// Blocks come and go at random in a few pages; the truth is an array.
static void follows_any_order(uint32_t distance, uint32_t spacing)
{
	enum { PAGES = 5, STEPS = 200000 };
	static uint32_t truth[PAGES * PAGE / 8];
	uint32_t slots = PAGES * PAGE / spacing, seed = 7;

	start(distance);
	memset(truth, 0, sizeof(truth));
	for (uint32_t step = 1; step <= STEPS; step++) {
		uint32_t slot, node;

		seed = seed * 1103515245 + 12345;
		slot = (seed >> 8) % slots;
		node = truth[slot] ? 0 : step;
		if (node)
			allocate(BASE + slot * spacing, node);
		else
			release(BASE + slot * spacing);
		truth[slot] = node;
	}
	for (uint32_t slot = 0; slot < slots; slot++)
		assert_int_equal(node_of(BASE + slot * spacing), truth[slot]);
	assert_int_equal(record_header->lost, 0);
}

static void holds_what_lives(void **state)
{
	(void)state;
	follows_any_order(0, 8);
	follows_any_order(0, 16);
	follows_any_order(0, 48);
	follows_any_order(GLIBC_DISTANCE, 32);
	follows_any_order(GLIBC_DISTANCE, 80);
	follows_any_order(GLIBC_DISTANCE, 400);
}

// Frees that nobody told of.
static void the_newer_of_two_blocks_at_an_address_counts(void **state)
{
	(void)state;
	start(0);
	for (uint32_t i = 0; i < 4; i++)
		allocate(BASE + i * 8, i + 1); // want to lie in the same cell
	allocate(BASE + 24, 20);
	assert_int_equal(node_of(BASE + 24), 20);
	release(BASE);
	allocate(BASE + 24, 21); // now in another cell than the one before
	assert_int_equal(node_of(BASE + 24), 21);
	for (uint32_t i = 0; i < 40; i++)
		allocate(BASE + 512 + i * 16, 100 + i); // the table grows
	assert_int_equal(node_of(BASE + 24), 21);
	release(BASE + 24);
	assert_int_equal(node_of(BASE + 8), 2);
	assert_int_equal(node_of(BASE + 16), 3);
}

static void unknown_blocks_may_be_freed(void **state)
{
	(void)state;
	start(GLIBC_DISTANCE);
	release(BASE);
	allocate(BASE + 64, 5);
	release(BASE);
	release(BASE + PAGE);
	release(BASE + (UINT64_C(5) << RECORD_LIVE_LEAF_SHIFT));
	release(UINT64_MAX);
	assert_int_equal(node_of(BASE + 64), 5);
	assert_int_equal(block_count(), 1);
}

// What cannot be kept is counted.
static void blocks_without_room_are_counted(void **state)
{
	(void)state;
	start(GLIBC_DISTANCE);
	area->leaf_capacity = 1;
	allocate(BASE, 1);
	allocate(BASE + (UINT64_C(1) << RECORD_LIVE_LEAF_SHIFT), 2);
	allocate(UINT64_C(1) << 60, 3);
	assert_int_equal(record_header->lost, 2);
	area->cell_capacity = area->cell_count;
	allocate(BASE + ARENA,
	         4); // tables of one arena share a line of cells, and that one has room
	assert_int_equal(record_header->lost, 3);
	assert_int_equal(node_of(BASE), 1);
	assert_int_equal(block_count(), 1);
}

// Blocks of one size side by side, as malloc lays them.
static void blocks_take_16_bytes(void **state)
{
	enum { BLOCKS = 20000 };

	(void)state;
	for (uint64_t spacing = 32; spacing <= PAGE; spacing += 16) {
		start(GLIBC_DISTANCE);
		for (uint64_t i = 0; i < BLOCKS; i++)
			allocate(BASE + i * spacing, (uint32_t)i + 1);
		assert_true((area->cell_count + BLOCKS * spacing / PAGE) * sizeof(uint32_t) <=
		            BLOCKS * 16);
		assert_int_equal(block_count(), BLOCKS);
	}
}

// --- many threads ---------------------------------------------------------------------------------
enum { THREADS = 4, SLOTS = 3000, ROUNDS = 150000, BYTES_MAX = 700, NODE_BITS = 20 };

// Blocks that any thread may take, and free or resize. A block's first word is its node.
static uint32_t *slots[SLOTS];
static pthread_barrier_t all_there;

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 8;
}

static uint32_t *make(size_t bytes, uint32_t node)
{
	uint32_t *block = malloc(bytes);

	allocate((uintptr_t)block, node);
	*block = node;
	return block;
}

static uint32_t *resize(uint32_t *block, size_t bytes, uint32_t node)
{
	tell(RECORD_REALLOC_FREE, (uintptr_t)block, 0);
	block = realloc(block, bytes);
	tell(RECORD_REALLOC, (uintptr_t)block, node);
	*block = node;
	return block;
}

static void *come_and_go(void *number)
{
	uint32_t seed = (uint32_t)(uintptr_t)number * 7919, bytes_max = 24;
	uint32_t node = (uint32_t)(uintptr_t)number << NODE_BITS;

	pthread_barrier_wait(&all_there);
	for (int round = 0; round < ROUNDS; round++) {
		uint32_t **slot = &slots[next(&seed) % SLOTS];
		uint32_t *block = __atomic_exchange_n(slot, NULL, __ATOMIC_ACQ_REL);
		size_t bytes = 8 + next(&seed) % bytes_max;

		bytes_max = bytes_max < BYTES_MAX ? bytes_max + 1 : 24;
		node++;
		if (block && next(&seed) % 4 == 0) {
			block = resize(block, bytes, node);
		} else if (block) {
			release((uintptr_t)block);
			free(block);
			block = NULL;
		} else {
			block = make(bytes, node);
		}
		block = __atomic_exchange_n(slot, block, __ATOMIC_ACQ_REL);
		if (block) {
			release((uintptr_t)block);
			free(block);
		}
	}
	return NULL;
}

static void run_threads(uint32_t distance)
{
	pthread_t threads[THREADS];
	uint64_t alive = 0;

	start(distance);
	memset(slots, 0, sizeof(slots));
	pthread_barrier_init(&all_there, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, (void *)(i + 1)),
		                 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SLOTS; i++)
		if (slots[i]) {
			alive++;
			assert_int_equal(node_of((uintptr_t)slots[i]), *slots[i]);
		}
	assert_int_equal(block_count(), alive);
	assert_int_equal(record_header->lost, 0);
	for (int i = 0; i < SLOTS; i++)
		free(slots[i]);
	pthread_barrier_destroy(&all_there);
}

static void threads_lose_nothing(void **state)
{
	(void)state;
	run_threads(GLIBC_DISTANCE);
	run_threads(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_places_of_a_page_have_room),
		cmocka_unit_test(holds_what_lives),
		cmocka_unit_test(the_newer_of_two_blocks_at_an_address_counts),
		cmocka_unit_test(unknown_blocks_may_be_freed),
		cmocka_unit_test(blocks_without_room_are_counted),
		cmocka_unit_test(blocks_take_16_bytes),
		cmocka_unit_test(threads_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
