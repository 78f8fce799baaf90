// SPDX-License-Identifier: MIT
// base/arena, base/vec, base/checked and base/search: memory that is zeroed and aligned, growth that
// keeps what is there, sums that are told when they do not fit, the first of what is sorted.
#include "unit.h"

#include "base/arena.h"
#include "base/checked.h"
#include "base/search.h"
#include "base/vec.h"

static void arena_memory_is_zeroed_and_aligned(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena, &unit_pages);
	for (size_t bytes = 0; bytes < 3000; bytes += 7) {
		unsigned char *block = arena_alloc(&arena, bytes);

		assert_int_equal((uintptr_t)block % 16, 0);
		for (size_t i = 0; i < bytes; i++)
			assert_int_equal(block[i], 0);
		memset(block, 0xff, bytes);
	}
	assert_ptr_not_equal(arena_alloc(&arena, 0), arena_alloc(&arena, 0));
	arena_deinit(&arena);
}

static void arena_gives_blocks_larger_than_a_chunk(void **state)
{
	struct arena arena;
	size_t bytes = (size_t)20 << 20;

	(void)state;
	arena_init(&arena, &unit_pages);
	char *small = arena_copy(&arena, "small");
	char *large = arena_alloc(&arena, bytes);
	large[0] = large[bytes - 1] = 1;
	assert_string_equal(small, "small");
	assert_string_equal(arena_copy_n(&arena, "abcdef", 3), "abc");
	assert_string_equal(arena_copy_n(&arena, "ab", 30), "ab");
	assert_string_equal(arena_format(&arena, "%d-%s", 7, "x"), "7-x");
	arena_deinit(&arena);
}

static void vectors_keep_their_elements(void **state)
{
	VEC(uint64_t) numbers;

	(void)state;
	vec_init(&numbers, &unit_pages);
	for (uint64_t i = 0; i < 10000; i++)
		vec_push(&numbers, i * i);
	assert_int_equal(numbers.n, 10000);
	for (uint64_t i = 0; i < 10000; i++)
		assert_int_equal(numbers.v[i], i * i);
	assert_int_equal(*vec_add(&numbers), 0);
	vec_deinit(&numbers);
	assert_int_equal(numbers.n, 0);
}

static void what_does_not_fit_is_told(void **state)
{
	uint64_t result;

	(void)state;
	assert_true(checked_add(1, 2, &result));
	assert_int_equal(result, 3);
	assert_false(checked_add(UINT64_MAX, 1, &result));
	assert_false(checked_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &result));
	assert_true(checked_within(0, 10, 10));
	assert_true(checked_within(10, 0, 10));
	assert_false(checked_within(1, 10, 10));
	assert_false(checked_within(UINT64_MAX, 2, 10));
	assert_false(checked_within(2, UINT64_MAX, 10));
}

static void the_first_of_a_sorted_list_is_found(void **state)
{
	static const unsigned list[] = { 1, 3, 3, 3, 7 };
	static const size_t firsts[] = { 0, 0, 1, 1, 4, 4, 4, 4, 5 };

	(void)state;
	assert_int_equal(first_index(0, i, list[i] >= 1), 0);
	for (unsigned wanted = 0; wanted < sizeof(firsts) / sizeof(firsts[0]); wanted++)
		assert_int_equal(first_index(5, i, list[i] >= wanted), firsts[wanted]);
	assert_int_equal(first_index(4, i, list[i] > 3), 4);
	assert_int_equal(first_index(1, i, list[i] > 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
		cmocka_unit_test(arena_gives_blocks_larger_than_a_chunk),
		cmocka_unit_test(vectors_keep_their_elements),
		cmocka_unit_test(what_does_not_fit_is_told),
		cmocka_unit_test(the_first_of_a_sorted_list_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
