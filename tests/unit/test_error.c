// SPDX-License-Identifier: MIT
// base/error: kinds, places and texts survive on their way up.
#include "unit.h"

#include <errno.h>

#include "base/error.h"

static void errors_carry_kind_and_place(void **state)
{
	(void)state;
	const struct error *error = error_at(ERROR_DAMAGED, 0x1234, "size %d", 7);

	assert_int_equal(error->kind, ERROR_DAMAGED);
	assert_true(error->has_address);
	assert_int_equal(error->address, 0x1234);
	assert_string_equal(error->text, "size 7");
	assert_false(error_new(ERROR_USAGE, "no place")->has_address);
}

static void errno_becomes_a_kind(void **state)
{
	(void)state;
	assert_int_equal(error_system(EPERM, "x")->kind, ERROR_RIGHTS);
	assert_int_equal(error_system(EACCES, "x")->kind, ERROR_RIGHTS);
	assert_int_equal(error_system(ESRCH, "x")->kind, ERROR_GONE);
	const struct error *error = error_system(ENOSPC, "write %s", "file");

	assert_int_equal(error->kind, ERROR_SYSTEM);
	assert_int_equal(error->errno_value, ENOSPC);
	assert_string_equal(error->text, "write file: No space left on device");
}

static void prefixes_keep_kind_and_place(void **state)
{
	char name[1000];

	(void)state;
	struct error *error = error_at(ERROR_FAULT, 16, "not mapped");

	assert_ptr_equal(error_prefix(error, "arena %d", 3), error);
	assert_string_equal(error->text, "arena 3: not mapped");
	assert_int_equal(error->address, 16);

	// However long the name is, the text ends within its space.
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	error_prefix(error, "%s", name);
	assert_true(strlen(error->text) < sizeof(error->text));
}

static void older_errors_stay_valid_for_a_while(void **state)
{
	(void)state;
	const struct error *first = error_new(ERROR_USAGE, "first");

	for (int i = 0; i < 63; i++)
		error_new(ERROR_USAGE, "error %d", i);
	assert_string_equal(first->text, "first");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_carry_kind_and_place),
		cmocka_unit_test(errno_becomes_a_kind),
		cmocka_unit_test(prefixes_keep_kind_and_place),
		cmocka_unit_test(older_errors_stay_valid_for_a_while),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
