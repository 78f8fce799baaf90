// SPDX-License-Identifier: MIT
// Logs: what was written is read again, cut off or damaged files give what is whole and say so.
#include "unit_path.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/base.h"
#include "log/bytes.h"
#include "log/format.h"
#include "log/log.h"
#include "os/os.h"

#include "log_toy.h"

static bool may_hold(const struct log_reader *reader, size_t block, uint64_t address)
{
	return log_block_may_hold(reader, block, &address, 1);
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
	assert_true(log_node(reader, 2).code == (0x7f0000001234 | RECORD_NODE_EXACT));
	assert_int_equal(log_node(reader, 8).parent, 6);
	assert_int_equal(log_node(reader, 9).parent, 0);
	assert_true(log_node(reader, 9).code == 1);
	assert_int_equal(log_modules(reader, &count)->build_id_bytes, 20);
	assert_int_equal(count, 1);
	assert_string_equal(log_modules(reader, &count)->path, "/lib/libtoy.so");
	assert_int_equal(log_threads(reader, &count)[1].id, -3);
	assert_int_equal(count, 2);
	assert_true(log_types(reader, &count)[1].word == 0x7f0000002000);
	assert_int_equal(count, 2);
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
	assert_null(log_create(unit_path, false, &process, &writer));
	tables_write(writer);
	for (size_t i = 0; i < 3; i++, first += blocks[i - 1])
		events_write(writer, events + first, blocks[i]);
	events_write(writer, events + first, LOG_BLOCK_EVENTS);
	assert_null(log_close_writer(writer));
	assert_null(log_open(unit_path, &reader));
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
	const struct log_live live[] = { { 16, 1, 0, RECORD_NONE, LOG_NO_THREAD },
		                         { 0x555555550000, UINT64_MAX, 9, RECORD_MALLOC, 1 },
		                         { 0x555555550010, 8, 3, RECORD_ALIGNED, 0 } };
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
	assert_null(log_create(unit_path, false, &process, &writer));
	tables_write(writer);
	assert_null(log_write_events(writer, events, 10, texts, 3, &summary));
	assert_null(log_write_live(writer, 1234567, live, 3, true));
	assert_null(log_write_live(writer, 1234568, NULL, 0, false));
	assert_null(log_write_note(writer, LOG_NOTE_LEAKS, 99, "{}", 2));
	assert_null(log_write_note(writer, LOG_NOTE_END, 100, NULL, 0));
	events_write(writer, events, 10);
	assert_null(log_close_writer(writer));
	assert_null(log_open(unit_path, &reader));
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
	assert_true(log_keyframe(reader, 0)->has_threads);
	assert_null(log_read_live(reader, 0, blocks));
	for (size_t i = 0; i < 3; i++) {
		assert_true(blocks[i].address == live[i].address);
		assert_true(blocks[i].bytes == live[i].bytes);
		assert_int_equal(blocks[i].node, live[i].node);
		assert_int_equal(blocks[i].kind, live[i].kind);
		assert_int_equal(blocks[i].thread, live[i].thread);
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
	assert_null(log_create(unit_path, false, &process, &writer));
	assert_null(log_open(unit_path, &reader));
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

// --- hostile and broken files ----------------------------------------------------------------------------

struct file {
	uint8_t *bytes;
	size_t n;
};

static struct file file_read(void)
{
	FILE *in = fopen(unit_path, "rb");
	struct file file = { malloc(1 << 20), 0 };

	assert_non_null(in);
	file.n = fread(file.bytes, 1, 1 << 20, in);
	fclose(in);
	return file;
}

static void file_write(const struct file *file, size_t n)
{
	FILE *out = fopen(unit_path, "wb");

	assert_non_null(out);
	assert_int_equal(fwrite(file->bytes, 1, n, out), n);
	fclose(out);
}

enum {
	SMALL_BLOCKS = 3,
	SMALL_EVENTS = 12,
};

// A log with every kind of block; returns the events.
static struct log_event *small_write(void)
{
	const struct log_text text = { 1, "mark" };
	const struct log_live live[] = { { 0x10, 1, 1, RECORD_NONE, LOG_NO_THREAD },
		                         { 0x20, 5, 2, RECORD_MALLOC, 1 } };
	struct log_event *events = events_make((size_t)SMALL_BLOCKS * SMALL_EVENTS, 4);
	struct log_summary summary = { 0 };
	struct log_writer *writer;

	assert_null(log_create(unit_path, true, &process, &writer));
	tables_write(writer);
	assert_null(log_write_events(writer, events, SMALL_EVENTS, &text, 1, &summary));
	events_write(writer, events + SMALL_EVENTS, SMALL_EVENTS);
	assert_null(log_write_live(writer, 5, live, 2, true));
	assert_null(log_write_note(writer, LOG_NOTE_LEAKS, 99, "{}", 2));
	assert_null(log_write_thread_name(writer, 1, "late"));
	events_write(writer, events + 2 * SMALL_EVENTS, SMALL_EVENTS);
	assert_null(log_close_writer(writer));
	return events;
}

// Whether nothing contradicts what was written: all that is read without an error must be right.
static bool all_is_whole(const struct log_reader *reader, const struct log_event *events)
{
	bool whole = !log_damage(reader) && log_block_count(reader) == SMALL_BLOCKS;
	struct log_event read[SMALL_EVENTS];
	const struct log_text *texts;
	struct log_live live[2];
	struct arena arena;
	const char *note;
	size_t count;

	arena_init(&arena, &unit_pages);
	for (size_t i = 0; i < log_block_count(reader); i++) {
		uint64_t first = log_block(reader, i)->first_event;

		assert_int_equal(log_block(reader, i)->events, SMALL_EVENTS);
		whole &= !may_hold(reader, i, 0x555555540000);
		whole &= !log_read_texts(reader, i, &arena, &texts, &count);
		if (log_read_events(reader, i, read)) {
			whole = false;
			continue;
		}
		for (size_t j = 0; j < SMALL_EVENTS; j++) {
			assert_true(read[j].address == events[first + j].address);
			assert_true(read[j].time_ns == events[first + j].time_ns);
		}
	}
	for (size_t i = 0; i < log_keyframe_count(reader); i++) {
		assert_int_equal(log_keyframe(reader, i)->blocks, 2);
		whole &= !log_read_live(reader, i, live);
	}
	for (size_t i = 0; i < log_note_count(reader); i++)
		whole &= !log_read_note(reader, i, &arena, &note);
	arena_deinit(&arena);
	return whole;
}

static void every_beginning_of_a_log_is_read_as_far_as_it_goes(void **state)
{
	struct log_event *events = small_write();
	struct file file = file_read();
	size_t blocks = 0;

	(void)state;
	for (size_t n = 0; n <= file.n; n++) {
		struct log_reader *reader;
		struct error *error;

		file_write(&file, n);
		error = log_open(unit_path, &reader);
		if (error) {
			assert_int_equal(error->kind, ERROR_DAMAGED);
			assert_int_equal(blocks, 0);
			continue;
		}
		all_is_whole(reader, events);
		assert_true((!log_damage(reader) && log_complete(reader)) == (n == file.n));
		assert_in_range(log_block_count(reader), blocks, blocks + 1);
		blocks = log_block_count(reader);
		log_close(reader);
	}
	assert_int_equal(blocks, SMALL_BLOCKS);
	free(file.bytes);
	free(events);
}

// Without an index each block is looked at, so that nothing stays unnoticed. With one, a broken header
// of a block changes nothing.
static void flip_each_byte(struct file *file, bool has_index, const struct log_event *events)
{
	for (size_t i = 0; i < file->n; i++) {
		struct log_reader *reader;
		bool whole;

		file->bytes[i] ^= (uint8_t)(1 << i % 8);
		file_write(file, file->n);
		file->bytes[i] ^= (uint8_t)(1 << i % 8);
		if (log_open(unit_path, &reader))
			continue;
		whole = all_is_whole(reader, events);
		assert_true(has_index || !whole);
		// One broken block costs one block of events at most.
		assert_in_range(log_block_count(reader), SMALL_BLOCKS - 1, SMALL_BLOCKS);
		log_close(reader);
	}
}

static void a_flipped_bit_is_noticed_anywhere(void **state)
{
	struct log_event *events = small_write();
	struct file file = file_read();

	(void)state;
	flip_each_byte(&file, true, events);
	while (memcmp(file.bytes + file.n, "HBlk", 4))
		file.n--;
	flip_each_byte(&file, false, events);
	free(file.bytes);
	free(events);
}

static void a_log_without_its_tables_is_read(void **state)
{
	struct log_event *events = small_write();
	struct file file = file_read();
	struct log_reader *reader;
	struct log_event read[SMALL_EVENTS];

	(void)state;
	for (size_t i = 0; i + 8 < file.n; i++) // the heads of the blocks of nodes and records
		if (!memcmp(file.bytes + i, "HBlk", 4) && (file.bytes[i + 4] & 2))
			file.bytes[i + 20] ^= 1;
	file_write(&file, file.n);
	assert_null(log_open(unit_path, &reader));
	assert_non_null(log_damage(reader));
	for (size_t i = 0; i < log_block_count(reader); i++) {
		assert_null(log_read_events(reader, i, read));
		for (size_t j = 0; j < SMALL_EVENTS; j++) {
			uint64_t number = log_block(reader, i)->first_event + j;

			assert_true(read[j].address == events[number].address);
			assert_true(read[j].node < log_node_count(reader));
		}
	}
	log_close(reader);
	free(file.bytes);
	free(events);
}

static void other_files_are_no_logs(void **state)
{
	struct file file = { (uint8_t *)"HWSNAP\r\n and so on and on and on", 32 };
	struct log_reader *reader;
	struct error *error;

	(void)state;
	file_write(&file, file.n);
	assert_false(log_is(unit_path));
	error = log_open(unit_path, &reader);
	assert_non_null(error);
	assert_int_equal(error->kind, ERROR_USAGE);
	free(small_write());
	assert_true(log_is(unit_path));
	file = file_read();
	file.bytes[8]++; // the version
	file_write(&file, file.n);
	error = log_open(unit_path, &reader);
	assert_int_equal(error->kind, ERROR_UNSUPPORTED);
	free(file.bytes);
}

// A block of several GiB in the middle, that nobody reads.
static void a_log_may_be_longer_than_4_gib(void **state)
{
	struct log_block_header header = { .magic = LOG_BLOCK_MAGIC,
		                           .kind = LOG_KIND_NOTE,
		                           .body_bytes = UINT64_C(5) << 30 };
	struct log_event *events = small_write(), read[SMALL_EVENTS];
	struct file file = file_read();
	struct log_reader *reader;
	size_t events_at = 0;

	(void)state;
	while (memcmp(file.bytes + events_at, "HBlk\x04", 5))
		events_at++;
	header.crc = log_crc(0, &header, offsetof(struct log_block_header, crc));
	file_write(&file, events_at);
	FILE *out = fopen(unit_path, "r+b");

	fseeko(out, 0, SEEK_END);
	fwrite(&header, 1, sizeof(header), out);
	fseeko(out, (off_t)header.body_bytes, SEEK_CUR);
	fwrite(file.bytes + events_at, 1, file.n - events_at, out);
	fclose(out);
	assert_null(log_open(unit_path, &reader));
	assert_int_equal(log_block_count(reader), SMALL_BLOCKS);
	assert_null(log_read_events(reader, SMALL_BLOCKS - 1, read));
	assert_true(read[1].address == events[2 * SMALL_EVENTS + 1].address);
	log_close(reader);
	free(file.bytes);
	free(events);
}

// --- filters, limits -------------------------------------------------------------------------------------

static void a_block_says_which_addresses_it_is_about(void **state)
{
	enum { N = 20000 };
	struct log_event *events = calloc(N, sizeof(*events));
	struct log_writer *writer;
	struct log_reader *reader;
	uint64_t seed = 5;
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < N; i++)
		events[i] = (struct log_event){ .kind = RECORD_MALLOC,
			                        .address = random_next(&seed) % 4096 << 24,
			                        .bytes = i % 100 ? 100 : 1 << 20 };
	events[7].address = UINT64_MAX - 50;
	events[8] = (struct log_event){ .kind = RECORD_GAP, .address = 0x1234 };
	assert_null(log_create(unit_path, false, &process, &writer));
	tables_write(writer);
	events_write(writer, events, N);
	events_write(writer, events + 8, 1);
	assert_null(log_close_writer(writer));
	assert_null(log_open(unit_path, &reader));
	for (size_t i = 0; i < N; i++) {
		if (events[i].kind == RECORD_GAP)
			continue;
		assert_true(may_hold(reader, 0, events[i].address));
		if (i != 7)
			assert_true(may_hold(reader, 0, events[i].address + events[i].bytes - 1));
		wrong += may_hold(reader, 0, random_next(&seed) << 12);
	}
	assert_true(wrong < N / 2);
	assert_false(may_hold(reader, 1, 0x1234));
	assert_true(may_hold(reader, 0, UINT64_MAX));
	log_close(reader);
	free(events);
}

// Small blocks of memory all over a heap of 8 MiB, in each block of events others.
static void a_block_tells_small_neighbours_apart(void **state)
{
	enum { N = 40000, SLOT = 256, SLOTS = 1 << 15 };
	struct log_event *events = calloc(N, sizeof(*events));
	struct log_writer *writer;
	struct log_reader *reader;
	uint64_t seed = 9, others[2] = { 0x1000 };
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		uint64_t slot = random_next(&seed) % SLOTS / 8 * 8; // no granule is shared

		events[i] = (struct log_event){ .kind = i % 3 ? RECORD_MALLOC : RECORD_FREE,
			                        .address = 0x550000000000 + slot * SLOT,
			                        .bytes = i % 3 ? 200 : 0 };
	}
	events[5].bytes = 3 << 20;
	events[5].address = 0x560000000000;
	events[5].kind = RECORD_MALLOC;
	assert_null(log_create(unit_path, false, &process, &writer));
	tables_write(writer);
	events_write(writer, events, N);
	assert_null(log_close_writer(writer));
	assert_null(log_open(unit_path, &reader));
	for (size_t i = 0; i < N; i++) {
		uint64_t last = events[i].address + (events[i].bytes ? events[i].bytes - 1 : 0);

		assert_true(may_hold(reader, 0, events[i].address));
		assert_true(may_hold(reader, 0, last));
	}
	assert_true(may_hold(reader, 0, events[5].address + (1 << 20)));
	for (uint64_t slot = 4; slot < SLOTS; slot += 8) // in the pages of others
		wrong += may_hold(reader, 0, 0x550000000000 + slot * SLOT);
	assert_true(wrong < SLOTS / 8 / 10);
	others[1] = events[N - 1].address;
	assert_true(log_block_may_hold(reader, 0, others, 2));
	assert_false(log_block_may_hold(reader, 0, others, 0));
	log_close(reader);
	free(events);
}

