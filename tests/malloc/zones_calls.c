// SPDX-License-Identifier: MIT
// The rules of each function that allocates from a zone, and what watches them.
#include "zones.h"

#include <pthread.h>
#include <unistd.h>

#include <heapwright/block_move.h>

static const size_t page = 4096;

static bool is_zero(const char *block, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (block[i])
			return false;
	return true;
}

static void soil(malloc_zone_t *zone, size_t bytes)
{
	void *block = malloc_zone_malloc(zone, bytes);

	memset(block, 0xff, bytes);
	malloc_zone_free(zone, block);
}

static void on_both(void (*test)(malloc_zone_t *zone))
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);

	test(zone);
	CHECK(malloc_zone_check(zone));
	malloc_destroy_zone(zone);
	test(malloc_default_zone());
	CHECK(malloc_zone_check(NULL));
}

static void check_calloc(malloc_zone_t *zone)
{
	static const size_t sizes[] = { 1, 64, 1000, 30000, 70000, 3 << 20 };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		char *block;

		soil(zone, sizes[i]);
		block = malloc_zone_calloc(zone, 1, sizes[i]);
		CHECK(block && is_zero(block, sizes[i]));
		malloc_zone_free(zone, block);
	}
	errno = 0;
	CHECK(!malloc_zone_calloc(zone, SIZE_MAX, 2) && errno == ENOMEM);
	CHECK(!malloc_zone_calloc(zone, SIZE_MAX / 2 + 1, 2));
	CHECK(!malloc_zone_calloc(zone, (size_t)opaque((void *)((size_t)1 << 32)),
	                          (size_t)1 << 32));
	errno = 0;
	CHECK(!malloc_zone_malloc(zone, (size_t)opaque((void *)(SIZE_MAX - 100))) &&
	      errno == ENOMEM);
	malloc_zone_free(zone, malloc_zone_calloc(zone, 0, 10));
}

static void calloc_rules(void)
{
	on_both(check_calloc);
}

static void check_realloc(malloc_zone_t *zone)
{
	char *block = malloc_zone_realloc(zone, NULL, 10);

	strcpy(block, "contents");
	for (size_t bytes = 16; bytes <= 8 << 20; bytes *= 3) {
		block = malloc_zone_realloc(zone, block, bytes);
		CHECK(block && malloc_size(block) >= bytes && !strcmp(block, "contents"));
		CHECK(malloc_zone_from_ptr(block) == zone);
	}
	CHECK(!malloc_zone_realloc(zone, block, (size_t)opaque((void *)(SIZE_MAX - 4096))));
	CHECK(!strcmp(block, "contents"));
	block = malloc_zone_realloc(zone, block, 9);
	CHECK(!strcmp(block, "contents"));
	block = malloc_zone_realloc(zone, block, 0);
	CHECK(block && malloc_zone_from_ptr(block) == zone);
	malloc_zone_free(zone, block);
}

static void realloc_rules(void)
{
	char *block = malloc(100);

	on_both(check_realloc);
	CHECK(!reallocf(block, (size_t)opaque((void *)(SIZE_MAX - 4096))));
	CHECK(malloc_size(opaque(block)) == 0);
	block = reallocf(malloc(10), 2000);
	CHECK(block);
	block = reallocarrayf(block, 10, 300);
	CHECK(malloc_size(block) >= 3000);
	CHECK(!reallocarrayf(block, SIZE_MAX / 2, 3));
	CHECK(malloc_size(opaque(block)) == 0);
}

static void check_aligned(malloc_zone_t *zone)
{
	char *block;

	for (size_t bytes = 0; bytes < 100000; bytes = bytes * 3 + 1) {
		soil(zone, bytes + 1);
		block = malloc_zone_valloc(zone, bytes);
		CHECK(block && (uintptr_t)block % page == 0 && malloc_size(block) >= bytes);
		CHECK(is_zero(block, bytes));
		malloc_zone_free(zone, block);
		for (size_t alignment = sizeof(void *); alignment <= 1 << 22; alignment *= 2) {
			block = malloc_zone_memalign(zone, alignment, bytes);
			CHECK(block && (uintptr_t)block % alignment == 0);
			CHECK(malloc_size(block) >= bytes && malloc_zone_from_ptr(block) == zone);
			malloc_zone_free(zone, block);
		}
	}
	CHECK(!malloc_zone_memalign(zone, 0, 10) && !malloc_zone_memalign(zone, 4, 10));
	CHECK(!malloc_zone_memalign(zone, 24, 10) && !malloc_zone_memalign(zone, 48, 10));
	CHECK((uintptr_t)malloc_zone_malloc(zone, 1) % 16 == 0);
}

