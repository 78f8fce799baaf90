// SPDX-License-Identifier: MIT
// Goes over the blocks of a log, header by header. A block that is damaged is stepped over; where a
// header is damaged, the next good one is searched. Nothing that the file says is believed before its
// checksum was right, and no length before it was compared with the file.
#include <stdio.h>

#include "log/reader_impl.h"

#define SEARCH_BYTES     ((size_t)256 << 10)
#define MOST_FRONT_BYTES ((uint32_t)1 << 20)

void log_damage_note(struct log_reader *reader, uint64_t offset, const char *what)
{
	if (!reader->damage[0])
		snprintf(reader->damage, sizeof(reader->damage), "%s at byte %llu", what,
		         (unsigned long long)offset);
}

bool log_header_good(const struct log_block_header *header)
{
	return header->magic == LOG_BLOCK_MAGIC &&
	       header->crc == log_crc(0, header, offsetof(struct log_block_header, crc));
}

// The offset of the next good header at or behind offset; false when there is none.
static bool header_search(struct log_reader *reader, uint64_t offset, uint64_t *ret)
{
	uint8_t *buffer = os_page_source.resize(NULL, 0, SEARCH_BYTES);
	const size_t header_bytes = sizeof(struct log_block_header);
	bool found = false;

	while (!found) {
		size_t n = os_pread(reader->fd, buffer, SEARCH_BYTES, offset);

		if (n < header_bytes)
			break;
		for (size_t i = 0; i + header_bytes <= n && !found; i++) {
			struct log_block_header header;

			memcpy(&header, buffer + i, header_bytes);
			if (!log_header_good(&header))
				continue;
			found = true;
			*ret = offset + i;
		}
		offset += n - header_bytes + 1;
	}
	os_page_source.resize(buffer, SEARCH_BYTES, 0);
	return found;
}

static struct error *events_take(struct log_reader *reader, const struct log_place *place,
                                 const struct log_block_header *header, struct log_cursor *summary)
{
	struct log_block_entry entry = { *place,
		                         { .first_event = header->first,
		                           .events = header->count,
		                           .first_ns = header->first_ns,
		                           .last_ns = header->last_ns } };

	log_take_summary(summary, &entry.summary);
	if (summary->bad || !header->count || header->count > LOG_BLOCK_EVENTS)
		return error_new(ERROR_DAMAGED, "a summary makes no sense");
	vec_push(&reader->blocks, entry);
	return NULL;
}

static struct error *events_read(struct log_reader *reader, const struct log_place *place,
                                 const struct log_block_header *header)
{
	struct log_desk *desk = log_desk_take(reader);
	struct log_cursor front;
	struct error *error = log_front_read(reader, place, desk, &front);

	if (!error)
		error = events_take(reader, place, header, &front);
	log_desk_give(reader, desk);
	return error;
}

static struct error *live_take(struct log_reader *reader, const struct log_place *place,
                               const struct log_block_header *header)
{
	struct log_keyframe keyframe = { reader->blocks.n, header->first_ns, header->count,
		                         header->first & LOG_LIVE_COMPLETE,
		                         header->first & LOG_LIVE_THREADS };

	if (header->count / LOG_MOST_RATIO > header->body_bytes)
		return error_new(ERROR_DAMAGED, "there are more live blocks than room for them");
	vec_push(&reader->keyframes, ((struct log_keyframe_entry){ *place, keyframe }));
	return NULL;
}

static struct error *note_take(struct log_reader *reader, const struct log_place *place,
                               const struct log_block_header *header)
{
	struct log_note note = { (enum log_note_kind)header->first, header->first_ns,
		                 header->count };

	if (header->count / LOG_MOST_RATIO > header->body_bytes)
		return error_new(ERROR_DAMAGED, "a note is longer than room for it");
	vec_push(&reader->notes, ((struct log_note_entry){ *place, note }));
	return NULL;
}

static struct error *index_check(struct log_reader *reader, const struct log_place *place)
{
	struct log_desk *desk = log_desk_take(reader);
	struct log_cursor body;
	struct error *error = log_body_read(reader, place, desk, &body);

	log_desk_give(reader, desk);
	reader->complete = true;
	return error;
}

struct error *log_take_block(struct log_reader *reader, const struct log_place *place,
                             const struct log_block_header *header, struct log_cursor *summary)
{
	switch (header->kind) {
	case LOG_KIND_PROCESS:
	case LOG_KIND_NODES:
	case LOG_KIND_TABLES:
		return log_take_tables(reader, place, header);
	case LOG_KIND_EVENTS:
		return summary ? events_take(reader, place, header, summary)
		               : events_read(reader, place, header);
	case LOG_KIND_LIVE:
		return live_take(reader, place, header);
	case LOG_KIND_NOTE:
		return note_take(reader, place, header);
	case LOG_KIND_INDEX:
		return index_check(reader, place);
	default:
		return NULL; // of a later version
	}
}

bool log_place_of(const struct log_block_header *header, uint64_t offset, uint64_t limit,
                  struct log_place *ret, uint64_t *ret_end)
{
	*ret = (struct log_place){ offset, header->body_bytes, header->front_bytes,
		                   header->front_crc, header->body_crc };
	return header->front_bytes <= MOST_FRONT_BYTES &&
	       checked_add(offset, sizeof(*header) + header->front_bytes, ret_end) &&
	       checked_add(*ret_end, header->body_bytes, ret_end) && *ret_end <= limit;
}

static bool block_skip(struct log_reader *reader)
{
	uint64_t found;

	log_damage_note(reader, reader->end, "the log is damaged");
	if (!header_search(reader, reader->end + 1, &found))
		return false;
	reader->lost_bytes += found - reader->end;
	reader->end = found;
	return true;
}

// One block at reader->end; false when the file ends there or within it.
static bool block_next(struct log_reader *reader)
{
	uint64_t left = reader->file_bytes - reader->end, end;
	struct log_block_header header;
	struct log_place place;
	struct error *error;

	if (!left)
		return false;
	if (left >= sizeof(header) &&
	    os_pread(reader->fd, &header, sizeof(header), reader->end) == sizeof(header)) {
		if (!log_header_good(&header))
			return block_skip(reader);
		if (log_place_of(&header, reader->end, reader->file_bytes, &place, &end)) {
			reader->end = end;
			error = log_take_block(reader, &place, &header, NULL);
			if (error) {
				reader->lost_bytes += end - place.offset;
				log_damage_note(reader, place.offset, error->text);
			}
			return true;
		}
	}
	reader->cut_off = !reader->damage[0];
	log_damage_note(reader, reader->end, "the log was cut off");
	return false;
}

struct error *log_scan(struct log_reader *reader)
{
	struct os_status status;

	TRY(os_file_status(reader->fd, &status));
	reader->file_bytes = status.bytes;
	if (reader->file_bytes < reader->end)
		return error_new(ERROR_DAMAGED, "%s became shorter", reader->path);
	if (reader->end == sizeof(struct log_file_header) && log_take_index(reader))
		return NULL;
	while (block_next(reader))
		;
	return NULL;
}
