// SPDX-License-Identifier: MIT
// What the files that read a log share (reader.c, scan.c, tables.c).
#pragma once

#include <pthread.h>

#include "log/log_impl.h"

// A block of the file whose header was good.
struct log_place {
	uint64_t offset; // of its header
	uint64_t body_bytes;
	uint32_t front_bytes, front_crc, body_crc;
};

struct log_block_entry {
	struct log_place place;
	struct log_summary summary;
};

struct log_keyframe_entry {
	struct log_place place;
	struct log_keyframe keyframe;
};

struct log_note_entry {
	struct log_place place;
	struct log_note note;
};

// What one thread needs to decode.
struct log_desk {
	struct log_desk *next;
	struct log_decoder *decoder;
	ZSTD_DCtx *zstd;
	log_bytes body, column;
};

// Desks that are not in use.
struct log_desks {
	pthread_mutex_t lock;
	struct log_desk *first;
};

struct log_reader {
	struct arena arena; // texts
	const char *path;
	int fd;
	uint64_t file_bytes;
	uint64_t end; // behind the last block that was read
	uint32_t time_unit_ns;
	bool complete;
	char damage[560];    // "" none
	bool cut_off;        // is all that is wrong
	uint64_t lost_bytes; // of the file that could not be read
	struct log_process process;
	bool has_process;
	VEC(struct log_node_entry) nodes;
	struct log_codes codes;
	VEC(struct log_module) modules;
	VEC(struct log_thread) threads;
	VEC(struct log_type) types;
	VEC(struct log_block_entry) blocks;
	VEC(struct log_keyframe_entry) keyframes;
	VEC(struct log_note_entry) notes;
	struct log_desks *desks;
};

// --- scan.c --------------------------------------------------------------------------------------------
// Reads every block from reader->end on.
struct error *log_scan(struct log_reader *reader);
// Takes in one block. summary is that of a block of events, NULL: it is read from its front.
struct error *log_take_block(struct log_reader *reader, const struct log_place *place,
                             const struct log_block_header *header, struct log_cursor *summary);
bool log_header_good(const struct log_block_header *header);
// Where a block lies that begins at offset; false when it would not end before limit.
bool log_place_of(const struct log_block_header *header, uint64_t offset, uint64_t limit,
                  struct log_place *ret, uint64_t *ret_end);
// Notes the first thing that is wrong.
void log_damage_note(struct log_reader *reader, uint64_t offset, const char *what);

// --- index.c -------------------------------------------------------------------------------------------
// Reads the blocks of a complete log from its index; false when it has none that fits, and nothing was
// read.
bool log_take_index(struct log_reader *reader);

// --- tables.c ------------------------------------------------------------------------------------------
// A block of the process, of nodes or records, into the tables.
struct error *log_take_tables(struct log_reader *reader, const struct log_place *place,
                              const struct log_block_header *header);

// --- reader.c ------------------------------------------------------------------------------------------
struct log_desk *log_desk_take(const struct log_reader *reader);
void log_desk_give(const struct log_reader *reader, struct log_desk *desk);
// The whole body of a block, checked, in the desk's memory.
struct error *log_body_read(const struct log_reader *reader, const struct log_place *place,
                            struct log_desk *desk, struct log_cursor *ret);
// The front of a block, checked, in the desk's memory.
struct error *log_front_read(const struct log_reader *reader, const struct log_place *place,
                             struct log_desk *desk, struct log_cursor *ret);
struct error *log_error_at(const struct log_place *place, struct error *cause);