static void alignment_rules(void)
{
	on_both(check_aligned);
}

static void check_options(malloc_zone_t *zone)
{
	char *block;

	soil(zone, 1000);
	block = malloc_zone_malloc_with_options(zone, MALLOC_ZONE_MALLOC_DEFAULT_ALIGN, 1000,
	                                        MALLOC_OPTION_CLEAR);
	CHECK(block && is_zero(block, 1000) && malloc_zone_from_ptr(block) == zone);
	malloc_zone_free(zone, block);
	soil(zone, 8192);
	block = malloc_zone_malloc_with_options(zone, 4096, 8192, MALLOC_OPTION_CLEAR);
	CHECK(block && (uintptr_t)block % 4096 == 0 && is_zero(block, 8192));
	malloc_zone_free(zone, block);
	block = malloc_zone_malloc_with_options(zone, 8, 13, 0);
	CHECK(block);
	malloc_zone_free(zone, block);
	CHECK(!malloc_zone_malloc_with_options(zone, 64, 65, 0)); // no multiple
	CHECK(!malloc_zone_malloc_with_options(zone, 24, 48, 0)); // no power of two
}

static void options_rules(void)
{
	on_both(check_options);
	CHECK(malloc_zone_from_ptr(malloc_zone_malloc_with_options(NULL, 16, 32, 0)) ==
	      malloc_default_zone());
}

static void check_batch(malloc_zone_t *zone)
{
	static const size_t sizes[] = { 0, 1, 16, 100, 1008, 5000, 32768 };
	void *blocks[300];

	for (size_t i = 0; i < COUNT(sizes); i++) {
		CHECK(malloc_zone_batch_malloc(zone, sizes[i], blocks, 300) == 300);
		for (int j = 0; j < 300; j++) {
			CHECK(malloc_size(blocks[j]) >= sizes[i]);
			CHECK(malloc_zone_from_ptr(blocks[j]) == zone);
			memset(blocks[j], j, sizes[i]);
		}
		for (int j = 0; sizes[i] && j < 300; j++)
			CHECK(*(char *)blocks[j] == (char)j);
		free(blocks[7]);
		blocks[7] = NULL;
		malloc_zone_batch_free(zone, blocks, 300);
	}
	CHECK(malloc_zone_batch_malloc(zone, 16, blocks, 0) == 0);
	malloc_zone_batch_free(zone, blocks, 0);
}

static void batch_rules(void)
{
	on_both(check_batch);
}

static void check_claims(malloc_zone_t *zone)
{
	char *block = malloc_zone_malloc(zone, 100);

	CHECK(malloc_zone_claimed_address(zone, block));
	CHECK(malloc_zone_claimed_address(zone, block + 50));
	CHECK(malloc_claimed_address(block) && malloc_claimed_address(block + 50));
	CHECK(!malloc_zone_claimed_address(zone, NULL));
	malloc_zone_free(zone, block);
}

static void claims(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	int local;

	on_both(check_claims);
	CHECK(!malloc_claimed_address(NULL) && !malloc_claimed_address(&local));
	CHECK(!malloc_zone_claimed_address(zone, malloc(10)));
	CHECK(!malloc_zone_claimed_address(malloc_default_zone(), malloc_zone_malloc(zone, 10)));
}

static void good_sizes(void)
{
	for (size_t bytes = 0; bytes < 10 << 20; bytes = bytes * 2 + 3) {
		void *block = malloc(bytes);

		CHECK(malloc_good_size(bytes) >= bytes);
		CHECK(malloc_size(block) == malloc_good_size(bytes));
		CHECK(malloc_good_size(malloc_good_size(bytes)) == malloc_good_size(bytes));
		free(block);
	}
	CHECK(malloc_good_size(SIZE_MAX) == SIZE_MAX);
	CHECK(malloc_good_size(SIZE_MAX - 10) >= SIZE_MAX - 10);
}

// --- a zone of the program ---------------------------------------------------------------------------
static char own_memory[1 << 16];
static size_t own_used, own_frees, own_forks;

