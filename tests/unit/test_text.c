// SPDX-License-Identifier: MIT
// base/text: sizes as macOS prints them, numbers from command lines, hostile names.
#include "unit.h"

#include "base/arena.h"
#include "base/text.h"

static void assert_size(uint64_t bytes, const char *expected)
{
	char buffer[TEXT_SIZE_BYTES];

	assert_string_equal(text_size(bytes, buffer), expected);
}

static void sizes_have_three_digits(void **state)
{
	(void)state;
	assert_size(0, "0 bytes");
	assert_size(768, "768 bytes");
	assert_size(1, "1 byte");
	assert_size(999, "999 bytes");
	assert_size(1000, "0.98K");
	assert_size(1029, "1.00K");
	assert_size(1664, "1.62K"); // halves to the even digit, as printf
	assert_size(2688, "2.62K");
	assert_size(10240, "10.0K");
	assert_size(102912, "100K");
	assert_size(103936, "102K");
	assert_size(1023487, "999K");
	assert_size(1023488, "0.98M");
	assert_size(2642, "2.58K");
	assert_size(18842, "18.4K");
	assert_size(5075108, "4.84M");
	assert_size((uint64_t)3 << 30, "3.00G");
}

static void assert_size_k(uint64_t bytes, const char *expected)
{
	char buffer[TEXT_SIZE_BYTES];

	assert_string_equal(text_size_k(bytes, buffer), expected);
}

static void region_sizes_are_whole_k(void **state)
{
	(void)state;
	assert_size_k(16384, "16K");
	assert_size_k(9999 * 1024, "9999K");
	assert_size_k((uint64_t)8 << 30, "8.0G");
}

static void numbers_take_units(void **state)
{
	uint64_t value = 0;

	(void)state;
	assert_int_equal(text_parse_u64("4096", &value), 0);
	assert_int_equal(value, 4096);
	assert_int_equal(text_parse_u64("0x1000", &value), 0);
	assert_int_equal(value, 0x1000);
	assert_int_equal(text_parse_u64("4k", &value), 0);
	assert_int_equal(value, 4096);
	assert_int_equal(text_parse_u64("2M", &value), 0);
	assert_int_equal(value, 2 << 20);
	assert_int_equal(text_parse_u64("18446744073709551615", &value), 0);
	assert_true(value == UINT64_MAX);
}

static void wrong_numbers_are_refused(void **state)
{
	static const char *const wrong[] = {
		"", "x", "-1", "4kk", "0x", "18446744073709551616", "17179869184G", "1 2"
	};
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		if (text_parse_u64(wrong[i], &value) != -1)
			fail_msg("'%s' was taken for %llu", wrong[i], (unsigned long long)value);
}

static void seconds_take_fractions(void **state)
{
	uint64_t ns = 0;

	(void)state;
	assert_int_equal(text_parse_seconds("2", &ns), 0);
	assert_int_equal(ns, 2000000000);
	assert_int_equal(text_parse_seconds("0.5", &ns), 0);
	assert_int_equal(ns, 500000000);
	assert_int_equal(text_parse_seconds("99999999999999999999", &ns), -1);
	assert_int_equal(text_parse_seconds("soon", &ns), -1);
}

static void hostile_names_cannot_drive_a_terminal(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena, &unit_pages);
	assert_string_equal(text_printable(&arena, "plain"), "plain");
	assert_string_equal(text_printable(&arena, "caf\303\251"), "caf\303\251");
	assert_string_equal(text_printable(&arena, "a\033[2Jb\n"), "a\\x1B[2Jb\\x0A");
	assert_string_equal(text_printable(&arena, "\177"), "\\x7F");
	assert_string_equal(text_printable(&arena, "\377"), "\\xFF");
	// U+202E turns the writing direction round; U+009B starts an escape sequence.
	assert_null(strstr(text_printable(&arena, "\342\200\256x"), "\342\200\256"));
	assert_null(strstr(text_printable(&arena, "\302\233x"), "\302\233"));
	arena_deinit(&arena);
}

static void utf8_is_strict(void **state)
{
	uint32_t value = 0;

	(void)state;
	assert_int_equal(text_utf8("\342\202\254", &value), 3);
	assert_int_equal(value, 0x20ac);
	assert_int_equal(text_utf8("\360\237\230\200", &value), 4);
	assert_int_equal(value, 0x1f600);
	assert_int_equal(text_utf8("\300\257", &value), 0);         // overlong
	assert_int_equal(text_utf8("\355\240\200", &value), 0);     // surrogate
	assert_int_equal(text_utf8("\364\220\200\200", &value), 0); // above U+10FFFF
	assert_int_equal(text_utf8("\342\202", &value), 0);         // cut off
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_three_digits),
		cmocka_unit_test(region_sizes_are_whole_k),
		cmocka_unit_test(numbers_take_units),
		cmocka_unit_test(wrong_numbers_are_refused),
		cmocka_unit_test(seconds_take_fractions),
		cmocka_unit_test(hostile_names_cannot_drive_a_terminal),
		cmocka_unit_test(utf8_is_strict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
