// SPDX-License-Identifier: MIT
// A log that the disk has no room for says so at its end.
#include "unit_path.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/base.h"
#include "log/log.h"
#include "os/os.h"

enum { EVENTS = 50 };

static const struct log_process process = { .id = 4711,
	                                    .mode = RECORD_FULL,
	                                    .name = "toy",
	                                    .path = "/usr/bin/toy",
	                                    .command_line = "toy",
	                                    .host = "here",
	                                    .system = "Linux",
	                                    .cpu = "x86_64" };

static void nodes_write(struct log_writer *writer, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct log_node node = { i * 2654435761u, i % 2 };

		assert_null(log_write_nodes(writer, &node, 1));
	}
}

static void events_write(struct log_writer *writer)
{
	struct log_event events[EVENTS] = { 0 };
	struct log_summary summary = { 0 };

	for (size_t i = 0; i < EVENTS; i++)
		events[i] = (struct log_event){ .kind = RECORD_MALLOC,
			                        .node = 1 + (uint32_t)i % 5,
			                        .address = 0x555555550000 + i * i * 16,
			                        .bytes = 8 + i };
	assert_null(log_write_events(writer, events, EVENTS, NULL, 0, &summary));
}

// Two blocks of events, and tables that wait for a third; then so many bytes more go into the file.
static void log_fill(size_t room_bytes)
{
	const struct log_thread thread = { 4711, 0, "toy" };
	struct log_writer *writer;
	struct rlimit all, little;
	uint32_t index;

	assert_null(log_create(unit_path, true, &process, &writer));
	assert_null(log_write_thread(writer, &thread, &index));
	nodes_write(writer, 9);
	events_write(writer);
	events_write(writer);
	nodes_write(writer, 1000);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	little = all;
	little.rlim_cur = log_written_bytes(writer) + room_bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
	assert_null(log_write_failure(writer, 1, "no room is left"));
	(void)log_close_writer(writer); // there may be none for the index
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
}

static void log_check(size_t blocks)
{
	struct log_reader *reader;
	struct arena arena;
	const char *note;

	arena_init(&arena, &os_page_source);
	assert_null(log_open(unit_path, &reader));
	assert_null(log_damage(reader));
	assert_int_equal(log_block_count(reader), blocks);
	assert_int_equal(log_note_count(reader), 1);
	assert_int_equal(log_note(reader, 0)->kind, LOG_NOTE_END);
	assert_null(log_read_note(reader, 0, &arena, &note));
	assert_string_equal(note, "no room is left");
	log_close(reader);
	arena_deinit(&arena);
}

static void waiting_tables_give_way_to_the_reason(void **state)
{
	(void)state;
	log_fill(300);
	log_check(2);
}

static void the_last_block_gives_way_to_the_reason(void **state)
{
	(void)state;
	log_fill(0);
	log_check(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PATH_TEST(waiting_tables_give_way_to_the_reason),
		PATH_TEST(the_last_block_gives_way_to_the_reason),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