static size_t own_size(malloc_zone_t *zone, const void *p)
{
	(void)zone;
	return (uintptr_t)p - (uintptr_t)own_memory < own_used && !((uintptr_t)p & 63) ? 64 : 0;
}

static void *own_malloc(malloc_zone_t *zone, size_t bytes)
{
	(void)zone;
	if (bytes > 64 || own_used + 64 > sizeof(own_memory))
		return NULL;
	own_used += 64;
	return own_memory + own_used - 64;
}

static void *own_calloc(malloc_zone_t *zone, size_t count, size_t bytes)
{
	return own_malloc(zone, count * bytes);
}

static void own_free(malloc_zone_t *zone, void *p)
{
	(void)zone;
	own_frees += p != NULL;
}

static void *own_realloc(malloc_zone_t *zone, void *p, size_t bytes)
{
	return bytes <= 64 ? p : own_malloc(zone, bytes);
}

static void own_lock(malloc_zone_t *zone)
{
	(void)zone;
	own_forks++;
}

static struct malloc_introspection_t own_introspection = {
	.force_lock = own_lock,
	.force_unlock = own_lock,
};

static malloc_zone_t own_zone = {
	.size = own_size,
	.malloc = own_malloc,
	.calloc = own_calloc,
	.valloc = own_malloc,
	.free = own_free,
	.realloc = own_realloc,
	.introspect = &own_introspection,
	.version = 4,
};

static void own_memory_align(void)
{
	CHECK(((uintptr_t)own_memory & 63) == 0 || (own_used = 64 - ((uintptr_t)own_memory & 63)));
}

static void own_zone_is_asked(void)
{
	void *volatile block, *blocks[3];

	own_memory_align();
	malloc_zone_register(&own_zone);
	malloc_zone_register(&own_zone); // a message
	CHECK(malloc_num_zones == 2);
	block = malloc_zone_malloc(&own_zone, 10);
	CHECK(malloc_zone_from_ptr(block) == &own_zone && malloc_size(block) == 64);
	free(block);
	CHECK(own_frees == 1);
	CHECK(realloc(block, 20) == block);
	CHECK(!malloc_zone_memalign(&own_zone, 64, 10)); // version 4 has none
	CHECK(malloc_zone_batch_malloc(&own_zone, 16, blocks, 3) == 0);
	for (int i = 0; i < 3; i++)
		blocks[i] = malloc_zone_malloc(&own_zone, 1);
	blocks[1] = NULL;
	malloc_zone_batch_free(&own_zone, blocks, 3);
	CHECK(own_frees == 3);
	CHECK(malloc_zone_claimed_address(&own_zone, &own_frees)); // it cannot tell, so perhaps
	CHECK(malloc_zone_pressure_relief(&own_zone, 0) == 0);
	malloc_set_zone_name(&own_zone, "own");
	CHECK(!strcmp(own_zone.zone_name, "own"));
	CHECK(malloc_zone_check(&own_zone));
	if (!fork())
		_exit(0);
	CHECK(own_forks == 2);
	malloc_zone_unregister(&own_zone);
	malloc_zone_unregister(&own_zone); // a message
	CHECK(malloc_num_zones == 1 && !malloc_zone_from_ptr(block));
}

static void own_zone_is_first(void)
{
	malloc_zone_t *before = malloc_zones[0];
	void *block;

	own_memory_align();
	while (malloc_num_zones)
		malloc_zone_unregister(malloc_zones[0]);
	malloc_zone_register(&own_zone);
	CHECK(malloc_zones[0] == &own_zone);
	block = malloc_zone_malloc(malloc_default_zone(), 10);
	CHECK(own_size(NULL, block) == 64);
	CHECK(malloc_zone_from_ptr(block) == malloc_default_zone());
	malloc_zone_free(malloc_default_zone(), block);
	CHECK(own_frees == 1);
	malloc_zone_register(before);
	malloc_zone_unregister(&own_zone);
	CHECK(malloc_zones[0] == before && malloc_num_zones == 1);
}

static void hole_is_filled(void)
{
	malloc_zone_t *a = malloc_create_zone(0, 0), *b = malloc_create_zone(0, 0);
	malloc_zone_t *c = malloc_create_zone(0, 0);

	CHECK(malloc_zones[1] == a && malloc_zones[2] == b && malloc_zones[3] == c);
	malloc_destroy_zone(a);
	CHECK(malloc_num_zones == 3 && malloc_zones[1] == c && malloc_zones[2] == b);
	malloc_destroy_zone(c);
	CHECK(malloc_num_zones == 2 && malloc_zones[1] == b);
	malloc_destroy_zone(b);
}

