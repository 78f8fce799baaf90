// SPDX-License-Identifier: MIT
// Reading through segments: across neighbours, up to gaps, words of both sizes
// and byte orders, strings.
#include "unit.h"

#include "base/base.h"
#include "target/target.h"

static const uint8_t low[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
static const uint8_t high[16] = "hello world";
static const uint8_t far[16] = { 0xff };

static struct target *make(unsigned word_bytes)
{
	const struct target_segment segments[] = {
		{ .start = 0x1000, .end = 0x1010, .protection = 3, .readable = true, .image = low },
		{ .start = 0x1010,
		  .end = 0x1020,
		  .protection = 1,
		  .readable = true,
		  .image = high },
		{ .start = 0x2000, .end = 0x2010, .readable = false, .image = far },
		{ .start = 0xfffffffffffffff0u,
		  .end = 0xffffffffffffffffu,
		  .readable = true,
		  .image = far },
	};

	return target_from_segments(segments, 4, word_bytes);
}

static void reads_cross_segments_and_stop_at_gaps(void **state)
{
	struct target *target = make(8);
	uint8_t buffer[64];
	struct error *error;

	(void)state;
	assert_int_equal(target_read_some(target, 0x1008, buffer, 64), 24);
	assert_memory_equal(buffer, low + 8, 8);
	assert_memory_equal(buffer + 8, high, 16);
	assert_int_equal(target_read_some(target, 0xfff, buffer, 4), 0);
	assert_int_equal(target_read_some(target, 0x2000, buffer, 4), 0);
	error = target_read(target, 0x1018, buffer, 16);
	assert_non_null(error);
	assert_int_equal(error->kind, ERROR_FAULT);
	assert_true(error->has_address && error->address == 0x1020);
	assert_null(target_read(target, 0x1000, buffer, 32));
	target_close(target);
}

static void the_end_of_the_address_space_is_no_trap(void **state)
{
	struct target *target = make(8);
	uint8_t buffer[64];

	(void)state;
	assert_int_equal(target_read_some(target, 0xfffffffffffffff8u, buffer, 64), 7);
	assert_null(target_bytes(target, 0xfffffffffffffff8u, 64));
	assert_non_null(target_bytes(target, 0xfffffffffffffff8u, 7));
	target_close(target);
}

static void words_have_the_targets_size_and_order(void **state)
{
	struct target *wide = make(8), *narrow = make(4);
	uint64_t word;

	(void)state;
	assert_null(target_read_word(wide, 0x1000, &word));
	assert_true(word == 0x0807060504030201u);
	wide->big_endian = true;
	assert_null(target_read_word(wide, 0x1000, &word));
	assert_true(word == 0x0102030405060708u);
	assert_null(target_read_word(narrow, 0x1000, &word));
	assert_true(word == 0x04030201u);
	assert_non_null(target_read_word(wide, 0x101c, &word));
	target_close(wide);
	target_close(narrow);
}

static void strings_end_with_nul_or_are_refused(void **state)
{
	struct target *target = make(8);
	const char *text;

	(void)state;
	assert_null(target_read_string(target, target->arena, 0x1010, 64, &text));
	assert_string_equal(text, "hello world");
	assert_null(target_read_string(target, target->arena, 0x1010, 12, &text));
	assert_non_null(target_read_string(target, target->arena, 0x1010, 11, &text));
	assert_non_null(target_read_string(target, target->arena, 0x3000, 11, &text));
	target_close(target);
}

static void segments_are_found_by_address(void **state)
{
	struct target *target = make(8);

	(void)state;
	assert_int_equal(target_segment_index(target, 0), 0);
	assert_int_equal(target_segment_index(target, 0x1010), 1);
	assert_int_equal(target_segment_index(target, 0x1020), 2);
	assert_int_equal(target_segment_index(target, UINT64_MAX), 4);
	assert_null(target_segment_at(target, 0x1fff));
	assert_ptr_equal(target_segment_at(target, 0x200f), &target->segments[2]);
	target_close(target);
}

static void bytes_lie_in_one_image(void **state)
{
	struct target *target = make(8);

	(void)state;
	assert_ptr_equal(target_bytes(target, 0x1004, 12), low + 4);
	assert_null(target_bytes(target, 0x1004, 13));
	assert_null(target_bytes(target, 0x5000, 1));
	target_close(target);
}

static void what_only_others_can_do_is_said(void **state)
{
	struct target *target = make(8);
	struct target_shared shared;
	const void *bytes;
	size_t n;

	(void)state;
	assert_int_equal(target_share(target, 1, &shared)->kind, ERROR_UNSUPPORTED);
	assert_int_equal(target_run(target, 0, 0, 0)->kind, ERROR_UNSUPPORTED);
	assert_int_equal(target_section(target, 1, &bytes, &n)->kind, ERROR_NOT_FOUND);
	target_close(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_cross_segments_and_stop_at_gaps),
		cmocka_unit_test(the_end_of_the_address_space_is_no_trap),
		cmocka_unit_test(words_have_the_targets_size_and_order),
		cmocka_unit_test(strings_end_with_nul_or_are_refused),
		cmocka_unit_test(segments_are_found_by_address),
		cmocka_unit_test(bytes_lie_in_one_image),
		cmocka_unit_test(what_only_others_can_do_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
