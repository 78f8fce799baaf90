// SPDX-License-Identifier: MIT
// What the files of history share.
#pragma once

#include "base/base.h"
#include "history/history.h"
#include "os/os.h"

struct history_frames; // frames.c

struct history {
	struct arena arena;         // it lives in its own first chunk
	struct log_reader *log;     // NULL: given
	struct history_given given; // nodes and tables of either
	uint64_t events;
	struct history_frames *frames; // NULL until it is needed first
	bool has_marks;
	VEC(struct history_mark) marks;
	void (*progress)(void *context, double done);
	void *progress_context;
};

// The node, with a parent that is below it; false for 0 and numbers that are none.
static inline bool history_node(const struct history *history, uint32_t node, struct log_node *ret)
{
	if (!node || node >= history->given.node_count)
		return false;
	*ret = history->log ? log_node(history->log, node) : history->given.nodes[node];
	if (ret->parent >= node)
		ret->parent = 0;
	return true;
}

struct error *history_needs_events(const struct history *history); // NULL: it has them

void history_frames_close(struct history_frames *frames); // NULL is allowed

// --- scan.c --------------------------------------------------------------------------------------
// Some events of one block of the log, in order.
struct history_piece {
	size_t block;
	uint64_t first; // number of events[0]
	const struct log_event *events;
	const uint32_t *numbers; // of the events, from first on; NULL: one after the other
	size_t count;
};

static inline uint64_t history_piece_number(const struct history_piece *piece, size_t i)
{
	return piece->first + (piece->numbers ? piece->numbers[i] : i);
}

struct history_scan {
	uint64_t first, last; // events [first, last)
	// Which blocks of the log are wanted; NULL: all.
	bool (*wants)(void *context, size_t block);
	const struct log_about *about; // only these of all blocks; first is 0. NULL: all events
	// False: enough. In order of the log, by the calling thread.
	bool (*piece)(void *context, const struct history_piece *piece);
	void *context;
};

struct error *history_scan(struct history *history, const struct history_scan *scan);

// --- document.c ----------------------------------------------------------------------------------
#define DOCUMENT_DEPTH 4

struct document_text { // not terminated; escapes as they stand
	const char *at;
	size_t bytes;
};

// A value that is neither object nor array, and the names that lead to it; those of array elements are empty.
typedef void document_member_fn(void *context, const struct document_text *keys, size_t depth,
                                struct document_text value);
void document_walk(const char *text, size_t bytes, document_member_fn *tell, void *context);
bool document_is(struct document_text text, const char *word);
bool document_number(struct document_text text, uint64_t *ret);

// --- table.c -------------------------------------------------------------------------------------
// The live blocks while events pass.
struct history_table {
	VEC(struct history_block) blocks; // address 0: free, event: the next free one
	uint64_t free_slot;               // UINT64_MAX: none
	uint32_t *index;                  // slot + 1, 0: empty
	size_t index_count;
	uint64_t live_count, live_bytes;    // of heap blocks
	VEC(struct history_block) mappings; // ascending, never overlapping
	// Called for what an event makes and ends, when not NULL.
	void (*made)(void *context, const struct history_block *block);
	void (*died)(void *context, const struct history_block *block,
	             const struct log_event *death, uint64_t number);
	void *context;
};

void history_table_init(struct history_table *table);
void history_table_deinit(struct history_table *table);
void history_table_reserve(struct history_table *table, uint64_t blocks); // room to put so many
void history_table_put(struct history_table *table, const struct history_block *block);
void history_table_apply(struct history_table *table, uint64_t number,
                         const struct log_event *event);

// --- state.c -------------------------------------------------------------------------------------
// Fills table with the state before *ret_event, the last keyframe at or before moment; exact: with what
// was there before the first event, and *ret_event is 0.
struct error *history_state_begin(struct history *history, uint64_t moment, bool exact,
                                  struct history_table *table, uint64_t *ret_event,
                                  bool *ret_complete);

// Fills an empty table with the state at a moment, in no order; threads, *ret_complete: as in
// history_state_at.
struct error *history_state_table(struct history *history, uint64_t moment, bool threads,
                                  struct history_table *table, bool *ret_complete);

static inline bool history_holds(const struct history_block *block, uint64_t address)
{
	return address - block->address < block->bytes || address == block->address;
}

struct history_block history_block_made(uint64_t number, const struct log_event *event);