// --- watching ------------------------------------------------------------------------------------------
// Volatile: libc's header promises the compiler that malloc calls nothing of this file.
static volatile unsigned logged;
static volatile uint32_t last_type;
static volatile uintptr_t last_zone, last_arg2, last_arg3, last_result;

static void logger(uint32_t type, uintptr_t arg1, uintptr_t arg2, uintptr_t arg3, uintptr_t result,
                   uint32_t skip)
{
	(void)skip;
	logged++;
	last_type = type;
	last_zone = arg1;
	last_arg2 = arg2;
	last_arg3 = arg3;
	last_result = result;
}

static void logger_is_told(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	malloc_thread_options_t mute = { .DisableMallocStackLogging = 1 };
	void *block, *moved, *blocks[5];

	malloc_logger = logger;
	block = malloc_zone_malloc(zone, 100);
	CHECK(logged == 1 && last_type == (MALLOC_LOG_TYPE_ALLOCATE | MALLOC_LOG_TYPE_HAS_ZONE));
	CHECK(last_zone == (uintptr_t)zone && last_arg2 == 100 && last_result == (uintptr_t)block);
	moved = malloc_zone_realloc(zone, block, 5000);
	CHECK(logged == 2 && last_arg2 == (uintptr_t)block && last_arg3 == 5000);
	CHECK(last_type ==
	      (MALLOC_LOG_TYPE_ALLOCATE | MALLOC_LOG_TYPE_DEALLOCATE | MALLOC_LOG_TYPE_HAS_ZONE));
	malloc_zone_free(zone, moved);
	CHECK(logged == 3 && last_arg2 == (uintptr_t)moved);
	malloc_zone_calloc(zone, 3, 5);
	CHECK(logged == 4 && last_arg2 == 15 && last_type & MALLOC_LOG_TYPE_CLEARED);
	malloc_zone_batch_malloc(zone, 16, blocks, 5);
	CHECK(logged == 9);
	malloc_zone_batch_free(zone, blocks, 5);
	CHECK(logged == 14);
	malloc_set_thread_options(mute);
	CHECK(malloc_get_thread_options().DisableMallocStackLogging);
	malloc_zone_free(zone, malloc_zone_malloc(zone, 1));
	CHECK(logged == 14);
	malloc_logger = NULL;
	malloc_destroy_zone(zone);
}

// While a feature makes each call go the long way, malloc and its kin are told as well.
static void logger_is_told_of_malloc(void)
{
	void *block, *moved;

	malloc_logger = logger;
	block = malloc(100);
	if (!getenv("MallocScribble") && !getenv("MallocCheckEdges")) {
		CHECK(logged == 0);
		malloc_logger = NULL;
		free(block);
		return;
	}
	CHECK(logged == 1 && last_type == (MALLOC_LOG_TYPE_ALLOCATE | MALLOC_LOG_TYPE_HAS_ZONE));
	CHECK(last_arg2 == 100 && last_result == (uintptr_t)block);
	moved = realloc(block, 5000);
	CHECK(logged == 2 && last_arg2 == (uintptr_t)block && last_arg3 == 5000);
	CHECK(last_type == (MALLOC_LOG_TYPE_ALLOCATE | MALLOC_LOG_TYPE_DEALLOCATE |
	                    MALLOC_LOG_TYPE_HAS_ZONE) &&
	      last_result == (uintptr_t)moved);
	free(moved);
	CHECK(logged == 3 && last_arg2 == (uintptr_t)moved);
	block = calloc(3, 5);
	CHECK(logged == 4 && last_arg2 == 15 && last_type & MALLOC_LOG_TYPE_CLEARED);
	moved = aligned_alloc(64, 640);
	CHECK(logged == 5 && last_arg2 == 640 && last_result == (uintptr_t)moved);
	free(NULL);
	CHECK(logged == 5);
	malloc_logger = NULL;
	free(block);
	free(moved);
}

static void *reported[10];
static unsigned report_count;

static void report(void *context, void *memory, void *info)
{
	(void)info;
	CHECK(context == reported && report_count < COUNT(reported));
	reported[report_count++] = memory;
}

