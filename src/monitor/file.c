// SPDX-License-Identifier: MIT
// Reads a recording (monitor.h; docs/monitor.md has the format). Its bytes are foreign: every length is
// checked, and what does not fit is an error with the place in it.
#include "monitor/monitor.h"

#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "os/os.h"

#define HEAD_BYTES  12 // magic and version
#define FILE_MAX    ((uint64_t)1 << 32)
#define LENGTH_SIZE 4

// --- the pieces of a record ------------------------------------------------------------------------
struct cursor {
	const uint8_t *bytes;
	size_t at, end; // offsets in the file
	bool is_bad;    // something did not fit; everything read since is 0
};

static uint64_t get_number(struct cursor *cursor)
{
	uint64_t value = 0;

	for (unsigned shift = 0; !cursor->is_bad; shift += 7) {
		uint8_t byte;

		if (cursor->at >= cursor->end || shift > 63)
			break;
		byte = cursor->bytes[cursor->at++];
		if (shift == 63 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	cursor->is_bad = true;
	return 0;
}

// The place of a text, *ret_n bytes long.
static const char *get_text(struct cursor *cursor, size_t *ret_n)
{
	uint64_t n = get_number(cursor);
	const char *text = (const char *)cursor->bytes + cursor->at;

	*ret_n = 0;
	if (cursor->is_bad || n > cursor->end - cursor->at) {
		cursor->is_bad = true;
		return "";
	}
	cursor->at += (size_t)n;
	*ret_n = (size_t)n;
	return text;
}

static struct error *damaged(const struct cursor *cursor)
{
	return error_new(ERROR_DAMAGED, "the recording makes no sense at byte %zu", cursor->at);
}

// --- the head --------------------------------------------------------------------------------------
static enum monitor_number number_named(const char *name, size_t n)
{
	for (size_t i = 0; i < MONITOR_NUMBER_COUNT; i++)
		if (strlen(monitor_number_rows[i].name) == n &&
		    !memcmp(monitor_number_rows[i].name, name, n))
			return (enum monitor_number)i;
	return MONITOR_NUMBER_COUNT;
}

static const char *get_printable(struct cursor *cursor, struct arena *arena)
{
	size_t n;
	const char *text = get_text(cursor, &n);

	return text_printable(arena, arena_copy_n(arena, text, n));
}

static struct error *parse_machine(struct monitor_file *file, struct cursor *cursor)
{
	uint64_t count;

	file->host = get_printable(cursor, &file->arena);
	file->system = get_printable(cursor, &file->arena);
	file->interval_ns = get_number(cursor);
	count = get_number(cursor);
	if (cursor->is_bad || count > MONITOR_NAMES_MAX)
		return damaged(cursor);
	for (size_t i = 0; i < count; i++) {
		size_t n;
		const char *name = get_text(cursor, &n);

		file->order[i] = (uint8_t)number_named(name, n);
	}
	file->order_count = (size_t)count;
	return cursor->is_bad ? damaged(cursor) : NULL;
}

static uint32_t load_u32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

// Each record is its length, its kind and what the kind says.
static struct error *parse_records(struct monitor_file *file)
{
	struct cursor cursor = { .bytes = file->bytes, .at = HEAD_BYTES };

	while (cursor.at < file->count) {
		uint32_t length;

		if (file->count - cursor.at < LENGTH_SIZE)
			break;
		length = load_u32(file->bytes + cursor.at);
		if (!length || length > MONITOR_RECORD_BYTES_MAX)
			return damaged(&cursor);
		if (!checked_within(cursor.at + LENGTH_SIZE, length, file->count))
			break;
		cursor.at += LENGTH_SIZE;
		cursor.end = cursor.at + length;
		switch (cursor.bytes[cursor.at++]) {
		case MONITOR_RECORD_MACHINE:
			if (file->host)
				return damaged(&cursor);
			TRY(parse_machine(file, &cursor));
			break;
		case MONITOR_RECORD_SAMPLE:
			if (!file->host)
				return damaged(&cursor);
			vec_push(&file->samples, (uint64_t)cursor.at);
			break;
		default: // of a newer program
			break;
		}
		cursor.at = cursor.end;
	}
	file->is_cut = cursor.at < file->count;
	return file->host ? NULL : damaged(&cursor);
}

struct error *monitor_file_parse(const uint8_t *bytes, size_t count, struct monitor_file *ret)
{
	struct error *error;

	*ret = (struct monitor_file){ .bytes = bytes, .count = count };
	arena_init(&ret->arena, &os_page_source);
	vec_init(&ret->samples, &os_page_source);
	if (count < HEAD_BYTES || memcmp(bytes, MONITOR_FILE_MAGIC, HEAD_BYTES - 4) != 0)
		error = error_new(ERROR_DAMAGED, "it is no recording of heapwright monitor");
	else if (load_u32(bytes + HEAD_BYTES - 4) != MONITOR_FILE_VERSION)
		error = error_new(ERROR_UNSUPPORTED,
		                  "the recording has version %u; this program reads version %u",
		                  load_u32(bytes + HEAD_BYTES - 4), MONITOR_FILE_VERSION);
	else
		error = parse_records(ret);
	if (error)
		monitor_file_close(ret);
	return error;
}

void monitor_file_close(struct monitor_file *file)
{
	vec_deinit(&file->samples);
	arena_deinit(&file->arena);
	if (file->memory_bytes)
		os_page_source.resize((void *)file->bytes, file->memory_bytes, 0);
	file->memory_bytes = 0;
}

// --- a file ----------------------------------------------------------------------------------------
bool monitor_file_is(const char *path)
{
	char magic[HEAD_BYTES - 4];
	OS_DESCRIPTOR int fd = -1;

	return !os_open_regular(path, &fd) &&
	       os_pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       !memcmp(magic, MONITOR_FILE_MAGIC, sizeof(magic));
}

// Somebody may write or cut it meanwhile: it is read, not mapped.
struct error *monitor_file_open(const char *path, struct monitor_file *ret)
{
	OS_DESCRIPTOR int fd = -1;
	struct os_status status;
	struct error *error;
	uint8_t *bytes;
	size_t n;

	TRY(os_open_regular(path, &fd));
	TRY(os_file_status(fd, &status));
	if (status.bytes > FILE_MAX)
		return error_new(ERROR_UNSUPPORTED, "%s is bigger than any recording", path);
	if (!status.bytes)
		return error_new(ERROR_DAMAGED, "%s is empty", path);
	bytes = os_page_source.resize(NULL, 0, (size_t)status.bytes);
	n = os_pread(fd, bytes, (size_t)status.bytes, 0);
	error = monitor_file_parse(bytes, n, ret);
	if (error) {
		os_page_source.resize(bytes, (size_t)status.bytes, 0);
		return error_prefix(error, "%s", path);
	}
	ret->memory_bytes = (size_t)status.bytes;
	return NULL;
}

// --- samples ---------------------------------------------------------------------------------------
static void get_numbers(const struct monitor_file *file, struct cursor *cursor,
                        struct monitor_numbers *ret)
{
	*ret = (struct monitor_numbers){ 0 };
	for (size_t i = 0; i < file->order_count; i++) {
		uint64_t value = get_number(cursor);

		if (file->order[i] >= MONITOR_NUMBER_COUNT || !value)
			continue;
		ret->is_known[file->order[i]] = true;
		ret->value[file->order[i]] = value - 1;
	}
}

static void get_process(struct cursor *cursor, struct monitor_process *ret)
{
	const char *name;
	size_t n;

	*ret = (struct monitor_process){ .pid = (int)(get_number(cursor) & 0x7fffffff) };
	ret->start = get_number(cursor);
	name = get_text(cursor, &n);
	memcpy(ret->name, name, n < sizeof(ret->name) ? n : sizeof(ret->name) - 1);
	ret->footprint_bytes = get_number(cursor) & INT64_MAX;
	ret->resident_bytes = get_number(cursor);
	ret->swapped_bytes = get_number(cursor);
	ret->soft_faults = get_number(cursor);
	ret->hard_faults = get_number(cursor);
}

static enum machine_level level_of(uint64_t number)
{
	return number == MACHINE_WARNING || number == MACHINE_CRITICAL ? (enum machine_level)number
	                                                               : MACHINE_NORMAL;
}

const uint8_t *monitor_file_record(const struct monitor_file *file, size_t i, size_t *ret_bytes)
{
	const uint8_t *kind = file->bytes + file->samples.v[i] - 1;

	*ret_bytes = load_u32(kind - LENGTH_SIZE);
	return kind;
}

struct error *monitor_file_read(const struct monitor_file *file, size_t i,
                                struct monitor_sample *sample)
{
	size_t start = (size_t)file->samples.v[i];
	struct cursor cursor = { .bytes = file->bytes, .at = start };
	uint64_t count;

	cursor.end = start - 1 + load_u32(file->bytes + start - 1 - LENGTH_SIZE);
	sample->wall_ns = get_number(&cursor);
	sample->when_ns = get_number(&cursor);
	sample->level = level_of(get_number(&cursor));
	get_numbers(file, &cursor, &sample->numbers);
	sample->process_count = get_number(&cursor);
	count = get_number(&cursor);
	sample->processes.n = 0;
	if (cursor.is_bad || count > MONITOR_PROCESSES_MAX)
		return damaged(&cursor);
	for (size_t k = 0; k < count && !cursor.is_bad; k++)
		get_process(&cursor, vec_add(&sample->processes));
	return cursor.is_bad ? damaged(&cursor) : NULL;
}
