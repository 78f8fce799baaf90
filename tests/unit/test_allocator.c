// SPDX-License-Identifier: MIT
// The allocator core under its own functions, beside libc's malloc: sizes, alignment, zeroes, reuse,
// zones, batches, misuse, threads; after each the full check of its metadata.
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "malloc/malloc.h"

static void fill(void *block, size_t bytes, unsigned char value)
{
	memset(block, value, bytes);
}

static bool filled(const unsigned char *block, size_t bytes, unsigned char value)
{
	for (size_t i = 0; i < bytes; i++)
		if (block[i] != value)
			return false;
	return true;
}

static void check_heap(void)
{
	assert_true(malloc_core_check(NULL));
}

static void sizes_are_rounded_as_documented(void **state)
{
	static const struct {
		size_t asked, usable;
	} rows[] = { { 0, 16 },
		     { 1, 16 },
		     { 16, 16 },
		     { 17, 32 },
		     { 1024, 1024 },
		     { 1025, 1280 },
		     { 4096, 4096 },
		     { 4097, 4608 },
		     { 4376, 4608 },
		     { 15360, 15360 },
		     { 15361, 16384 },
		     { 32768, 32768 },
		     { 32769, 36864 },
		     { 2 << 20, 2 << 20 },
		     { (2 << 20) + 1, (2 << 20) + 4096 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		void *block = malloc_core_allocate(rows[i].asked);

		assert_non_null(block);
		assert_int_equal(malloc_core_size(block), rows[i].usable);
		assert_int_equal(malloc_core_good_size(rows[i].asked), rows[i].usable);
		fill(block, rows[i].usable, 0xa5);
		if (rows[i].usable > 15 << 10)
			assert_int_equal((uintptr_t)block % 4096, 0);
		malloc_core_free(block);
	}
	check_heap();
}

static void every_size_holds_its_bytes(void **state)
{
	enum { COUNT = 4000 };
	static unsigned char *blocks[COUNT];

	(void)state;
	for (unsigned i = 0; i < COUNT; i++) {
		blocks[i] = malloc_core_allocate(i * 11);
		assert_non_null(blocks[i]);
		assert_int_equal((uintptr_t)blocks[i] % 16, 0);
		assert_true(malloc_core_size(blocks[i]) >= i * 11);
		fill(blocks[i], i * 11, (unsigned char)i);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		assert_true(filled(blocks[i], i * 11, (unsigned char)i));
		malloc_core_free(blocks[i]);
	}
	check_heap();
}

static void aligned_blocks_are_aligned(void **state)
{
	(void)state;
	for (size_t alignment = 1; alignment <= 8 << 20; alignment *= 2)
		for (size_t bytes = 1; bytes <= 50 << 20; bytes = bytes * 7 + 3) {
			void *block = malloc_core_allocate_aligned(alignment, bytes);

			assert_non_null(block);
			assert_int_equal((uintptr_t)block % alignment, 0);
			assert_true(malloc_core_size(block) >= bytes);
			fill(block, bytes, 1);
			malloc_core_free(block);
		}
	check_heap();
}

static void cleared_blocks_are_zero(void **state)
{
	(void)state;
	for (size_t bytes = 1; bytes <= 40 << 20; bytes = bytes * 3 + 1)
		for (int round = 0; round < 3; round++) {
			unsigned char *block = malloc_core_allocate_zeroed(1, bytes);

			assert_true(filled(block, bytes, 0));
			fill(block, malloc_core_size(block), 0xff);
			malloc_core_free(block);
		}
	errno = 0;
	assert_null(malloc_core_allocate_zeroed(SIZE_MAX / 2, 3));
	assert_int_equal(errno, ENOMEM);
	check_heap();
}

static void resized_blocks_keep_their_bytes(void **state)
{
	static const size_t sizes[] = { 1,       100,     1000,    5000,     40000,
		                        300000,  3000000, 9000000, 52000000, 12000000,
		                        2500000, 100000,  70000,   20000,    50 };
	unsigned char *block = malloc_core_allocate(1);

	(void)state;
	*block = 7;
	for (size_t i = 1; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t kept = sizes[i] < sizes[i - 1] ? sizes[i] : sizes[i - 1];

		block = malloc_core_resize(block, sizes[i]);
		assert_non_null(block);
		assert_true(filled(block, kept, 7));
		fill(block, sizes[i], 7);
	}
	malloc_core_free(block);
	check_heap();
}

static void impossible_sizes_fail_with_enomem(void **state)
{
	(void)state;
	errno = 0;
	assert_null(malloc_core_allocate((size_t)PTRDIFF_MAX + 1));
	assert_int_equal(errno, ENOMEM);
	errno = 0;
	assert_null(malloc_core_allocate_aligned((size_t)1 << 62, (size_t)1 << 62));
	assert_int_equal(errno, ENOMEM);
	errno = 5;
	malloc_core_free(NULL);
	assert_int_equal(errno, 5);
}

static void a_destroyed_zone_is_gone(void **state)
{
	(void)state;
	for (int round = 0; round < 3000; round++) {
		malloc_zone_t *zone = malloc_core_create();
		unsigned char core;
		void *block, *big, *large;

		assert_non_null(zone);
		block = zone->malloc(zone, 100);
		big = zone->malloc(zone, 100000);
		large = zone->calloc(zone, 40, 1 << 20);
		fill(block, 100, 1);
		fill(big, 100000, 2);
		assert_true(zone->size(zone, block) == 112);
		assert_true(malloc_core_default()->size(malloc_core_default(), block) == 0);
		zone->destroy(zone);
		assert_int_equal(malloc_core_size(block), 0);
		assert_int_equal(malloc_core_size(large), 0);
		assert_int_equal(mincore((void *)((uintptr_t)block & -4096ul), 4096, &core), -1);
	}
	assert_true(heapwright_malloc.zone_count < 10);
	check_heap();
}

static void zones_are_used_from_their_caches(void **state)
{
	enum { COUNT = 20000 };
	static void *blocks[COUNT];
	malloc_zone_t *zone = malloc_core_create(), *next;

	(void)state;
	for (unsigned i = 0; i < COUNT; i++) {
		blocks[i] = zone->malloc(zone, i % 300);
		fill(blocks[i], i % 300, (unsigned char)i);
	}
	for (unsigned i = 0; i < COUNT; i += 2)
		zone->free(zone, blocks[i]);
	for (unsigned i = 1; i < COUNT; i += 2)
		assert_true(filled(blocks[i], i % 300, (unsigned char)i));
	check_heap();
	zone->destroy(zone);
	next = malloc_core_create();
	for (unsigned i = 0; i < COUNT; i++)
		fill(next->malloc(next, 64), 64, 9);
	check_heap();
	next->destroy(next);
}

static void batches_are_filled_and_ascend(void **state)
{
	enum { COUNT = 3000 };
	static void *blocks[COUNT];
	malloc_zone_t *zone = malloc_core_create();

	(void)state;
	for (size_t bytes = 8; bytes <= 32768; bytes *= 4) {
		assert_int_equal(zone->batch_malloc(zone, bytes, blocks, COUNT), COUNT);
		for (unsigned i = 0; i < COUNT; i++)
			fill(blocks[i], bytes, (unsigned char)i);
		for (unsigned i = 0; i < COUNT; i++)
			assert_true(filled(blocks[i], bytes, (unsigned char)i));
		zone->batch_free(zone, blocks, COUNT);
	}
	check_heap();
	zone->destroy(zone);
}

struct seen {
	size_t blocks, bytes;
	const void *looked_for;
	bool found;
};

static bool see(void *context, const struct malloc_block *block)
{
	struct seen *seen = context;

	seen->blocks++;
	seen->bytes += block->bytes;
	seen->found |= block->start == seen->looked_for;
	return true;
}

static void walks_see_every_block(void **state)
{
	malloc_zone_t *zone = malloc_core_create();
	struct seen seen = { 0 };
	struct malloc_block block;
	char *large;

	(void)state;
	for (int i = 0; i < 100; i++)
		zone->malloc(zone, 48);
	zone->malloc(zone, 65536);
	large = zone->malloc(zone, 50 << 20);
	seen.looked_for = large;
	malloc_blocks_each(zone, see, &seen);
	assert_int_equal(seen.blocks, 102);
	assert_int_equal(seen.bytes, 4800 + 65536 + (50 << 20));
	assert_true(seen.found);
	assert_true(malloc_block_at(large + (4 << 20), &block));
	assert_ptr_equal(block.start, large);
	assert_false(malloc_block_at(&seen, &block));
	zone->destroy(zone);
}

static int misuse(void (*crime)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		malloc_settings.log = -1;
		crime();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void free_inside(void)
{
	malloc_core_free((char *)malloc_core_allocate(200) + 16);
}

static void free_inside_large(void)
{
	malloc_core_free((char *)malloc_core_allocate(50 << 20) + 65536);
}

static void free_stack(void)
{
	int here;

	malloc_core_free(&here);
}

static void free_twice(void)
{
	void *block = malloc_core_allocate(200);

	malloc_core_free(block);
	malloc_core_free(block);
}

static void free_span_twice(void)
{
	void *block = malloc_core_allocate(200000);

	malloc_core_free(block);
	malloc_core_free(block);
}

static void free_twice_with_others(void)
{
	static void *blocks[9000];

	for (int i = 0; i < 9000; i++)
		blocks[i] = malloc_core_allocate(200);
	for (int i = 0; i < 9000; i++)
		malloc_core_free(blocks[i % 4000 == 3999 ? 3 : i]);
}

static void resize_freed(void)
{
	void *block = malloc_core_allocate(200000);

	malloc_core_free(block);
	malloc_core_resize(block, 10);
}

static void misuse_ends_the_program(void **state)
{
	(void)state;
	assert_int_equal(misuse(free_inside), SIGABRT);
	assert_int_equal(misuse(free_inside_large), SIGABRT);
	assert_int_equal(misuse(free_stack), SIGABRT);
	assert_int_equal(misuse(free_twice), SIGABRT);
	assert_int_equal(misuse(free_span_twice), SIGABRT);
	assert_int_equal(misuse(free_twice_with_others), SIGABRT);
	assert_int_equal(misuse(resize_freed), SIGABRT);
}

enum { EXCHANGE = 4096, THREADS = 4, ROUNDS = 200000 };
static unsigned char *exchange[EXCHANGE];

static size_t random_size(uint64_t *seed)
{
	uint64_t r = *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	unsigned kind = r >> 60;

	r >>= 20;
	if (kind < 12)
		return 4 + r % 500;
	return kind < 15 ? 4 + r % 30000 : 4 + r % 300000;
}

// Blocks carry their size and a byte at their end; other threads free them.
static void *exchange_blocks(void *number)
{
	uint64_t seed = (uintptr_t)number;

	for (int i = 0; i < ROUNDS; i++) {
		size_t bytes = random_size(&seed);
		unsigned char *block = malloc_core_allocate(bytes), *other;
		unsigned length;

		memcpy(block, &(unsigned){ (unsigned)bytes }, 4);
		if (bytes > 4)
			block[bytes - 1] = (unsigned char)bytes;
		other = __atomic_exchange_n(&exchange[seed >> 33 & (EXCHANGE - 1)], block,
		                            __ATOMIC_ACQ_REL);
		if (!other)
			continue;
		memcpy(&length, other, 4);
		if (length > 4 && other[length - 1] != (unsigned char)length)
			return exchange; // overwritten
		malloc_core_free(other);
	}
	return NULL;
}

static void threads_exchange_blocks(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, exchange_blocks, (void *)(i + 1)), 0);
	for (int i = 0; i < 20; i++)
		check_heap();
	for (unsigned i = 0; i < THREADS; i++) {
		void *problem;

		pthread_join(threads[i], &problem);
		assert_null(problem);
	}
	for (unsigned i = 0; i < EXCHANGE; i++)
		malloc_core_free(__atomic_exchange_n(&exchange[i], NULL, __ATOMIC_ACQ_REL));
	malloc_core_relieve(NULL, 0);
	check_heap();
}

