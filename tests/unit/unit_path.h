// SPDX-License-Identifier: MIT
// For tests that write a file: a path of each process's own, gone before and after each test, and numbers that
// are the same in every run.
#pragma once

#include <unistd.h>

#include "unit.h"

static char unit_path[128];

static int path_remove(void **state)
{
	(void)state;
	remove(unit_path);
	return 0;
}

static int path_make(void **state)
{
	snprintf(unit_path, sizeof(unit_path), "/tmp/heapwright-test-%d", getpid());
	return path_remove(state);
}

#define PATH_TEST(name) cmocka_unit_test_setup_teardown(name, path_make, path_remove)

// Knuth's MMIX generator.
static inline uint64_t random_next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}
