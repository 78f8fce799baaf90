// SPDX-License-Identifier: MIT
// For tests of the collector: a played program (../record/player.h) for each test, and a place for its log.
#pragma once

#include "unit_path.h"

#include "../record/player.h"
#include "collect/collect_impl.h"

static struct player player;

static const struct player_sizes small; // the test's

static int begin_test(void **state)
{
	path_make(state);
	return player_open(&player, &small, unit_path) ? 0 : -1;
}

static int end_test(void **state)
{
	munmap(player.header, player.bytes);
	close(player.fd);
	return path_remove(state);
}

static void check(const struct error *error)
{
	if (error)
		fail_msg("%s", error->text);
}

#define PLAYED_TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)