// --- lines of the processor's cache ---------------------------------------------------------------
static pthread_barrier_t all_have_one;

// Frees a neighbour of the others' blocks; returns what the thread then gets itself.
static void *give_and_take(void *given)
{
	void *taken;

	malloc_core_free(given);
	pthread_barrier_wait(&all_have_one);
	taken = malloc_core_allocate(8);
	pthread_barrier_wait(&all_have_one); // nobody ends, and gives blocks back, before
	malloc_core_free(taken);
	return taken;
}

static void threads_that_free_neighbours_share_no_line(void **state)
{
	pthread_t threads[THREADS];
	void *given[THREADS], *taken[THREADS];

	(void)state;
	pthread_barrier_init(&all_have_one, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		given[i] = malloc_core_allocate(8);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, give_and_take, given[i]), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], &taken[i]), 0);
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < i; j++)
			assert_true((uintptr_t)taken[i] / 64 != (uintptr_t)taken[j] / 64);
	pthread_barrier_destroy(&all_have_one);
}

// --- metadata -------------------------------------------------------------------------------------
static bool is_guard(uintptr_t start)
{
	const struct malloc_region *region = (const void *)heapwright_malloc.regions;

	for (uint32_t i = 0; i < heapwright_malloc.region_count; i++, region++)
		if (region->kind == MALLOC_REGION_GUARD && region->start == start &&
		    region->end == start + 4096)
			return true;
	return false;
}

