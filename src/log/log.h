// SPDX-License-Identifier: MIT
// log: the file of a recording, written and read. Append-only blocks with checksums; every prefix that
// ends with a whole block is a valid log; every block of events decodes on its own. The format is
// described in docs/log-format.md; the numbers of it stand in format.h.
//
//   format.h         headers of file and blocks as they lie in the file
//   bytes.h          varints, columns, checksums
//   writer.c         appends blocks, closes the file
//   encode*.c        events, nodes and live blocks into columns (columns.h)
//   model.h          what encoder and decoder expect of the next event
//   summary.c        the summary of a block of events
//   filter.c         which addresses the events of a block are about: pages
//   granules.c       the same for small blocks of memory that are strewn over many pages
//   reader.c         opens a log, also one that is being written or was cut off; hands out what it holds
//   index.c, scan.c  finds its blocks: by the index of a complete log, or block by block
//   tables.c         process, nodes, modules, threads, types
//   codes.c          the addresses of the nodes, each kept once
//   decode*.c        the inverse of encode*.c; trusts nothing
//
// Times are ns since the start of the recording, kept in whole LOG_TIME_UNIT_NS (format.h), rounded down.
// Errors: ERROR_DAMAGED names the offset in the file.
// One thread at a time may use a writer. Several may use a reader that nobody opens, refreshes or
// closes meanwhile; readers of the same file do not disturb it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "layout/record.h"

enum {
	LOG_BLOCK_EVENTS = 1 << 17, // events per block at most
	LOG_TYPE_NONE = 0,
	LOG_NO_THREAD = 0xffffff, // unknown
};

// One event, in the order in which they happened over all threads. An event that is earlier than the one
// before it gets that one's time.
struct log_event {
	uint64_t time_ns;
	uint64_t address;
	uint64_t bytes;  // of a free 0: those of the block
	uint32_t node;   // 0 unknown
	uint32_t thread; // index of a struct log_thread
	uint32_t extra;  // as in layout/record.h
	uint32_t type;   // of a free: index of a struct log_type, LOG_TYPE_NONE
	uint8_t kind;    // enum record_kind; never RECORD_TEXT
};

// Text that belongs to an event (a mark's name, a shared memory object's).
struct log_text {
	uint64_t event; // number of the event in the log
	const char *text;
};

struct log_node {
	uint64_t code; // RECORD_NODE_* as in the shared memory
	uint32_t parent;
};

struct log_module {
	uint64_t start, end, bias;
	uint64_t loaded_ns, unloaded_ns; // UINT64_MAX: never
	uint64_t device, inode;
	uint8_t build_id[RECORD_BUILD_ID_BYTES];
	uint32_t build_id_bytes;
	const char *path;
};

struct log_thread {
	int32_t id; // as the process sees it
	uint64_t first_ns;
	const char *name; // the last one known; "" unknown
};

// What the first word of freed blocks pointed to: a vtable, a class. Type 0, LOG_TYPE_NONE, has word 0.
struct log_type {
	uint64_t word;
};

// The process and how it was recorded; strings are as the system gave them.
struct log_process {
	int32_t id;
	uint32_t mode, what;   // enum record_mode, record_what
	uint64_t wall_ns;      // of the start, since the epoch
	uint64_t monotonic_ns; // CLOCK_MONOTONIC of the start
	uint64_t sample_bytes; // 0: not sampled
	uint64_t launched_ns;  // of the process, since the epoch; 0 unknown
	uint32_t attached;     // 1: the process ran already
	int32_t parent;        // recording of the parent that forked it, 0 none
	const char *name, *path, *command_line, *host, *system, *cpu;
};

// A live block.
struct log_live {
	uint64_t address, bytes;
	uint32_t node;
	uint32_t kind : 8;    // RECORD_NONE: it was there before the recording
	uint32_t thread : 24; // that made it: index of a struct log_thread, LOG_NO_THREAD
};

// What struct log_live can hold of an index.
static inline uint32_t log_live_thread(uint32_t thread)
{
	return thread < LOG_NO_THREAD ? thread : LOG_NO_THREAD;
}

// What a block of events says about itself without being decoded.
struct log_summary {
	uint64_t first_event; // number in the log
	uint32_t events;
	uint64_t first_ns, last_ns;
	// Sums over the events. Live: of heap blocks, and of mappings apart.
	uint64_t allocations, allocated_bytes, frees, freed_bytes;
	uint64_t live_blocks, live_bytes;   // at its end
	uint64_t map_bytes;                 // at its end
	uint64_t peak_bytes;                // highest live_bytes within
	uint32_t peak_event;                // the event, counted in the block, that reached it
	uint64_t lost;                      // events of gaps within
	uint64_t low_address, high_address; // of blocks within
};

// Other documents inside a log: a leak check (JSON), a sample of a monitor (JSON).
enum log_note_kind {
	LOG_NOTE_LEAKS = 1,
	LOG_NOTE_MONITOR = 2,
	LOG_NOTE_END = 3, // how the process ended, as text
};

// --- writing ---------------------------------------------------------------------------------------
struct log_writer;

// Creates the file (it must not exist unless replace), mode 0600.
struct error *log_create(const char *path, bool replace, const struct log_process *process,
                         struct log_writer **ret);
// Stacks with the next ids, in order; before the first event that names them.
struct error *log_write_nodes(struct log_writer *writer, const struct log_node *nodes,
                              size_t count);
