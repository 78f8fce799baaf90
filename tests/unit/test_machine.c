// SPDX-License-Identifier: MIT
// The room machine and the parsers below it: what the kernel writes is understood, what it would never
// write is left out, differences and levels are what their headers say.
#include "unit.h"

#include "base/base.h"
#include "machine/machine.h"
#include "os/os.h"

struct found {
	char names[256];
	uint64_t sum;
	unsigned count;
};

static void take(void *context, const char *name, size_t length, uint64_t value)
{
	struct found *found = context;

	strncat(found->names, name, length);
	strcat(found->names, " ");
	found->sum += value;
	found->count++;
}

static void counters_of_both_forms(void **state)
{
	static const char text[] = "nr_free_pages 12\nMemTotal:   3 kB\n\nAlone\nBad: x kB\n"
				   "Big: 18446744073709551615 kB\nHuge 99999999999999999999\n"
				   "Last: 7";
	struct found found = { 0 };

	(void)state;
	os_counters_parse(text, sizeof(text) - 1, take, &found);
	assert_string_equal(found.names, "nr_free_pages MemTotal Last ");
	assert_int_equal(found.sum, 12 + 3 * 1024 + 7);
}

static void pressure_has_two_lines(void **state)
{
	static const char text[] = "some avg10=1.25 avg60=0.00 avg300=99.99 total=26593340\n"
				   "full avg10=0.00 avg60=0.50 avg300=0.00 total=8245557\n";
	static const char cut[] = "some avg10=1.25 avg60=0.0";
	struct os_pressure pressure;

	(void)state;
	os_pressure_parse(text, sizeof(text) - 1, &pressure);
	assert_true(pressure.some.is_known && pressure.full.is_known);
	assert_true(pressure.some.share_10 == 1.25 && pressure.some.share_300 == 99.99);
	assert_int_equal(pressure.full.total_us, 8245557);
	os_pressure_parse(cut, sizeof(cut) - 1, &pressure);
	assert_false(pressure.some.is_known);
}

static void take_zone(void *context, const struct os_zone_name *zone, bool in_node,
                      const char *name, size_t length, uint64_t value)
{
	struct found *found = context;
	char text[64];

	snprintf(text, sizeof(text), "%u/%s/%d/%.*s=%u ", zone->node, zone->zone, in_node,
	         (int)length, name, (unsigned)value);
	strcat(found->names, text);
}

static void zones_and_nodes_are_told_apart(void **state)
{
	static const char text[] = "Node 1, zone   Normal\n  per-node stats\n      nr_dirty 5\n"
				   "  pages free     10\n        min      2\n"
				   "        protection: (0, 3019)\n      nr_mlock     3\n"
				   "  pagesets\n    cpu: 0\n              high:     9\n"
				   "  node_unreclaimable:  0\n";
	struct found found = { 0 };

	(void)state;
	os_zoneinfo_parse(text, sizeof(text) - 1, take_zone, &found);
	assert_string_equal(found.names, "1/Normal/1/nr_dirty=5 1/Normal/0/free=10 "
	                                 "1/Normal/0/min=2 1/Normal/0/nr_mlock=3 ");
}

static void mounts_and_groups_with_odd_names(void **state)
{
	static const char mounts[] =
		"35 31 0:32 / /v1 rw,relatime - cgroup cgroup rw,memory\n"
		"41 31 0:38 / /odd\\040\\134name rw shared:1 - cgroup2 cgroup2 rw\n";
	static const char groups[] = "4:cpu,memory:/a:b\033[31m\n0::/x y\n";
	char path[64], small[4];

	(void)state;
	assert_true(os_mount_find(mounts, sizeof(mounts) - 1, "cgroup2", NULL, path, 64));
	assert_string_equal(path, "/odd \\name");
	assert_true(os_mount_find(mounts, sizeof(mounts) - 1, "cgroup", "memory", path, 64));
	assert_string_equal(path, "/v1");
	assert_false(os_mount_find(mounts, sizeof(mounts) - 1, "cgroup", "mem", path, 64));
	assert_true(os_group_find(groups, sizeof(groups) - 1, "memory", path, 64));
	assert_string_equal(path, "/a:b\033[31m");
	assert_true(os_group_find(groups, sizeof(groups) - 1, NULL, path, 64));
	assert_string_equal(path, "/x y");
	assert_false(os_group_find(groups, sizeof(groups) - 1, NULL, small, sizeof(small)));
}

static void a_counter_is_found_by_its_whole_name(void **state)
{
	static const char text[] =
		"SwapCached:  7 kB\nSwap:   12 kB\nHuge: 18446744073709551615 kB\n"
		"pgmajfault 5\nActive(anon): 1 kB\nActive:\t2 kB\nLast 3";
	size_t bytes = sizeof(text) - 1;
	uint64_t value = 1;

	(void)state;
	assert_false(os_counter_find(text, 0, "Swap", &value));
	assert_false(os_counter_find(text, bytes, "SwapFree", &value));
	assert_false(os_counter_find(text, bytes, "Huge", &value));
	assert_int_equal(value, 1);
	assert_true(os_counter_find(text, bytes, "Swap", &value));
	assert_int_equal(value, 12 * 1024);
	assert_true(os_counter_find(text, bytes, "Active", &value));
	assert_int_equal(value, 2048);
	assert_true(os_counter_find(text, bytes, "pgmajfault", &value));
	assert_int_equal(value, 5);
	assert_true(os_counter_find(text, bytes, "Last", &value));
	assert_int_equal(value, 3);
}

