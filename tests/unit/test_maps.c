// SPDX-License-Identifier: MIT
// The parsers of /proc texts: what the kernel writes is understood, what it
// would never write is refused without reading beyond the text.
#include "unit.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "os/os.h"

struct parsed {
	struct arena arena;
	struct os_mapping *mappings;
	size_t count;
	struct error *error;
};

static struct parsed parse(const char *text)
{
	struct parsed parsed = { .count = 99 };

	arena_init(&parsed.arena, &os_page_source);
	parsed.error =
		os_maps_parse(&parsed.arena, text, strlen(text), &parsed.mappings, &parsed.count);
	return parsed;
}

static void maps_lines_become_mappings(void **state)
{
	struct parsed parsed =
		parse("00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/dbus-daemon\n"
	              "7ffe000-7fff000 rw-p 00000000 00:00 0 \n"
	              "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0    [vsyscall]\n");
	struct os_mapping *first = parsed.mappings;

	(void)state;
	assert_null(parsed.error);
	assert_int_equal(parsed.count, 3);
	assert_int_equal(first->start, 0x400000);
	assert_int_equal(first->end, 0x452000);
	assert_int_equal(first->protection, OS_READ | OS_EXEC);
	assert_false(first->shared);
	assert_int_equal(first->offset, 0x1000);
	assert_int_equal(first->device, makedev(8, 2));
	assert_int_equal(first->inode, 173521);
	assert_string_equal(first->name, "/usr/bin/dbus-daemon");
	assert_null(parsed.mappings[1].name);
	assert_string_equal(parsed.mappings[2].name, "[vsyscall]");
	assert_true(parsed.mappings[2].start == 0xffffffffff600000u);
	arena_deinit(&parsed.arena);
}

static void names_may_hold_anything(void **state)
{
	struct parsed parsed = parse("1000-2000 rw-s 00000000 00:01 7    /memfd:a b (deleted)\n"
	                             "3000-4000 r--p 00000000 00:01 8    /tmp/two\\012lines\n"
	                             "5000-6000 rw-p 00000000 00:00 0    [anon:x (deleted)]\n");

	(void)state;
	assert_null(parsed.error);
	assert_string_equal(parsed.mappings[0].name, "/memfd:a b");
	assert_true(parsed.mappings[0].deleted);
	assert_true(parsed.mappings[0].shared);
	assert_string_equal(parsed.mappings[1].name, "/tmp/two\nlines");
	assert_false(parsed.mappings[1].deleted);
	assert_string_equal(parsed.mappings[2].name, "[anon:x (deleted)]");
	assert_false(parsed.mappings[2].deleted);
	arena_deinit(&parsed.arena);
}

static void smaps_counts_go_to_their_mapping(void **state)
{
	struct parsed parsed = parse("1000-3000 rw-p 00000000 00:00 0 \n"
	                             "Size:                  8 kB\n"
	                             "Rss:                   4 kB\n"
	                             "Pss:                   4 kB\n"
	                             "Pss_Dirty:             1 kB\n"
	                             "Private_Dirty:         4 kB\n"
	                             "Swap:                  2 kB\n"
	                             "SwapPss:               1 kB\n"
	                             "NewerKernelsKey:       7 kB\n"
	                             "VmFlags: rd wr mr mw me ac sd \n"
	                             "4000-5000 r--p 00000000 00:00 0 \n"
	                             "Rss:                   0 kB\n");
	struct os_counts *counts = parsed.mappings[0].counts;

	(void)state;
	assert_null(parsed.error);
	assert_int_equal(parsed.count, 2);
	assert_non_null(counts);
	assert_int_equal(counts->resident, 4096);
	assert_int_equal(counts->proportional, 4096);
	assert_int_equal(counts->private_dirty, 4096);
	assert_int_equal(counts->swapped, 2048);
	assert_int_equal(counts->swapped_proportional, 1024);
	assert_string_equal(counts->flags, "rd wr mr mw me ac sd");
	assert_int_equal(parsed.mappings[1].counts->resident, 0);
	assert_string_equal(parsed.mappings[1].counts->flags, "");
	arena_deinit(&parsed.arena);
}

static void damaged_texts_are_refused(void **state)
{
	static const char *const texts[] = {
		"garbage\n",
		"1000-2000\n",
		"1000-2000 rw-\n",
		"1000-2000 rwzp 00000000 00:00 0\n",
		"1000-1000 rw-p 00000000 00:00 0\n",
		"2000-1000 rw-p 00000000 00:00 0\n",
		"10000000000000000-20000000000000000 rw-p 00000000 00:00 0\n",
		"1000-2000 rw-p 00000000 fffffffff:00 0\n",
		"1000-2000 rw-p 00000000 00:00 99999999999999999999999\n",
		"1000-3000 rw-p 00000000 00:00 0\n2000-4000 rw-p 00000000 00:00 0\n",
		"3000-4000 rw-p 00000000 00:00 0\n1000-2000 rw-p 00000000 00:00 0\n",
		"Rss: 4 kB\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct parsed parsed = parse(texts[i]);

		assert_non_null(parsed.error);
		assert_int_equal(parsed.error->kind, ERROR_DAMAGED);
		assert_int_equal(parsed.count, 0);
		arena_deinit(&parsed.arena);
	}
}

