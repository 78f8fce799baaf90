// SPDX-License-Identifier: MIT
// The columns of each kind of block, in the order in which they lie there. Shared by encode*.c and
// decode*.c.
#pragma once

enum log_column {
	COLUMN_HOW,       // one byte per event: model.h
	COLUMN_TIMES,     // per event: units since the one before
	COLUMN_THREADS,   // of events with MODEL_THREAD
	COLUMN_NODES,     // of pairs told
	COLUMN_KINDS,     // of pairs told, a byte
	COLUMN_VALUES,    // of events with MODEL_VALUE
	COLUMN_RARE,      // of events with MODEL_RARE: two each
	COLUMN_ADDRESSES, // of allocations told
	COLUMN_AGES,      // of frees told by age
	COLUMN_OLD,       // of frees told by address
	COLUMN_OTHERS,    // addresses of events of other kinds
	COLUMNS,
};

enum log_node_column {
	NODE_PARENTS, // steps up from the node before, or distance of ids
	NODE_NUMBERS, // of the codes of this block, 0 a new one
	NODE_CODES,   // new ones: distance from the one before
	NODE_COLUMNS,
};

enum log_live_column {
	LIVE_ADDRESSES, // distance from the one before
	LIVE_BYTES,
	LIVE_NODES,
	LIVE_KINDS,   // a byte
	LIVE_THREADS, // index + 1, 0 unknown; where LOG_LIVE_THREADS says so
	LIVE_COLUMNS,
};

// Further up a parent is told by the distance of its id.
enum {
	LOG_NODE_STEPS = 256,
};
