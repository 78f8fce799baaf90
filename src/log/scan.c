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

static bool header_good(const struct log_block_header *header)
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
			if (!header_good(&header))
				continue;
			found = true;
			*ret = offset + i;
		}
		offset += n - header_bytes + 1;
	}
	os_page_source.resize(buffer, SEARCH_BYTES, 0);
	return found;
}

static struct error *front_read(struct log_reader *reader, const struct log_place *place,
                                const struct log_block_header *header, struct log_desk *desk,
                                struct log_cursor *ret)
{
	uint64_t at = place->offset + sizeof(*header);

	vec_reserve(&desk->column, place->front_bytes + LOG_PADDING);
	if (os_pread(reader->fd, desk->column.v, place->front_bytes, at) != place->front_bytes ||
	    log_crc(0, desk->column.v, place->front_bytes) != header->front_crc)
		return error_new(ERROR_DAMAGED, "a summary is damaged");
	memset(desk->column.v + place->front_bytes, 0, LOG_PADDING);
	*ret = (struct log_cursor){ desk->column.v, desk->column.v + place->front_bytes, false };
	return NULL;
}

static struct error *events_take(struct log_reader *reader, const struct log_place *place,
                                 const struct log_block_header *header)
{
	struct log_desk *desk = log_desk_take(reader);
	struct log_block_entry entry = { *place,
		                         { .first_event = header->first,
		                           .events = header->count,
		                           .first_ns = header->first_ns,
		                           .last_ns = header->last_ns } };
	struct log_cursor front;
	struct error *error = front_read(reader, place, header, desk, &front);

	if (!error) {
		log_take_summary(&front, &entry.summary);
		if (front.bad || !header->count || header->count > LOG_BLOCK_EVENTS)
			error = error_new(ERROR_DAMAGED, "a summary makes no sense");
	}
	log_desk_give(reader, desk);
	if (!error)
		vec_push(&reader->blocks, entry);
	return error;
}

static struct error *block_take(struct log_reader *reader, const struct log_place *place,
                                const struct log_block_header *header)
{
	switch (header->kind) {
	case LOG_BLOCK_PROCESS:
	case LOG_BLOCK_NODES:
	case LOG_BLOCK_TABLES:
		return log_take_tables(reader, place, header);
	case LOG_BLOCK_EVENTS_OF:
		return events_take(reader, place, header);
	case LOG_BLOCK_LIVE:
		if (header->count / LOG_MOST_RATIO > header->body_bytes)
			return error_new(ERROR_DAMAGED,
			                 "there are more live blocks than room for them");
		vec_push(&reader->keyframes,
		         ((struct log_keyframe_entry){ *place,
		                                       { reader->blocks.n, header->first_ns,
		                                         header->count,
		                                         header->first & LOG_LIVE_COMPLETE } }));
		return NULL;
	case LOG_BLOCK_NOTE:
		vec_push(&reader->notes,
		         ((struct log_note_entry){ *place,
		                                   { (enum log_note_kind)header->first,
		                                     header->first_ns, header->count } }));
		return NULL;
	case LOG_BLOCK_INDEX:
		reader->complete = true;
		return NULL;
	default:
		return NULL; // of a later version
	}
}

// One block at reader->end; false when the file ends there or within it.
static bool block_next(struct log_reader *reader)
{
	struct log_block_header header;
	struct log_place place = { .offset = reader->end };
	uint64_t left = reader->file_bytes - reader->end, found, whole;

	if (!left)
		return false;
	if (left < sizeof(header) ||
	    os_pread(reader->fd, &header, sizeof(header), reader->end) != sizeof(header)) {
		log_damage_note(reader, reader->end, "the log was cut off");
		return false;
	}
	if (!header_good(&header)) {
		log_damage_note(reader, reader->end, "the log is damaged");
		if (!header_search(reader, reader->end + 1, &found))
			return false;
		reader->lost_bytes += found - reader->end;
		reader->end = found;
		return true;
	}
	place.front_bytes = header.front_bytes;
	place.body_bytes = header.body_bytes;
	place.body_crc = header.body_crc;
	if (header.front_bytes > MOST_FRONT_BYTES ||
	    !checked_add(header.body_bytes, sizeof(header) + header.front_bytes, &whole) ||
	    whole > left) {
		log_damage_note(reader, reader->end, "the log was cut off");
		return false;
	}
	reader->end += whole;
	struct error *error = block_take(reader, &place, &header);

	if (error) {
		reader->lost_bytes += whole;
		log_damage_note(reader, place.offset, error->text);
	}
	return true;
}

struct error *log_scan(struct log_reader *reader)
{
	struct os_status status;

	TRY(os_file_status(reader->fd, &status));
	reader->file_bytes = status.bytes;
	if (reader->file_bytes < reader->end)
		return error_new(ERROR_DAMAGED, "%s became shorter", reader->path);
	while (block_next(reader))
		;
	return NULL;
}