static bool faults(int pipe, uintptr_t address)
{
	return write(pipe, (const void *)address, 1) == -1 && errno == EFAULT;
}

static void metadata_lies_between_pages_that_fault(void **state)
{
	const struct malloc_region *region;
	int pipes[2], found = 0;

	(void)state;
	malloc_core_free(malloc_core_allocate(8));
	region = (const void *)heapwright_malloc.regions;
	assert_int_equal(pipe(pipes), 0);
	for (uint32_t i = 0; i < heapwright_malloc.region_count; i++, region++) {
		if (region->kind != MALLOC_REGION_METADATA)
			continue;
		found++;
		assert_true(is_guard(region->start - 4096) && is_guard(region->end));
		assert_true(faults(pipes[1], region->start - 1) && faults(pipes[1], region->end));
		assert_false(faults(pipes[1], region->start));
	}
	assert_true(found >= 4); // regions, zones, a leaf, records
	close(pipes[0]);
	close(pipes[1]);
}

// --- relief ---------------------------------------------------------------------------------------
static void relief_reaches_into_slabs_in_use(void **state)
{
	enum { BLOCKS = 40000, BYTES = 100, KEPT_EVERY = 400, SPAN_BYTES = 100 << 10 };
	static unsigned char *blocks[BLOCKS];
	unsigned char *span, *again;
	size_t returned;

	(void)state;
	malloc_core_relieve(NULL, 0);
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc_core_allocate(BYTES);
		fill(blocks[i], BYTES, (unsigned char)i);
	}
	for (int i = 0; i < BLOCKS; i++)
		if (i % KEPT_EVERY)
			malloc_core_free(blocks[i]);
	// Behind the span lies memory that was used.
	span = malloc_core_allocate(2 * SPAN_BYTES);
	fill(span, 2 * SPAN_BYTES, 1);
	malloc_core_free(span);
	span = malloc_core_allocate(SPAN_BYTES);
	fill(span, SPAN_BYTES, 2);
	returned = malloc_core_relieve(NULL, 0);
	assert_true(returned > (size_t)BLOCKS * BYTES * 8 / 10);
	assert_int_equal(malloc_core_relieve(NULL, 0), 0);
	assert_true(filled(span, SPAN_BYTES, 2));
	for (int i = 0; i < BLOCKS; i += KEPT_EVERY)
		assert_true(filled(blocks[i], BYTES, (unsigned char)i));
	for (int i = 0; i < BLOCKS; i++)
		if (i % KEPT_EVERY) {
			blocks[i] = malloc_core_allocate(BYTES);
			fill(blocks[i], BYTES, (unsigned char)i);
		}
	again = malloc_core_resize(span, SPAN_BYTES + 8000);
	assert_true(filled(again, SPAN_BYTES, 2));
	malloc_core_free(again);
	for (int i = 0; i < BLOCKS; i++) {
		assert_true(filled(blocks[i], BYTES, (unsigned char)i));
		malloc_core_free(blocks[i]);
	}
	check_heap();
}