struct error *log_write_module(struct log_writer *writer, const struct log_module *module);
struct error *log_write_module_end(struct log_writer *writer, size_t module, uint64_t unloaded_ns);
struct error *log_write_thread(struct log_writer *writer, const struct log_thread *thread,
                               uint32_t *ret_index);
struct error *log_write_thread_name(struct log_writer *writer, uint32_t thread, const char *name);
struct error *log_write_type(struct log_writer *writer, uint64_t word, uint32_t *ret_index);
// 1 to LOG_BLOCK_EVENTS events and their texts (ascending by event) as one block, in the file when this
// returns. The summary's sums are the caller's; first_event, events, times and addresses are filled in
// here. After an error nothing of the block is in the file.
struct error *log_write_events(struct log_writer *writer, const struct log_event *events,
                               size_t count, const struct log_text *texts, size_t text_count,
                               struct log_summary *summary);
// All live blocks at this moment, ascending by address: between two blocks of events. complete is
// false when blocks from before the recording are not among them. Costs about 5 bytes per live block: one
// every few times as many events as blocks live is cheap.
struct error *log_write_live(struct log_writer *writer, uint64_t time_ns,
                             const struct log_live *blocks, size_t count, bool complete);
struct error *log_write_note(struct log_writer *writer, enum log_note_kind kind, uint64_t time_ns,
                             const void *bytes, size_t count);
// The last note of a log that could not be written to its end, a LOG_NOTE_END: up to four blocks give way to
// it where there is no room for it, and what was not yet written is dropped. Then the writer is closed.
struct error *log_write_failure(struct log_writer *writer, uint64_t time_ns, const char *text);
uint64_t log_written_bytes(const struct log_writer *writer);
// Writes the index and closes; the writer is gone also after an error.
struct error *log_close_writer(struct log_writer *writer);

// --- reading ---------------------------------------------------------------------------------------
struct log_reader;

// Opens a log. A log that is still written, or was cut off, is read as far as whole blocks go;
// log_complete tells. Of a log that is damaged in the middle the rest is read: log_damage tells, and
// first_event of the blocks shows the events that are missing. Memory: the tables (nodes, threads, modules, types) and one entry per block.
struct error *log_open(const char *path, struct log_reader **ret);
void log_close(struct log_reader *reader); // NULL is allowed
// Takes in the blocks that were written since. Arrays and pointers that the reader gave out are not valid
// afterwards; numbers of blocks, nodes and the like are. No other thread may use the reader meanwhile.
struct error *log_refresh(struct log_reader *reader);
bool log_is(const char *path); // whether the file starts as a log does

bool log_complete(const struct log_reader *reader); // it was closed by its writer
// What is wrong with the file, if it was cut off or damaged: from where on, and why; else NULL.
const char *log_damage(const struct log_reader *reader);
const struct log_process *log_process(const struct log_reader *reader);

uint32_t log_node_count(const struct log_reader *reader); // with node 0
struct log_node log_node(const struct log_reader *reader, uint32_t node);
const struct log_module *log_modules(const struct log_reader *reader, size_t *ret_count);
const struct log_thread *log_threads(const struct log_reader *reader, size_t *ret_count);
const struct log_type *log_types(const struct log_reader *reader, size_t *ret_count);

size_t log_block_count(const struct log_reader *reader); // blocks of events
const struct log_summary *log_block(const struct log_reader *reader, size_t block);
// False when no event of the block can be about a block of memory that holds one of the addresses. An event
// covers the bytes that it names, a free (bytes 0) its first byte: ask for that byte, too, when the block
// was allocated in another block of events.
bool log_block_may_hold(const struct log_reader *reader, size_t block, const uint64_t *addresses,
                        size_t count);
// Decodes a block; events (room for summary.events) is the caller's. Thread-safe: several blocks may be
// decoded at once.
struct error *log_read_events(const struct log_reader *reader, size_t block,
                              struct log_event *events);
// Of the events of a block, those whose memory holds an address, and frees of what begins at most so many
// bytes before it: their sizes are not known to a block of events.
struct log_about {
	uint64_t address;
	uint64_t near_bytes; // a free is one of them when it is fewer bytes before the address
};
// Decodes only those, in order; numbers (counted in the block) and events have room for summary.events.
// Takes half of the time of log_read_events, and leaves what is not asked for unchecked. Thread-safe.
struct error *log_read_about(const struct log_reader *reader, size_t block,
                             const struct log_about *about, struct log_event *events,
                             uint32_t *numbers, size_t *ret_count);
// The texts of a block's events, in arena.
struct error *log_read_texts(const struct log_reader *reader, size_t block, struct arena *arena,
                             const struct log_text **ret, size_t *ret_count);

struct log_keyframe {
	size_t block; // the state before this block of events
	uint64_t time_ns;
	uint64_t blocks;
	bool complete;
	bool has_threads; // it tells them of its blocks: older logs do not
};
size_t log_keyframe_count(const struct log_reader *reader);
const struct log_keyframe *log_keyframe(const struct log_reader *reader, size_t keyframe);
struct error *log_read_live(const struct log_reader *reader, size_t keyframe,
                            struct log_live *blocks);

struct log_note {
	enum log_note_kind kind;
	uint64_t time_ns;
	size_t bytes;
};
size_t log_note_count(const struct log_reader *reader);
const struct log_note *log_note(const struct log_reader *reader, size_t note);
struct error *log_read_note(const struct log_reader *reader, size_t note, struct arena *arena,
                            const char **ret);