static void memory_of_a_process_by_its_keys(void **state)
{
	static const char status[] = "Name:\ta\nVmLck:\t  8 kB\nVmRSS:\t 64 kB\nVmSwap: 4 kB\n";
	struct os_status_memory memory = { 0 };

	(void)state;
	os_status_memory_parse(status, 8, &memory);
	assert_false(memory.is_known);
	os_status_memory_parse(status, sizeof(status) - 1, &memory);
	assert_true(memory.is_known);
	assert_int_equal(memory.locked_bytes, 8192);
	assert_int_equal(memory.resident_bytes, 65536);
	assert_int_equal(memory.swapped_bytes, 4096);
}

static void this_machine_can_be_read(void **state)
{
	struct machine_sample before, after, between;
	uint64_t pages;

	(void)state;
	assert_null(machine_read(NULL, &before));
	assert_null(machine_read(NULL, &after));
	machine_subtract(&before, &after, &between);
	assert_true(machine_line_value(&machine_lines[0], &between.counters, between.page_bytes,
	                               &pages));
	assert_int_equal(pages, after.counters.value[MACHINE_FREE]);
	assert_int_equal(between.counters.value[MACHINE_FAULTS],
	                 after.counters.value[MACHINE_FAULTS] -
	                         before.counters.value[MACHINE_FAULTS]);
	// The other way round no total grows.
	machine_subtract(&after, &before, &between);
	assert_int_equal(between.counters.value[MACHINE_FAULTS], 0);
}

static void lines_sum_pages_and_bytes(void **state)
{
	struct machine_counters counters = { 0 };
	const struct machine_line *wired = &machine_lines[5], *purgeable = &machine_lines[6];
	uint64_t value;

	(void)state;
	assert_string_equal(wired->label, "Pages wired down");
	assert_false(machine_line_value(wired, &counters, 4096, &value));
	counters.value[MACHINE_UNEVICTABLE] = 10;
	counters.is_known[MACHINE_UNEVICTABLE] = true;
	counters.value[MACHINE_PERCPU] = 3 * 4096 + 1;
	counters.is_known[MACHINE_PERCPU] = true;
	assert_true(machine_line_value(wired, &counters, 4096, &value));
	assert_int_equal(value, 13);
	counters.is_known[MACHINE_ACTIVE_FILE] = counters.is_known[MACHINE_FILE] = true;
	counters.value[MACHINE_FILE] = 99;
	assert_true(machine_line_value(purgeable, &counters, 4096, &value));
	assert_int_equal(value, 0);
}

static struct machine_sample sample_of(uint64_t available, double some, uint64_t full_us)
{
	struct machine_sample sample = { .when_ns = 5000000000, .page_bytes = 4096 };

	sample.counters.is_known[MACHINE_AVAILABLE] = sample.counters.is_known[MACHINE_TOTAL] =
		true;
	sample.counters.value[MACHINE_AVAILABLE] = available;
	sample.counters.value[MACHINE_TOTAL] = 1000;
	sample.memory.some.is_known = sample.memory.full.is_known = true;
	sample.memory.some.share_10 = some;
	sample.memory.full.total_us = full_us;
	return sample;
}

static enum machine_level level_of(const struct machine_sample *before,
                                   const struct machine_sample *now)
{
	struct machine_verdict verdict;

	machine_judge(before, now, NULL, NULL, &verdict);
	return verdict.level;
}

static void levels_follow_the_rules(void **state)
{
	struct machine_sample calm = sample_of(500, 0, 0), some = sample_of(500, 10, 0);
	struct machine_sample little = sample_of(50, 0, 0), none = sample_of(20, 0, 0);
	struct machine_sample stuck = sample_of(500, 0, 200000), before = sample_of(500, 0, 0);
	struct machine_sample blind = { .when_ns = 1 };
	enum machine_level level;

	(void)state;
	before.when_ns = 3000000000;
	assert_int_equal(level_of(NULL, &calm), MACHINE_NORMAL);
	assert_int_equal(level_of(NULL, &some), MACHINE_WARNING);
	assert_int_equal(level_of(NULL, &little), MACHINE_WARNING);
	assert_int_equal(level_of(NULL, &none), MACHINE_CRITICAL);
	// 0.2 s of 2 s in which nothing ran.
	assert_int_equal(level_of(NULL, &stuck), MACHINE_NORMAL);
	assert_int_equal(level_of(&before, &stuck), MACHINE_CRITICAL);
	assert_int_equal(level_of(NULL, &blind), MACHINE_NORMAL);
	assert_true(machine_level_parse("critical", &level) && level == MACHINE_CRITICAL);
	assert_false(machine_level_parse("Critical", &level));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_of_both_forms),
		cmocka_unit_test(pressure_has_two_lines),
		cmocka_unit_test(zones_and_nodes_are_told_apart),
		cmocka_unit_test(mounts_and_groups_with_odd_names),
		cmocka_unit_test(a_counter_is_found_by_its_whole_name),
		cmocka_unit_test(memory_of_a_process_by_its_keys),
		cmocka_unit_test(this_machine_can_be_read),
		cmocka_unit_test(lines_sum_pages_and_bytes),
		cmocka_unit_test(levels_follow_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
