// SPDX-License-Identifier: MIT
// For tests of the collector: a played program (../record/player.h) for each test, and a place for its log.
#pragma once

#include "unit.h"

#include "../record/player.h"
#include "collect/collect_impl.h"

static char directory[] = "/tmp/test_collect.XXXXXX";
static char log_path[128];
static struct player player;

static const struct player_sizes small; // the test's

static int begin_test(void **state)
{
	(void)state;
	snprintf(log_path, sizeof(log_path), "%s/log", directory);
	unlink(log_path);
	return player_open(&player, &small, log_path) ? 0 : -1;
}

static int end_test(void **state)
{
	(void)state;
	munmap(player.header, player.bytes);
	close(player.fd);
	return 0;
}

static void check(const struct error *error)
{
	if (error)
		fail_msg("%s", error->text);
}

#define PLAYED_TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

// The group; what lies in the directory afterwards goes with it.
#define PLAYED_RUN(tests)                                                   \
	({                                                                  \
		int failed = 1;                                             \
                                                                            \
		if (mkdtemp(directory)) {                                   \
			failed = cmocka_run_group_tests(tests, NULL, NULL); \
			unlink(log_path);                                   \
			rmdir(directory);                                   \
		}                                                           \
		failed;                                                     \
	})
