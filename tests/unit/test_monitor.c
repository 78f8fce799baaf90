// SPDX-License-Identifier: MIT
// monitor: rates and growth between samples, the rule of thrashing, pages that are never wider than the
// screen, and recordings: what was written comes back, bytes that were not written so are refused.
#include "unit_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "monitor/monitor.h"
#include "os/os.h"

#define SECOND 1000000000u

static void set(struct monitor_numbers *numbers, enum monitor_number number, uint64_t value)
{
	numbers->is_known[number] = true;
	numbers->value[number] = value;
}

static void add_process(struct monitor_sample *sample, int pid, const char *name, uint64_t bytes,
                        uint64_t faults)
{
	struct monitor_process *process = vec_add(&sample->processes);

	*process = (struct monitor_process){ .pid = pid,
		                             .start = 7,
		                             .footprint_bytes = bytes,
		                             .resident_bytes = 2 * bytes,
		                             .soft_faults = faults };
	snprintf(process->name, sizeof(process->name), "%s", name);
}

// Second number i of a machine whose process 10 grows and whose process 20 does not.
static void make_sample(struct monitor_sample *sample, uint64_t i)
{
	sample->wall_ns = 1700000000u * (uint64_t)SECOND + i * SECOND;
	sample->when_ns = (i + 1) * SECOND;
	sample->level = i % 2 ? MACHINE_WARNING : MACHINE_NORMAL;
	sample->process_count = 300;
	sample->numbers = (struct monitor_numbers){ 0 };
	set(&sample->numbers, MONITOR_SIZE, 8u << 30);
	set(&sample->numbers, MONITOR_FREE, (4u << 20) + i);
	set(&sample->numbers, MONITOR_FAULTS, 1000 * i);
	set(&sample->numbers, MONITOR_SWAP_USED, 0);
	sample->processes.n = 0;
	add_process(sample, 10, "grows", (1u << 20) + i * 4096, 50 * i);
	add_process(sample, 20, "stays", 64u << 20, 0);
}

static void test_rates(void **state)
{
	struct monitor_sample sample;
	struct monitor_view view;

	(void)state;
	monitor_sample_init(&sample);
	monitor_view_init(&view);
	for (uint64_t i = 0; i < 4; i++) {
		make_sample(&sample, i);
		monitor_view_add(&view, &sample);
	}
	assert_int_equal(view.row_count, 2);
	assert_string_equal(view.rows.v[0].process.name, "stays");
	assert_true(view.rate[MONITOR_FAULTS] == 1000);
	assert_false(view.numbers.is_known[MONITOR_WIRED]);
	monitor_view_sort(&view, MONITOR_BY_GROWTH, false);
	assert_int_equal(view.rows.v[0].process.pid, 10);
	assert_int_equal(view.rows.v[0].growth_bytes, 3 * 4096);
	assert_true(view.rows.v[0].faults == 50);
	monitor_view_reset_growth(&view);
	assert_int_equal(view.rows.v[0].growth_bytes, 0);
	// Another process may get the number: it did not grow from the old one.
	make_sample(&sample, 4);
	sample.processes.v[0].start = 8;
	monitor_view_add(&view, &sample);
	monitor_view_sort(&view, MONITOR_BY_PID, false);
	assert_int_equal(view.row_count, 2);
	assert_int_equal(view.rows.v[0].growth_bytes, 0);
	monitor_view_deinit(&view);
	monitor_sample_deinit(&sample);
}

static bool thrashes(uint64_t stall_us, uint64_t refaulted, uint64_t reclaimed, bool has_stall)
{
	struct monitor_numbers before = { 0 }, now = { 0 };
	struct monitor_verdict verdict;

	set(&before, MONITOR_REFAULTED, 5);
	set(&now, MONITOR_REFAULTED, 5 + refaulted);
	set(&before, MONITOR_RECLAIMED, 5);
	set(&now, MONITOR_RECLAIMED, 5 + reclaimed);
	if (has_stall) {
		set(&before, MONITOR_STALL_SOME, 0);
		set(&now, MONITOR_STALL_SOME, stall_us);
		set(&before, MONITOR_STALL_FULL, 0);
		set(&now, MONITOR_STALL_FULL, stall_us);
	}
	monitor_judge(&before, &now, SECOND, &verdict);
	return verdict.is_thrashing;
}

// The rule as docs/monitor.md states it.
static void test_thrashing(void **state)
{
	const uint64_t mib = 1 << 20;

	(void)state;
	assert_true(thrashes(50000, 1 * mib, 5 * mib, true));
	assert_false(thrashes(49000, 1 * mib, 5 * mib, true));  // tasks hardly wait
	assert_false(thrashes(500000, 1 * mib, 6 * mib, true)); // most of it is not needed again
	assert_false(thrashes(500000, mib - 4096, mib, true));  // too little
	assert_true(thrashes(0, 4 * mib, 8 * mib, false)); // nobody measures how long tasks wait
	assert_false(thrashes(0, 3 * mib, 6 * mib, false));
	assert_false(thrashes(0, 4 * mib, 9 * mib, false));
}

// --- pages ---------------------------------------------------------------------------------------
struct seen {
	unsigned width, lines;
	bool names_a_process;
};

// Columns of a text that has no letters but those of one column.
static unsigned columns_of(const char *text)
{
	unsigned columns = 0;

	while (*text) {
		uint32_t value;
		size_t n = text_utf8(text, &value);

		assert_true(n > 0 && value >= 0x20 && value != 0x7f &&
		            !(value >= 0x80 && value < 0xa0));
		text += n;
		columns++;
	}
	return columns;
}