static void what_makes_no_sense_is_not_written(void **state)
{
	const struct log_text late = { 1, "" };
	const struct log_node no_parent = { 1, 77 };
	struct log_event event = { .kind = RECORD_MALLOC };
	struct log_summary summary = { 0 };
	struct log_writer *writer;
	struct log_reader *reader;

	(void)state;
	assert_null(log_create(unit_path, false, &process, &writer));
	assert_non_null(log_create(unit_path, false, &process, &(struct log_writer *){ NULL }));
	assert_non_null(log_write_events(writer, &event, 1, NULL, 0, &summary)); // no thread
	tables_write(writer);
	assert_non_null(log_write_nodes(writer, &no_parent, 1));
	assert_non_null(log_write_events(writer, &event, 0, NULL, 0, &summary));
	assert_non_null(log_write_events(writer, &event, 1, &late, 1, &summary));
	event.node = 10;
	assert_non_null(log_write_events(writer, &event, 1, NULL, 0, &summary));
	event.node = 9;
	assert_null(log_write_events(writer, &event, 1, NULL, 0, &summary));
	assert_null(log_close_writer(writer));
	assert_null(log_open(unit_path, &reader));
	assert_int_equal(log_block_count(reader), 1);
	tables_check(reader);
	log_close(reader);
}