static unsigned reports(malloc_zone_t *zone)
{
	report_count = 0;
	malloc_zone_enumerate_discharged_pointers_f(zone, reported, report);
	return report_count;
}

static void discharge(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	void *a = malloc_zone_malloc(zone, 100), *b = malloc_zone_malloc(zone, 200);
	void *c = malloc_zone_malloc(zone, 100000), *other = malloc(10);

	malloc_zone_discharge(zone, a);
	CHECK(reports(zone) == 0); // nobody checks
	CHECK(malloc_zone_enable_discharge_checking(zone));
	CHECK(malloc_zone_enable_discharge_checking(zone));
	malloc_zone_discharge(zone, a);
	malloc_zone_discharge(zone, a);
	malloc_zone_discharge(NULL, b);
	malloc_zone_discharge(zone, c);
	malloc_zone_discharge(zone, other);
	CHECK(reports(zone) == 3 && reports(NULL) == 3 && reports(malloc_default_zone()) == 0);
	malloc_zone_free(zone, a);
	CHECK(reports(zone) == 2 && reported[0] != a && reported[1] != a);
	free(c);
	CHECK(reports(zone) == 1 && reported[0] == b);
	malloc_zone_disable_discharge_checking(zone);
	CHECK(reports(zone) == 1);
	malloc_zone_disable_discharge_checking(zone);
	CHECK(reports(zone) == 0);
	malloc_destroy_zone(zone);
}

static void purgeable(void)
{
	enum { BYTES = 1 << 20 };
	malloc_zone_t *zone = malloc_default_purgeable_zone();
	char *kept = malloc_zone_malloc(zone, BYTES), *lost = malloc_zone_malloc(zone, BYTES);
	char *zero = malloc_zone_calloc(zone, 1, BYTES), *small = malloc_zone_malloc(zone, 100);
	char *foreign = malloc(BYTES);

	CHECK(malloc_zone_from_ptr(kept) == zone && malloc_size(kept) >= BYTES);
	memset(kept, 1, BYTES);
	memset(lost, 2, BYTES);
	memset(small, 3, 100);
	memset(foreign, 4, BYTES);
	CHECK(malloc_make_nonpurgeable(kept) == 0);
	malloc_make_purgeable(kept);
	CHECK(malloc_make_nonpurgeable(kept) == 0 && kept[0] == 1 && kept[BYTES - 1] == 1);
	malloc_make_purgeable(lost);
	malloc_make_purgeable(lost);
	malloc_make_purgeable(zero);
	malloc_make_purgeable(small);
	malloc_make_purgeable(foreign);
	CHECK(malloc_zone_pressure_relief(zone, 0) == 2 * BYTES);
	CHECK(malloc_make_nonpurgeable(lost) == EFAULT && is_zero(lost, BYTES));
	CHECK(malloc_make_nonpurgeable(lost) == 0);
	CHECK(malloc_make_nonpurgeable(zero) == 0 && is_zero(zero, BYTES));
	CHECK(malloc_make_nonpurgeable(small) == 0 && small[99] == 3);
	CHECK(malloc_make_nonpurgeable(foreign) == 0 && foreign[BYTES - 1] == 4);
	CHECK(kept[0] == 1);
	kept = malloc_zone_realloc(zone, kept, 3 * BYTES);
	CHECK(kept && kept[BYTES - 1] == 1);
	free(kept);
	malloc_zone_free(zone, lost);
	malloc_zone_free(zone, small);
	free(zero);
	CHECK(malloc_zone_check(zone));
}

static void typed_calls(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	void *block = malloc_type_zone_malloc(zone, 10, 1);

	CHECK(malloc_zone_from_ptr(block) == zone);
	block = malloc_type_zone_realloc(zone, block, 1000, 1);
	malloc_type_zone_free(zone, block, 1);
	block = malloc_type_zone_memalign(zone, 64, 10, 1);
	CHECK(!((uintptr_t)block & 63));
	CHECK(is_zero(malloc_type_zone_calloc(zone, 4, 4, 1), 16));
	CHECK(!((uintptr_t)malloc_type_zone_valloc(zone, 4, 1) & (page - 1)));
	CHECK(malloc_type_zone_malloc_with_options(zone, 16, 32, 0, 1));
	CHECK(malloc_type_zone_malloc(malloc_default_zone(), 1, 1));
	block = malloc_type_calloc(3, 3, 1);
	block = malloc_type_realloc(block, 30, 1);
	malloc_type_free(block, 1);
	malloc_type_free(malloc_type_malloc(3, 1), 1);
	CHECK(!((uintptr_t)malloc_type_valloc(3, 1) & (page - 1)));
	CHECK(malloc_type_aligned_alloc(64, 64, 1));
	CHECK(malloc_type_posix_memalign(&block, 3, 64, 1) == EINVAL);
	malloc_destroy_zone(zone);
}