static void see(void *context, enum monitor_style style, const char *text)
{
	struct seen *seen = context;

	(void)style;
	assert_true(columns_of(text) <= seen->width);
	seen->names_a_process = seen->names_a_process || strstr(text, "\\x1B[2J");
	seen->lines++;
}

static void test_pages(void **state)
{
	struct monitor_sample sample;
	struct monitor_view view;

	(void)state;
	monitor_sample_init(&sample);
	monitor_view_init(&view);
	for (uint64_t i = 0; i < 200; i++) {
		make_sample(&sample, i);
		add_process(&sample, 30, "\x1b[2J\x80\xff\xe2\x80\xae", UINT64_MAX / 4, i * i * i);
		monitor_view_add(&view, &sample);
	}
	for (unsigned width = 1; width < 400; width += width < 100 ? 1 : 37) {
		for (unsigned height = 0; height < 40; height += 3) {
			struct seen seen = { .width = width };
			struct monitor_page page = { .width = width,
				                     .height = height,
				                     .utf8 = height % 2,
				                     .title = "a title \x1b and more of it",
				                     .status = height ? "status" : NULL,
				                     .interval_ns = SECOND };

			monitor_page_write(&view, &page, see, &seen);
			assert_true(!height || seen.lines <= height);
			if (width >= 80 && (!height || height >= 24))
				assert_true(seen.names_a_process);
			monitor_help_write(&page, true, see, &seen);
		}
	}
	monitor_view_deinit(&view);
	monitor_sample_deinit(&sample);
}

// --- recordings ----------------------------------------------------------------------------------
static void write_samples(const char *path, uint64_t count, uint64_t limit, unsigned processes)
{
	struct monitor_recorder *recorder;
	struct monitor_sample sample;
	struct monitor_view view;

	monitor_sample_init(&sample);
	monitor_view_init(&view);
	assert_null(monitor_record_open(path, SECOND, limit, &recorder));
	for (uint64_t i = 0; i < count; i++) {
		make_sample(&sample, i);
		for (unsigned k = 0; k < processes; k++)
			add_process(&sample, 1000 + (int)k, "one of many", k, 0);
		monitor_view_add(&view, &sample);
		assert_null(monitor_record_add(recorder, &sample, &view));
	}
	assert_null(monitor_record_close(recorder));
	monitor_view_deinit(&view);
	monitor_sample_deinit(&sample);
}

static void test_written_comes_back(void **state)
{
	struct monitor_recorder *recorder;
	struct monitor_sample sample;
	struct monitor_file file;

	(void)state;
	write_samples(unit_path, 5, 1 << 20, 0);
	assert_true(monitor_file_is(unit_path));
	assert_null(monitor_file_open(unit_path, &file));
	assert_int_equal(file.samples.n, 5);
	assert_int_equal(file.interval_ns, SECOND);
	assert_false(file.is_cut);
	monitor_sample_init(&sample);
	assert_null(monitor_file_read(&file, 3, &sample));
	assert_int_equal(sample.level, MACHINE_WARNING);
	assert_int_equal(sample.process_count, 300);
	assert_int_equal(sample.numbers.value[MONITOR_FREE], (4u << 20) + 3);
	assert_true(sample.numbers.is_known[MONITOR_SWAP_USED]);
	assert_false(sample.numbers.is_known[MONITOR_WIRED]);
	assert_int_equal(sample.processes.n, 2);
	assert_string_equal(sample.processes.v[1].name, "grows");
	assert_int_equal(sample.processes.v[1].footprint_bytes, (1u << 20) + 3 * 4096);
	assert_int_equal(sample.processes.v[1].soft_faults, 150);
	monitor_sample_deinit(&sample);
	monitor_file_close(&file);
	assert_non_null(monitor_record_open(unit_path, SECOND, 1 << 20, &recorder)); // it is there
}

// Every second sample goes when the file is full; the newest one is always there.
static void test_limit(void **state)
{
	struct monitor_sample sample;
	struct monitor_file file;
	uint64_t last = 0;

	(void)state;
	write_samples(unit_path, 2000, 20000, 60);
	monitor_sample_init(&sample);
	assert_null(monitor_file_open(unit_path, &file));
	assert_true(file.count <= 20000);
	assert_true(file.samples.n > 4 && file.samples.n < 100);
	for (size_t i = 0; i < file.samples.n; i++) {
		assert_null(monitor_file_read(&file, i, &sample));
		assert_true(sample.when_ns > last);
		last = sample.when_ns;
	}
	assert_int_equal(last, (uint64_t)2000 * SECOND);
	assert_true(sample.processes.n <= 80);
	monitor_file_close(&file);
	monitor_sample_deinit(&sample);
}

// Cut off anywhere, a recording has fewer samples, or is none.
static void test_cut(void **state)
{
	static uint8_t bytes[1 << 16];
	size_t n, most = 0;
	FILE *in;

	(void)state;
	write_samples(unit_path, 4, 1 << 20, 0);
	in = fopen(unit_path, "rb");
	assert_non_null(in);
	n = fread(bytes, 1, sizeof(bytes), in);
	fclose(in);
	for (size_t count = 0; count <= n; count++) {
		uint8_t *copy = malloc(count + 1); // so that a sanitizer sees the end
		struct monitor_file file;

		memcpy(copy, bytes, count);
		if (!monitor_file_parse(copy, count, &file)) {
			assert_true(file.samples.n >= most);
			most = file.samples.n;
			monitor_file_close(&file);
		}
		free(copy);
	}
	assert_int_equal(most, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates), cmocka_unit_test(test_thrashing),
		cmocka_unit_test(test_pages), PATH_TEST(test_written_comes_back),
		PATH_TEST(test_limit),        PATH_TEST(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
