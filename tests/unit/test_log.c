// SPDX-License-Identifier: MIT
// Logs: what was written is read again, cut off or damaged files give what is whole and say so.
#include "unit.h"

#include <unistd.h>

#include "base/base.h"
#include "log/log.h"
#include "os/os.h"

static char path[64];

static const struct log_process process = {
	.id = 4711,
	.mode = RECORD_FULL,
	.what = RECORD_WHAT_MALLOC | RECORD_WHAT_VM,
	.wall_ns = 1790000000000000000u,
	.monotonic_ns = 123456789,
	.attached = 1,
	.parent = 42,
	.name = "toy",
	.path = "/usr/bin/toy",
	.command_line = "toy --loud 'a b'",
	.host = "here",
	.system = "Linux",
	.cpu = "x86_64",
};

static int path_make(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/heapwright-test-log-%d", getpid());
	remove(path);
	return 0;
}

static int path_remove(void **state)
{
	(void)state;
	remove(path);
	return 0;
}

// Numbers that are the same in every run (Knuth's MMIX generator).
static uint64_t random_next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

// count events of a program that allocates and frees in a loop, with all kinds now and then.
static struct log_event *events_make(size_t count, uint64_t seed)
{
	struct log_event *events = calloc(count, sizeof(*events));
	static const uint8_t kinds[] = { RECORD_CALLOC,       RECORD_ALIGNED,    RECORD_REALLOC,
		                         RECORD_REALLOC_FREE, RECORD_MAP,        RECORD_UNMAP,
		                         RECORD_REMAP_FREE,   RECORD_SHM_OPEN,   RECORD_SHMAT,
		                         RECORD_THREAD,       RECORD_THREAD_END, RECORD_FORK,
		                         RECORD_EXEC,         RECORD_GAP,        RECORD_MARK,
		                         RECORD_STOP,         RECORD_MODULES,    RECORD_RETAIN,
		                         RECORD_MEMCPY };
	uint64_t time_ns = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t dice = random_next(&seed);
		struct log_event *event = &events[i];

		time_ns += 1000 * (dice % 3);
		event->time_ns = time_ns;
		event->thread = dice / 7 % 50 ? 0 : 1;
		event->node = 1 + (uint32_t)(dice / 3 % 9);
		event->kind = dice % 2 ? RECORD_MALLOC : RECORD_FREE;
		event->address = 0x555555550000 + dice / 5 % 4096 * 16;
		if (dice / 11 % 100 == 0) {
			event->kind = kinds[dice / 1100 % sizeof(kinds)];
			event->extra = (uint32_t)random_next(&seed);
			event->address = random_next(&seed) << 33 | random_next(&seed);
		}
		if (event->kind == RECORD_FREE)
			event->type = dice / 13 % 4 ? LOG_TYPE_NONE : 1;
		else
			event->bytes = dice / 17 % 1000 ? 8 + dice / 19 % 300 : UINT64_MAX - 4096;
	}
	return events;
}

static void tables_write(struct log_writer *writer)
{
	const struct log_node nodes[] = { { 0x7f0000001234, 0 },
		                          { 0x7f0000001234 | RECORD_NODE_EXACT, 1 },
		                          { 0x555500001111 | RECORD_NODE_TRUNCATED, 2 },
		                          { 0x555500001111, 0 },
		                          { 0x555500001112, 4 },
		                          { 0x555500001113, 5 },
		                          { 0x555500001114, 6 },
		                          { 0x555500001115, 6 },
		                          { 1, 0 } };
	const struct log_module module = { .start = 0x7f0000000000,
		                           .end = 0x7f0000010000,
		                           .bias = 0x7f0000000000,
		                           .loaded_ns = 5,
		                           .unloaded_ns = UINT64_MAX,
		                           .device = 8,
		                           .inode = 99,
		                           .build_id = { 1, 2, 3 },
		                           .build_id_bytes = 20,
		                           .path = "/lib/libtoy.so" };
	const struct log_thread threads[] = { { 4711, 0, "toy" }, { -3, 77, "" } };
	uint32_t index;

	assert_null(log_write_nodes(writer, nodes, 9));
	assert_null(log_write_module(writer, &module));
	assert_null(log_write_thread(writer, &threads[0], &index));
	assert_int_equal(index, 0);
	assert_null(log_write_thread(writer, &threads[1], &index));
	assert_int_equal(index, 1);
	assert_null(log_write_type(writer, 0x7f0000002000, &index));
	assert_int_equal(index, 1);
}