static size_t resident_pages(void)
{
	size_t pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*u %zu", &pages), 1);
	fclose(file);
	return pages;
}

static void allocate_filled(malloc_zone_t *zone, void **blocks, size_t count, size_t bytes)
{
	for (size_t i = 0; i < count; i++) {
		blocks[i] = malloc_zone_malloc(zone, bytes);
		assert_non_null(blocks[i]);
		fill(blocks[i], bytes, 0x5a);
	}
}

// Blocks of 60 KiB leave their last pages behind blocks of 36 KiB. Before the zone has more memory than
// ever it gives back those.
static void a_zone_grows_only_when_no_pages_lie_idle(void **state)
{
	enum { BLOCKS = 64, MORE = 32, SLACK_PAGES = 64 };
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	void *blocks[BLOCKS], *more[MORE];
	size_t most;

	(void)state;
	allocate_filled(zone, blocks, BLOCKS, 60 << 10);
	most = resident_pages();
	for (size_t i = 0; i < BLOCKS; i++)
		malloc_zone_free(zone, blocks[i]);
	allocate_filled(zone, blocks, BLOCKS, 36 << 10);
	allocate_filled(zone, more, MORE, 40 << 10);
	assert_true(resident_pages() <= most + SLACK_PAGES);
	for (size_t i = 0; i < BLOCKS; i++)
		assert_true(filled(blocks[i], 36 << 10, 0x5a));
	malloc_destroy_zone(zone);
	check_heap();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_rounded_as_documented),
		cmocka_unit_test(every_size_holds_its_bytes),
		cmocka_unit_test(aligned_blocks_are_aligned),
		cmocka_unit_test(cleared_blocks_are_zero),
		cmocka_unit_test(resized_blocks_keep_their_bytes),
		cmocka_unit_test(impossible_sizes_fail_with_enomem),
		cmocka_unit_test(a_destroyed_zone_is_gone),
		cmocka_unit_test(zones_are_used_from_their_caches),
		cmocka_unit_test(batches_are_filled_and_ascend),
		cmocka_unit_test(walks_see_every_block),
		cmocka_unit_test(misuse_ends_the_program),
		cmocka_unit_test(threads_that_free_neighbours_share_no_line),
		cmocka_unit_test(threads_exchange_blocks),
		cmocka_unit_test(metadata_lies_between_pages_that_fault),
		cmocka_unit_test(relief_reaches_into_slabs_in_use),
		cmocka_unit_test(a_zone_grows_only_when_no_pages_lie_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