static void an_event_keeps_no_time_before_the_last_one(void **state)
{
	struct log_event events[] = { { .time_ns = 5000999, .kind = RECORD_MALLOC, .address = 16 },
		                      { .time_ns = 4000000, .kind = RECORD_FREE, .address = 16 },
		                      { .time_ns = 9001000, .kind = RECORD_FREE, .address = 32 },
		                      { .time_ns = 7000000, .kind = RECORD_FREE, .address = 32 },
		                      { .time_ns = 8000000, .kind = RECORD_FREE, .address = 32 } };
	struct log_event read[3];
	struct log_writer *writer;
	struct log_reader *reader;

	(void)state;
	assert_null(log_create(unit_path, false, &process, &writer));
	tables_write(writer);
	events_write(writer, events, 1);
	events_write(writer, events + 1, 3);
	events_write(writer, events + 4, 1);
	assert_null(log_close_writer(writer));
	assert_null(log_open(unit_path, &reader));
	assert_true(log_block(reader, 0)->first_ns == 5000000);
	assert_true(log_block(reader, 1)->first_ns == 5000000);
	assert_true(log_block(reader, 1)->last_ns == 9001000);
	assert_null(log_read_events(reader, 1, read));
	assert_true(read[0].time_ns == 5000000 && read[1].time_ns == 9001000);
	assert_true(read[2].time_ns == 9001000);
	assert_null(log_read_events(reader, 2, read));
	assert_true(read[0].time_ns == 9001000);
	log_close(reader);
}