static void table_calls(void)
{
	malloc_zone_t *zones[] = { malloc_default_zone(), malloc_create_zone(0, 0) };
	malloc_statistics_t stats;

	for (int i = 0; i < 2; i++) {
		malloc_zone_t *zone = zones[i];
		void *block = zone->malloc(zone, 100);

		CHECK(zone->size(zone, block) >= 100);
		block = zone->realloc(zone, block, 1000);
		zone->free(zone, block);
		zone->free_definite_size(zone, zone->calloc(zone, 5, 5), 25);
		zone->free(zone, zone->valloc(zone, 5));
		zone->free(zone, zone->memalign(zone, 256, 5));
		zone->free(zone, NULL);
		CHECK(zone->introspect->good_size(zone, 5) >= 5);
		CHECK(zone->introspect->check(zone));
		zone->introspect->force_lock(zone);
		CHECK(zone->introspect->zone_locked(zone));
		zone->introspect->statistics(zone, &stats);
		zone->introspect->force_unlock(zone);
		CHECK(!zone->introspect->zone_locked(zone));
		CHECK(zone->claimed_address(zone, zone->malloc(zone, 1)));
		zone->pressure_relief(zone, 0);
	}
}

static void messages(void)
{
	malloc_printf("%s %d %y\n", "text", -5, (size_t)10240);
	malloc_zone_print(malloc_default_zone(), 1);
	malloc_zone_print_ptr_info(malloc(100));
	malloc_zone_print_ptr_info(own_memory);
	malloc_zone_log(malloc_default_zone(), malloc(10));
	malloc_destroy_zone(malloc_default_zone());
}

static void block_moves(void)
{
	enum { BYTES = 10000 };
	static char from[BYTES + 200], to[BYTES + 200], expected[BYTES + 200];

	for (int i = 0; i < BYTES + 200; i++)
		from[i] = (char)(i * 7 + i / 256);
	for (int offset = 0; offset < 130; offset += 13)
		for (Size count = 0; count < BYTES; count = count * 2 + 1) {
			memset(to, 9, sizeof(to));
			memset(expected, 9, sizeof(to));
			BlockMoveDataUncached(from + offset / 2, to + offset, count);
			memmove(expected + offset, from + offset / 2, (size_t)count);
			CHECK(!memcmp(to, expected, sizeof(to)));
			BlockZeroDataUncached(to + offset, count);
			memset(expected + offset, 0, (size_t)count);
			CHECK(!memcmp(to, expected, sizeof(to)));
		}
	BlockMoveData(from, to, sizeof(to));
	memmove(expected, from, sizeof(to));
	BlockMoveDataUncached(to, to + 77, BYTES);
	memmove(expected + 77, expected, BYTES);
	CHECK(!memcmp(to, expected, sizeof(to)));
	BlockMove(to + 77, to, BYTES);
	memmove(expected, expected + 77, BYTES);
	BlockZero(to, -1);
	CHECK(!memcmp(to, expected, sizeof(to)));
}

static const struct zone_case cases[] = {
	{ "calloc-rules", calloc_rules },
	{ "realloc-rules", realloc_rules },
	{ "alignment-rules", alignment_rules },
	{ "options-rules", options_rules },
	{ "batch-rules", batch_rules },
	{ "claims", claims },
	{ "good-sizes", good_sizes },
	{ "own-zone-is-asked", own_zone_is_asked },
	{ "own-zone-is-first", own_zone_is_first },
	{ "hole-is-filled", hole_is_filled },
	{ "logger-is-told", logger_is_told },
	{ "logger-is-told-of-malloc", logger_is_told_of_malloc },
	{ "discharge", discharge },
	{ "purgeable", purgeable },
	{ "typed-calls", typed_calls },
	{ "table-calls", table_calls },
	{ "messages", messages },
	{ "block-moves", block_moves },
};

int main(int argc, char **argv)
{
	return run_case(cases, COUNT(cases), argc, argv);
}
