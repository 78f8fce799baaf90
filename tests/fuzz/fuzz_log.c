// SPDX-License-Identifier: MIT
// Logs: the input is packed into a well-formed file, block by block, so that mutations reach what the
// blocks say instead of breaking checksums. Input, again and again: {u8 kind, u16 first, u16 count, u8
// parts} and per part {u16 bytes} and that many: a column, or with the highest bit bytes as they are.
// A kind of 0x80 and above has its front as the first part; one with bit 6 breaks the checksum of
// the body. An input that begins as a log does is taken as it is. Everything that a log can be asked is
// asked of it.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/base.h"
#include "log/bytes.h"
#include "log/format.h"
#include "log/log.h"
#include "os/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum {
	HAS_FRONT = 0x80,
	IS_BROKEN = 0x40,
	IS_PLAIN = 1 << 15, // a part
	KIND = 0x0f,
	MOST_BLOCKS = 64,
	MOST_ASKED = 1 << 16, // live blocks and bytes of notes
};

struct input {
	const uint8_t *at;
	size_t left;
};

static uint32_t take(struct input *in, size_t n)
{
	uint32_t value = 0;

	for (size_t i = 0; i < n && in->left; i++, in->left--)
		value |= (uint32_t)*in->at++ << 8 * i;
	return value;
}

static const uint8_t *take_part(struct input *in, size_t n)
{
	const uint8_t *part = in->at;

	in->at += n;
	in->left -= n;
	return part;
}

static void write_all(int fd, const void *bytes, size_t n)
{
	if (n && write(fd, bytes, n) != (ssize_t)n)
		abort();
}

static void column_add(log_bytes *to, const uint8_t *bytes, size_t n)
{
	uint8_t packed[70000];
	size_t stored = ZSTD_compress(packed, sizeof(packed), bytes, n, 1);

	if (ZSTD_isError(stored) || stored >= n)
		stored = n;
	log_add_varint(to, n);
	log_add_varint(to, stored);
	log_add(to, stored == n ? bytes : packed, stored);
}

static void block_add(int fd, struct input *in)
{
	uint32_t kind = take(in, 1), first = take(in, 2), count = take(in, 2);
	uint32_t parts = take(in, 1) & 15;
	struct log_block_header header = {
		.magic = LOG_BLOCK_MAGIC, .kind = kind & KIND, .count = count, .first = first
	};
	log_bytes body;

	vec_init(&body, &os_page_source);
	vec_reserve(&body, 1);
	for (uint32_t i = 0; i < parts; i++) {
		uint32_t bytes = take(in, 2), n = bytes & (IS_PLAIN - 1);
		const uint8_t *part;

		n = n < in->left ? n : (uint32_t)in->left;
		part = take_part(in, n);
		if (kind & HAS_FRONT && !i) {
			log_add(&body, part, n);
			header.front_bytes = n;
			header.front_crc = log_crc(0, part, n);
		} else if (bytes & IS_PLAIN) {
			log_add(&body, part, n);
		} else {
			column_add(&body, part, n);
		}
	}
	header.body_bytes = body.n - header.front_bytes;
	header.body_crc =
		log_crc(0, body.v + header.front_bytes, header.body_bytes) ^ (kind & IS_BROKEN);
	header.crc = log_crc(0, &header, offsetof(struct log_block_header, crc));
	write_all(fd, &header, sizeof(header));
	write_all(fd, body.v, body.n);
	vec_deinit(&body);
}

static void file_make(int fd, const uint8_t *bytes, size_t count)
{
	struct log_file_header header = { .version = LOG_VERSION, .time_unit_ns = 1000 };
	struct input in = { bytes, count };

	memcpy(header.magic, LOG_MAGIC, sizeof(header.magic));
	header.crc = log_crc(0, &header, offsetof(struct log_file_header, crc));
	write_all(fd, &header, sizeof(header));
	for (int i = 0; i < MOST_BLOCKS && in.left; i++)
		block_add(fd, &in);
}

static void ask_events(const struct log_reader *reader, size_t block, struct arena *arena)
{
	const struct log_summary *summary = log_block(reader, block);
	struct log_event *events = calloc(summary->events, sizeof(*events));
	const struct log_about about = { summary->low_address + 64, 4096 };
	uint32_t *numbers = calloc(summary->events, sizeof(*numbers));
	const struct log_text *texts;
	size_t count = 0;

	if (!log_read_about(reader, block, &about, events, numbers, &count))
		for (size_t i = 0; i < count; i++)
			if (numbers[i] >= summary->events ||
			    events[i].node >= log_node_count(reader))
				abort();
	if (!log_read_events(reader, block, events))
		for (uint32_t i = 0; i < summary->events; i++)
			if (events[i].node >= log_node_count(reader))
				abort();
	log_block_may_hold(reader, block,
	                   (const uint64_t[]){ summary->low_address, 0x555555560000 }, 2);
	if (!log_read_texts(reader, block, arena, &texts, &count))
		for (size_t i = 0; i < count; i++)
			if (texts[i].event < summary->first_event ||
			    strlen(texts[i].text) > 1 << 20)
				abort();
	free(numbers);
	free(events);
}

static void ask_tables(const struct log_reader *reader)
{
	size_t count;
	const struct log_module *modules = log_modules(reader, &count);

	for (size_t i = 0; i < count; i++)
		if (strlen(modules[i].path) > 1 << 20 ||
		    modules[i].build_id_bytes > sizeof(modules[i].build_id))
			abort();
	for (uint32_t i = 1; i < log_node_count(reader); i++)
		if (log_node(reader, i).parent >= i)
			abort();
}

static void ask(const struct log_reader *reader)
{
	struct arena arena;
	const char *note;

	arena_init(&arena, &os_page_source);
	ask_tables(reader);
	for (size_t i = 0; i < log_block_count(reader); i++)
		ask_events(reader, i, &arena);
	for (size_t i = 0; i < log_keyframe_count(reader); i++) {
		uint64_t count = log_keyframe(reader, i)->blocks;
		struct log_live *live = calloc(count + 1, sizeof(*live));

		if (count <= MOST_ASKED && !log_read_live(reader, i, live))
			for (uint64_t j = 0; j < count; j++)
				if (live[j].node >= log_node_count(reader))
					abort();
		free(live);
	}
	for (size_t i = 0; i < log_note_count(reader); i++)
		if (log_note(reader, i)->bytes <= MOST_ASKED)
			log_read_note(reader, i, &arena, &note);
	arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct log_reader *reader;
	char path[64];
	int fd = memfd_create("log", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	// A whole log is taken as it is.
	if (count >= 8 && !memcmp(bytes, LOG_MAGIC, 8))
		write_all(fd, bytes, count);
	else
		file_make(fd, bytes, count);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!log_open(path, &reader)) {
		ask(reader);
		log_refresh(reader);
		log_close(reader);
	}
	close(fd);
	return 0;
}