static void a_full_disk_leaves_whole_blocks(void **state)
{
	struct log_event *events = events_make(20000, 6);
	struct rlimit all, little;
	struct log_summary summary = { 0 };
	struct log_writer *writer;
	struct log_reader *reader;

	(void)state;
	assert_null(log_create(unit_path, false, &process, &writer));
	tables_write(writer);
	events_write(writer, events, 10);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	little = all;
	little.rlim_cur = log_written_bytes(writer) + 1000; // a write goes in partly
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
	assert_non_null(log_write_events(writer, events + 10, 19990, NULL, 0, &summary));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_null(log_open(unit_path, &reader));
	assert_null(log_damage(reader));
	assert_int_equal(log_block_count(reader), 1);
	events_write(writer, events + 10, 19990);
	assert_null(log_refresh(reader));
	assert_int_equal(log_block_count(reader), 2);
	events_check(reader, 1, events + 10);
	assert_null(log_close_writer(writer));
	log_close(reader);
	free(events);
}

struct decoding {
	const struct log_reader *reader;
	const struct log_event *events;
	size_t wrong;
};

enum {
	PARALLEL_BLOCKS = 40,
	PARALLEL_EVENTS = 500,
};

static void *decode_all(void *context)
{
	struct decoding *decoding = context;
	struct log_event read[PARALLEL_EVENTS];

	for (size_t i = 0; i < PARALLEL_BLOCKS; i++) {
		const struct log_event *events = decoding->events + i * PARALLEL_EVENTS;

		if (log_read_events(decoding->reader, i, read) ||
		    !may_hold(decoding->reader, i, events[0].address))
			decoding->wrong++;
		for (size_t j = 0; j < PARALLEL_EVENTS; j++)
			decoding->wrong += read[j].address != events[j].address;
	}
	return NULL;
}

