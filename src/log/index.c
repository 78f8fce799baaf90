// SPDX-License-Identifier: MIT
// The index at the end of a log that was closed: the headers and summaries of its blocks, so that
// nothing between the tables needs to be read. It is believed when it fits the file; else the blocks
// are gone over (scan.c).
#include "log/reader_impl.h"

// The index block, when the file ends with one.
static bool index_find(const struct log_reader *reader, struct log_place *ret, uint32_t *ret_count)
{
	struct log_block_header header;
	struct log_end end;
	uint64_t behind;

	if (reader->file_bytes < reader->end + sizeof(end) ||
	    os_pread(reader->fd, &end, sizeof(end), reader->file_bytes - sizeof(end)) !=
	            sizeof(end) ||
	    memcmp(end.magic, LOG_END_MAGIC, sizeof(end.magic)) ||
	    os_pread(reader->fd, &header, sizeof(header), end.index_offset) != sizeof(header) ||
	    !log_header_good(&header) || header.kind != LOG_KIND_INDEX)
		return false;
	*ret_count = header.count;
	return log_place_of(&header, end.index_offset, reader->file_bytes, ret, &behind) &&
	       behind == reader->file_bytes;
}

// The next entry, a block at *offset, which moves behind it.
static bool entry_next(struct log_cursor *from, uint64_t limit, uint64_t *offset,
                       struct log_block_header *ret, struct log_place *ret_place)
{
	const uint8_t *bytes = take_bytes(from, sizeof(*ret));

	if (!bytes)
		return false;
	memcpy(ret, bytes, sizeof(*ret));
	return log_header_good(ret) && log_place_of(ret, *offset, limit, ret_place, offset);
}

// Whether the entries describe blocks that fill the file up to the index.
static bool index_fits(const struct log_reader *reader, struct log_cursor from, uint32_t count,
                       uint64_t limit)
{
	uint64_t offset = reader->end;
	struct log_block_header header;
	struct log_summary summary;
	struct log_place place;

	for (uint32_t i = 0; i < count; i++) {
		if (!entry_next(&from, limit, &offset, &header, &place))
			return false;
		if (header.kind == LOG_KIND_EVENTS)
			log_take_summary(&from, &summary);
	}
	return !from.bad && from.at == from.end && offset == limit;
}

static void blocks_take(struct log_reader *reader, struct log_cursor *from, uint32_t count,
                        uint64_t limit)
{
	struct log_block_header header;
	struct log_place place;

	for (uint32_t i = 0; i < count; i++) {
		struct error *error;

		entry_next(from, limit, &reader->end, &header, &place);
		error = log_take_block(reader, &place, &header, from);
		if (!error)
			continue;
		reader->lost_bytes += reader->end - place.offset;
		log_damage_note(reader, place.offset, error->text);
	}
}

bool log_take_index(struct log_reader *reader)
{
	struct log_desk *desk;
	struct log_place place;
	struct log_cursor body, column;
	log_bytes entries;
	uint32_t count;
	bool fits;

	if (!index_find(reader, &place, &count))
		return false;
	vec_init(&entries, &os_page_source);
	desk = log_desk_take(reader);
	fits = !log_body_read(reader, &place, desk, &body) &&
	       !log_take_column(desk->zstd, &body, SIZE_MAX / 2, &entries, &column) &&
	       index_fits(reader, column, count, place.offset);
	log_desk_give(reader, desk);
	if (fits) {
		blocks_take(reader, &column, count, place.offset);
		reader->end = reader->file_bytes;
		reader->complete = true;
	}
	vec_deinit(&entries);
	return fits;
}