static void tables_check(const struct log_reader *reader)
{
	size_t count;

	assert_int_equal(log_process(reader)->id, 4711);
	assert_int_equal(log_process(reader)->parent, 42);
	assert_true(log_process(reader)->wall_ns == process.wall_ns);
	assert_string_equal(log_process(reader)->command_line, process.command_line);
	assert_string_equal(log_process(reader)->cpu, "x86_64");
	assert_int_equal(log_node_count(reader), 10);
	assert_true(log_node(reader, 2)->code == (0x7f0000001234 | RECORD_NODE_EXACT));
	assert_int_equal(log_node(reader, 8)->parent, 6);
	assert_int_equal(log_node(reader, 9)->parent, 0);
	assert_true(log_node(reader, 9)->code == 1);
	assert_int_equal(log_modules(reader, &count)->build_id_bytes, 20);
	assert_int_equal(count, 1);
	assert_string_equal(log_modules(reader, &count)->path, "/lib/libtoy.so");
	assert_int_equal(log_threads(reader, &count)[1].id, -3);
	assert_int_equal(count, 2);
	assert_true(log_types(reader, &count)[1].word == 0x7f0000002000);
	assert_int_equal(count, 2);
}

static void events_write(struct log_writer *writer, const struct log_event *events, size_t count)
{
	struct log_summary summary = {
		.allocations = count, .live_bytes = 1000, .peak_bytes = 2000, .peak_event = 3
	};

	assert_null(log_write_events(writer, events, count, NULL, 0, &summary));
}

static void events_check(const struct log_reader *reader, size_t block,
                         const struct log_event *events)
{
	const struct log_summary *summary = log_block(reader, block);
	struct log_event *read = calloc(summary->events, sizeof(*read));

	assert_null(log_read_events(reader, block, read));
	for (size_t i = 0; i < summary->events; i++) {
		assert_true(read[i].time_ns == events[i].time_ns);
		assert_true(read[i].address == events[i].address);
		assert_true(read[i].bytes == events[i].bytes);
		assert_int_equal(read[i].node, events[i].node);
		assert_int_equal(read[i].thread, events[i].thread);
		assert_int_equal(read[i].extra, events[i].extra);
		assert_int_equal(read[i].type, events[i].type);
		assert_int_equal(read[i].kind, events[i].kind);
	}
	free(read);
}

static void what_was_written_is_read(void **state)
{
	enum { N = 300000 };
	struct log_event *events = events_make(N, 1);
	struct log_writer *writer;
	struct log_reader *reader;
	size_t blocks[] = { 1, LOG_BLOCK_EVENTS, 100, N - LOG_BLOCK_EVENTS - 101 };
	size_t first = 0;

	(void)state;
	assert_null(log_create(path, false, &process, &writer));
	tables_write(writer);
	for (size_t i = 0; i < 3; i++, first += blocks[i - 1])
		events_write(writer, events + first, blocks[i]);
	events_write(writer, events + first, LOG_BLOCK_EVENTS);
	assert_null(log_close_writer(writer));
	assert_null(log_open(path, &reader));
	assert_true(log_complete(reader));
	assert_null(log_damage(reader));
	tables_check(reader);
	assert_int_equal(log_block_count(reader), 4);
	first = 0;
	for (size_t i = 0; i < 4; i++) {
		assert_true(log_block(reader, i)->first_event == first);
		assert_true(log_block(reader, i)->first_ns == events[first].time_ns);
		assert_int_equal(log_block(reader, i)->live_bytes, 1000);
		assert_int_equal(log_block(reader, i)->peak_bytes, 2000);
		events_check(reader, i, events + first);
		first += log_block(reader, i)->events;
	}
	log_close(reader);
	free(events);
}