static void threads_decode_at_once(void **state)
{
	struct log_event *events = events_make((size_t)PARALLEL_BLOCKS * PARALLEL_EVENTS, 7);
	struct decoding decodings[4];
	struct log_writer *writer;
	struct log_reader *reader;
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < PARALLEL_BLOCKS; i++)
		events[i * PARALLEL_EVENTS].kind = RECORD_MALLOC;
	assert_null(log_create(unit_path, false, &process, &writer));
	tables_write(writer);
	for (size_t i = 0; i < PARALLEL_BLOCKS; i++)
		events_write(writer, events + i * PARALLEL_EVENTS, PARALLEL_EVENTS);
	assert_null(log_close_writer(writer));
	assert_null(log_open(unit_path, &reader));
	for (int i = 0; i < 4; i++) {
		decodings[i] = (struct decoding){ reader, events, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, decode_all, &decodings[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(decodings[i].wrong, 0);
	}
	log_close(reader);
	free(events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PATH_TEST(what_was_written_is_read),
		PATH_TEST(texts_notes_and_keyframes_are_read),
		PATH_TEST(a_growing_log_is_read_while_it_is_written),
		PATH_TEST(every_beginning_of_a_log_is_read_as_far_as_it_goes),
		PATH_TEST(a_flipped_bit_is_noticed_anywhere),
		PATH_TEST(a_log_without_its_tables_is_read),
		PATH_TEST(other_files_are_no_logs),
		PATH_TEST(a_log_may_be_longer_than_4_gib),
		PATH_TEST(a_block_tells_small_neighbours_apart),
		PATH_TEST(a_block_says_which_addresses_it_is_about),
		PATH_TEST(what_makes_no_sense_is_not_written),
		PATH_TEST(an_event_keeps_no_time_before_the_last_one),
		PATH_TEST(a_full_disk_leaves_whole_blocks),
		PATH_TEST(threads_decode_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
