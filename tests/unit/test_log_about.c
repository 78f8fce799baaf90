// SPDX-License-Identifier: MIT
// Asking a block of events about one address, and the checksums of logs.
#include "unit_path.h"

#include "log/bytes.h"
#include "log/log.h"

#include "log_toy.h"

// What is said about an address is what reading everything says of it.
static void about_check(const struct log_reader *reader, size_t block,
                        const struct log_event *events, const struct log_about *about)
{
	size_t n = log_block(reader, block)->events, count = 0, found = 0;
	struct log_event *read = calloc(n, sizeof(*read));
	uint32_t *numbers = calloc(n, sizeof(*numbers));

	assert_null(log_read_about(reader, block, about, read, numbers, &count));
	for (size_t i = 0; i < n; i++) {
		uint64_t distance = about->address - events[i].address;
		bool frees = events[i].kind == RECORD_FREE || events[i].kind == RECORD_REALLOC_FREE;

		if (distance && distance >= events[i].bytes &&
		    !(frees && distance < about->near_bytes))
			continue;
		assert_true(found < count);
		assert_int_equal(numbers[found], i);
		assert_memory_equal(&read[found].time_ns, &events[i].time_ns, sizeof(uint64_t));
		assert_true(read[found].address == events[i].address);
		assert_true(read[found].bytes == events[i].bytes);
		assert_int_equal(read[found].node, events[i].node);
		assert_int_equal(read[found].thread, events[i].thread);
		assert_int_equal(read[found].extra, events[i].extra);
		assert_int_equal(read[found].type, events[i].type);
		assert_int_equal(read[found++].kind, events[i].kind);
	}
	assert_int_equal(found, count);
	free(numbers);
	free(read);
}

static void events_about_an_address_are_read(void **state)
{
	enum { N = 100000 };
	struct log_event *events = events_make(N, 3);
	struct log_writer *writer;
	struct log_reader *reader;

	(void)state;
	assert_null(log_create(unit_path, true, &process, &writer));
	tables_write(writer);
	events_write(writer, events, N);
	assert_null(log_close_writer(writer));
	assert_null(log_open(unit_path, &reader));
	for (size_t i = 0; i < N; i += N / 50) {
		uint64_t address = events[i].address;

		about_check(reader, 0, events, &(struct log_about){ address, 0 });
		about_check(reader, 0, events, &(struct log_about){ address + 8, 64 });
		about_check(reader, 0, events, &(struct log_about){ address + 700, 4096 });
	}
	about_check(reader, 0, events, &(struct log_about){ 0x123, 1 });
	about_check(reader, 0, events, &(struct log_about){ UINT64_MAX, UINT64_MAX });
	log_close(reader);
	free(events);
}

// The checksum is that of zlib, by the processor's instructions or without, in one piece or in several.
static void checksums_are_those_of_zlib(void **state)
{
	uint8_t bytes[2000];
	uint32_t plain = 0xffffffff;

	(void)state;
	assert_int_equal(log_crc(0, "123456789", 9), 0xcbf43926);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * i * 31 + i / 7);
	for (size_t n = 0; n < sizeof(bytes); n++) {
		uint32_t part = log_crc(0, bytes, n / 3);

		assert_int_equal(log_crc(0, bytes, n), ~plain);
		assert_int_equal(log_crc(part, bytes + n / 3, n - n / 3), ~plain);
		plain ^= bytes[n];
		for (int bit = 0; bit < 8; bit++)
			plain = plain >> 1 ^ (plain & 1 ? 0xedb88320 : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PATH_TEST(events_about_an_address_are_read),
		PATH_TEST(checksums_are_those_of_zlib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