static void texts_notes_and_keyframes_are_read(void **state)
{
	const struct log_text texts[] = { { 2, "first" }, { 2, "" }, { 9, "second" } };
	const struct log_live live[] = { { 16, 1, 0, RECORD_NONE },
		                         { 0x555555550000, UINT64_MAX, 9, RECORD_MALLOC },
		                         { 0x555555550010, 8, 3, RECORD_ALIGNED } };
	struct log_event *events = events_make(10, 2);
	struct log_summary summary = { 0 };
	const struct log_text *read;
	struct log_live blocks[3];
	struct log_writer *writer;
	struct log_reader *reader;
	struct arena arena;
	const char *note;
	size_t count;

	(void)state;
	arena_init(&arena, &unit_pages);
	assert_null(log_create(path, false, &process, &writer));
	tables_write(writer);
	assert_null(log_write_events(writer, events, 10, texts, 3, &summary));
	assert_null(log_write_live(writer, 1234567, live, 3, true));
	assert_null(log_write_live(writer, 1234568, NULL, 0, false));
	assert_null(log_write_note(writer, LOG_NOTE_LEAKS, 99, "{}", 2));
	assert_null(log_write_note(writer, LOG_NOTE_END, 100, NULL, 0));
	events_write(writer, events, 10);
	assert_null(log_close_writer(writer));
	assert_null(log_open(path, &reader));
	assert_null(log_read_texts(reader, 0, &arena, &read, &count));
	assert_int_equal(count, 3);
	assert_true(read[0].event == 2 && read[1].event == 2 && read[2].event == 9);
	assert_string_equal(read[0].text, "first");
	assert_string_equal(read[1].text, "");
	assert_string_equal(read[2].text, "second");
	assert_null(log_read_texts(reader, 1, &arena, &read, &count));
	assert_int_equal(count, 0);
	assert_int_equal(log_keyframe_count(reader), 2);
	assert_int_equal(log_keyframe(reader, 0)->block, 1);
	assert_int_equal(log_keyframe(reader, 0)->blocks, 3);
	assert_true(log_keyframe(reader, 0)->complete && !log_keyframe(reader, 1)->complete);
	assert_null(log_read_live(reader, 0, blocks));
	for (size_t i = 0; i < 3; i++) {
		assert_true(blocks[i].address == live[i].address);
		assert_true(blocks[i].bytes == live[i].bytes);
		assert_int_equal(blocks[i].node, live[i].node);
		assert_int_equal(blocks[i].kind, live[i].kind);
	}
	assert_null(log_read_live(reader, 1, blocks));
	assert_int_equal(log_note_count(reader), 2);
	assert_int_equal(log_note(reader, 0)->kind, LOG_NOTE_LEAKS);
	assert_null(log_read_note(reader, 0, &arena, &note));
	assert_string_equal(note, "{}");
	assert_null(log_read_note(reader, 1, &arena, &note));
	assert_string_equal(note, "");
	log_close(reader);
	arena_deinit(&arena);
	free(events);
}

static void a_growing_log_is_read_while_it_is_written(void **state)
{
	struct log_event *events = events_make(30, 3);
	struct log_writer *writer;
	struct log_reader *reader;

	(void)state;
	assert_null(log_create(path, false, &process, &writer));
	assert_null(log_open(path, &reader));
	assert_int_equal(log_block_count(reader), 0);
	for (size_t i = 0; i < 3; i++) {
		if (!i)
			tables_write(writer);
		events_write(writer, events + i * 10, 10);
		assert_null(log_refresh(reader));
		assert_int_equal(log_block_count(reader), i + 1);
		assert_false(log_complete(reader));
		events_check(reader, i, events + i * 10);
	}
	tables_check(reader);
	assert_null(log_write_thread_name(writer, 1, "late"));
	assert_null(log_write_module_end(writer, 0, 77));
	assert_null(log_close_writer(writer));
	assert_null(log_refresh(reader));
	assert_true(log_complete(reader));
	size_t count;

	assert_string_equal(log_threads(reader, &count)[1].name, "late");
	assert_int_equal(log_modules(reader, &count)[0].unloaded_ns, 77);
	log_close(reader);
	free(events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_is_read, path_make, path_remove),
		cmocka_unit_test_setup_teardown(texts_notes_and_keyframes_are_read, path_make,
		                                path_remove),
		cmocka_unit_test_setup_teardown(a_growing_log_is_read_while_it_is_written,
		                                path_make, path_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