static void no_text_is_no_mapping(void **state)
{
	struct parsed parsed = parse("");

	(void)state;
	assert_null(parsed.error);
	assert_int_equal(parsed.count, 0);
	arena_deinit(&parsed.arena);
}

static void huge_counts_do_not_wrap(void **state)
{
	struct parsed parsed = parse("1000-2000 rw-p 00000000 00:00 0\n"
	                             "Rss: 18446744073709551615 kB\n"
	                             "AnonHugePages: 9007199254740991 kB\n"
	                             "FilePmdMapped: 9007199254740991 kB\n");

	(void)state;
	assert_null(parsed.error);
	assert_int_equal(parsed.mappings[0].counts->resident, 0);
	assert_true(parsed.mappings[0].counts->huge <= INT64_MAX);
	arena_deinit(&parsed.arena);
}

static void status_fields_are_read(void **state)
{
	static const char text[] =
		"Name:\tx\nState:\tt (tracing stop)\nTgid:\t42\nPPid:\t7\n"
		"TracerPid:\t99\nUid:\t1000\t0\t0\t0\nNSpid:\t42\t3\n"
		"VmRSS:\t    100 kB\nRssAnon:\t 60 kB\nThreads:\t5\nSeccomp:\t2\n";
	struct os_process process = { 0 };

	(void)state;
	assert_null(os_status_parse(text, strlen(text), &process));
	assert_int_equal(process.pid, 42);
	assert_int_equal(process.state, 't');
	assert_int_equal(process.tracer_pid, 99);
	assert_int_equal(process.uid[0], 1000);
	assert_int_equal(process.uid[1], 0);
	assert_int_equal(process.own_pid, 3);
	assert_int_equal(process.namespaces, 2);
	assert_int_equal(process.resident_bytes, 100 * 1024);
	assert_int_equal(process.anonymous_bytes, 60 * 1024);
	assert_int_equal(process.thread_count, 5);
	assert_int_equal(process.seccomp, 2);
}

static uint64_t sum;

static void add_value(void *context, uint64_t value)
{
	(void)context;
	sum += value;
}

static void add_timer(void *context, uint64_t id, uint64_t value)
{
	(void)context;
	sum += id * 1000 + value;
}

static void kernel_held_values_are_read(void **state)
{
	static const char epoll[] =
		"pos:\t0\nflags:\t02\nmnt_id:\t15\n"
		"tfd:        5 events:       19 data:           5f10  pos:0 ino:2a sdev:8\n"
		"tfd:        6 events: 80000019 data: ffffffffffffffff  pos:0 ino:2a sdev:8\n"
		"tfd: damaged\n";
	static const char timers[] = "ID: 2\nsignal: 10/00000000000000ab\nnotify: signal/pid.1\n"
				     "ClockID: 0\n";

	(void)state;
	sum = 0;
	os_epoll_parse(epoll, strlen(epoll), add_value, NULL);
	assert_true(sum == 0x5f10 + UINT64_MAX);
	sum = 0;
	os_timers_parse(timers, strlen(timers), add_timer, NULL);
	assert_int_equal(sum, 2000 + 0xab);
}

// A growing part of a mapping gets other rights: the border moves on between two lines of the list.
static _Noreturn void move_borders(void)
{
	enum { STEP_BYTES = 2 << 20, STEPS = 200 };

	for (;;) {
		char *memory = mmap(NULL, (size_t)STEPS * STEP_BYTES, PROT_NONE,
		                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		for (size_t i = 0; i < STEPS; i++)
			mprotect(memory + i * STEP_BYTES, STEP_BYTES, PROT_READ | PROT_WRITE);
		munmap(memory, (size_t)STEPS * STEP_BYTES);
	}
}

static void lists_that_change_while_they_are_read_are_read_again(void **state)
{
	enum { LOOKS = 2000 };
	pid_t pid = fork();
	struct error *error = NULL;

	(void)state;
	if (pid == 0)
		move_borders();
	for (int i = 0; !error && i < LOOKS; i++) {
		struct os_maps_text text;
		struct os_mapping *mappings;
		struct arena arena;
		size_t count;
		bool stable;

		arena_init(&arena, &os_page_source);
		error = os_maps_read(&arena, pid, &text, &mappings, &count);
		if (!error)
			error = os_mappings_read(&arena, pid, i % 2, &mappings, &count, &stable);
		arena_deinit(&arena);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (error)
		fail_msg("%s", error->text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_lines_become_mappings),
		cmocka_unit_test(names_may_hold_anything),
		cmocka_unit_test(smaps_counts_go_to_their_mapping),
		cmocka_unit_test(damaged_texts_are_refused),
		cmocka_unit_test(no_text_is_no_mapping),
		cmocka_unit_test(huge_counts_do_not_wrap),
		cmocka_unit_test(status_fields_are_read),
		cmocka_unit_test(kernel_held_values_are_read),
		cmocka_unit_test(lists_that_change_while_they_are_read_are_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
