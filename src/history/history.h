// SPDX-License-Identifier: MIT
// history: what a recording knows: the stack of a block, the history of an address, the state at any
// moment, sums over stacks, call trees, marks.
//
//   history.c   opens a log, or live blocks with their stacks from elsewhere
//   frames.c    nodes of stacks as functions, files and lines
//   scan.c      events in order, decoded ahead on threads of their own
//   moments.c   marks, times, gaps, the peak
//   state.c     the live blocks at a moment
//   table.c     live blocks while events pass
//   address.c   the blocks that an address belonged to
//   sums.c      which blocks are counted, and by which stack
//   growth.c    what was made between marks and is still there
//   series.c    the heap over time
//   tree.c      call trees, level by level: standard, inverted
//   tree_paths.c  the ways of stacks through a tree; tree_impl.h: what they share
//   tree_flat.c every function once
//   tree_end.c  where a stack ends in a tree
//   leaks.c     the leaks that a check beside the recording found
//
// A moment is the number of an event: the state before it, HISTORY_END for the end. Times are ns since
// the start of the recording. Memory: the log's tables, the live blocks that were asked for (40 bytes
// each) and a few blocks of events; not the events. One thread at a time may use a history; strings and
// frames live as long as it does. Errors are those of log.h; ERROR_UNSUPPORTED when the question needs
// events and only live blocks were recorded.
#pragma once

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/vec.h"
#include "log/log.h"
#include "symbols/symbols.h"

#define HISTORY_END       UINT64_MAX // the moment after the last event
#define HISTORY_BEFORE    UINT64_MAX // time or number of an event: before what is recorded, unknown
#define HISTORY_NO_THREAD LOG_NO_THREAD

struct history;

// --- history.c -----------------------------------------------------------------------------------
struct error *history_open_log(const char *path, struct history **ret);

// Live blocks with their stacks, without events: a program in lite mode, a snapshot. The arrays live
// longer than the history; modules may be NULL when symbols are given, which then are not closed.
struct history_given {
	const struct log_process *process;
	const struct log_node *nodes; // node 0 is no stack
	uint32_t node_count;
	const struct log_module *modules;
	size_t module_count;
	const struct log_thread *threads;
	size_t thread_count;
	const struct log_live *blocks; // ascending
	size_t block_count;
	struct symbols *symbols; // NULL: made from modules
};
struct error *history_open_blocks(const struct history_given *given, struct history **ret);
void history_close(struct history *history); // NULL is allowed

const struct log_process *history_process(const struct history *history);
struct log_reader *history_log(const struct history *history); // NULL: live blocks only
uint64_t history_event_count(const struct history *history);
uint64_t history_end_ns(const struct history *history); // time of the last event
const struct log_thread *history_thread(const struct history *history, uint32_t thread); // or NULL
const struct log_module *history_modules(const struct history *history, size_t *ret_count);

// Called now and then from long questions with the part that is done, 0 to 1. NULL: nobody.
void history_on_progress(struct history *history, void (*progress)(void *context, double done),
                         void *context);

// --- frames.c ------------------------------------------------------------------------------------
struct history_frame {
	uint64_t address;     // as recorded: where the call returns to
	const char *function; // demangled, NULL unknown
	uint64_t offset;      // of address from the function, or from the module's start
	const struct symbols_module *module; // NULL: in none that is known
	const char *file;                    // NULL unknown
	unsigned line;
	uint32_t key;   // equal for equal functions of a module; unknown ones: for equal addresses
	uint32_t place; // of its code address: from 1, without gaps
	bool inlined;   // stands inside the next frame, which is the function that was called
	bool truncated; // frames further out are missing
	bool interrupted; // stood here when a signal came
};

// The frame of a name, without key and place. address: as recorded; is_return: of the code behind a call,
// which was named by the byte before it.
struct history_frame history_frame_named(uint64_t address, bool is_return,
                                         const struct symbols_name *name, bool inlined);

// The frames of a node alone (more than one with inlined functions), innermost first; none for node 0.
void history_frames_of(struct history *history, uint32_t node, const struct history_frame **ret,
                       size_t *ret_count);

// The whole stack, innermost first. In arena.
void history_stack(struct history *history, uint32_t node, struct arena *arena,
                   const struct history_frame *const **ret, size_t *ret_count);

// The class of a freed block ("Session"), told from the vtable that its first word pointed to; NULL for
// LOG_TYPE_NONE and words that are none.
const char *history_type_name(struct history *history, uint32_t type);

// The node of the caller, 0 for the outermost one.
uint32_t history_parent(const struct history *history, uint32_t node);

// Modules of which no function is known, although frames lie in them; and what symbols warn of.
const struct log_module *const *history_unnamed_modules(struct history *history, size_t *ret_count);
struct symbols *history_symbols(struct history *history);

// --- scan.c --------------------------------------------------------------------------------------
// Calls each for the events [first, last) in order until it returns false.
struct error *history_each_event(struct history *history, uint64_t first, uint64_t last,
                                 bool (*each)(void *context, uint64_t number,
                                              const struct log_event *event),
                                 void *context);

static inline bool history_is_allocation(uint8_t kind)
{
	return kind >= RECORD_MALLOC && kind <= RECORD_REALLOC;
}

static inline bool history_is_free(uint8_t kind)
{
	return kind == RECORD_FREE || kind == RECORD_REALLOC_FREE;
}

static inline bool history_is_mapping(uint8_t kind)
{
	return kind >= RECORD_MAP && kind <= RECORD_REMAP_FREE;
}

// --- moments.c -----------------------------------------------------------------------------------
struct history_mark {
	uint64_t event, time_ns;
	const char *name; // printable
	uint32_t node, thread;
};

// The marks in order; read once. The start of the recording is none of them.
struct error *history_marks(struct history *history, const struct history_mark **ret,
                            size_t *ret_count);

struct history_gap {
	uint64_t event, time_ns;
	uint64_t lost; // events
	uint32_t thread, why;
};

// Where events of [first, last) are missing.
struct error *history_gaps(struct history *history, uint64_t first, uint64_t last,
                           const struct history_gap **ret, size_t *ret_count, uint64_t *ret_lost);

// A moment by name: a mark, "+12.5s" since the start, "-2s" before the end, "start", "end", "peak",
// "#N" the event N. ERROR_NOT_FOUND lists the marks.
struct error *history_moment(struct history *history, const char *name, uint64_t *ret);

// The moment right after the event that made the heap biggest within [first, last), and how big.
struct error *history_peak(struct history *history, uint64_t first, uint64_t last, uint64_t *ret,
                           uint64_t *ret_bytes);

// The time of an event.
struct error *history_time(struct history *history, uint64_t event, uint64_t *ret_ns);

// --- state.c -------------------------------------------------------------------------------------
// A live block, of the heap or a mapping (history_is_mapping(kind)).
struct history_block {
	uint64_t address, bytes;
	uint64_t event;   // that made it; HISTORY_BEFORE unknown
	uint64_t time_ns; // of that; HISTORY_BEFORE unknown
	uint32_t node;
	uint32_t thread : 24; // HISTORY_NO_THREAD unknown
	uint32_t kind : 8;    // RECORD_NONE: it was there before the recording
};

// Ascending by address; give back with history_blocks_free.
struct history_blocks {
	VEC(struct history_block) blocks;   // of the heap
	VEC(struct history_block) mappings; // never overlapping
	bool complete; // false: blocks from before the recording are not all known
};

// The state at a moment. threads: with the blocks' threads as far as they were recorded, for which logs
// whose keyframes do not tell them are read from their beginning. Of what made a block the number is known when it
// came behind the last keyframe.
struct error *history_state_at(struct history *history, uint64_t moment, bool threads,
                               struct history_blocks *ret);
void history_blocks_free(struct history_blocks *blocks);

// The block that holds an address, a heap block rather than a mapping; NULL.
const struct history_block *history_block_at(const struct history_blocks *blocks, uint64_t address);
// The mapping that holds an address; NULL.
const struct history_block *history_mapping_at(const struct history_blocks *blocks,
                                               uint64_t address);

// --- address.c -----------------------------------------------------------------------------------
// One block that an address belonged to, from its making to its end.
struct history_life {
	struct history_block block;
	uint64_t end_event, end_ns; // HISTORY_BEFORE: it is still there
	uint32_t end_node, end_thread;
	uint8_t end_kind;
	uint32_t type; // as in struct log_event, of its end
};

// All blocks within [first, last) that held the address, in order of their making. In arena.
struct error *history_of_address(struct history *history, uint64_t address, uint64_t first,
                                 uint64_t last, struct arena *arena,
                                 const struct history_life **ret, size_t *ret_count);

// --- sums.c --------------------------------------------------------------------------------------
enum history_set {
	HISTORY_LIVE,  // there at the end of the range
	HISTORY_SINCE, // made within the range and there at its end
	HISTORY_MADE,  // made within the range, whatever became of them
	HISTORY_FREED, // made and freed within the range
	HISTORY_PEAK,  // there when the heap was biggest within the range
};

struct history_question {
	enum history_set set;
	uint64_t first, last; // moments: the range
	// HISTORY_FREED: freed at most so long after it was made; 0: whenever.
	uint64_t lifetime_ns;
	bool mappings;              // mappings too
	bool only_mappings;         // and nothing else
	uint64_t least, most;       // bytes of a block; most 0: any
	bool has_thread, by_thread; // of this thread only; sums per thread
	int32_t thread_id;
	const char
		*module; // a frame in a module whose name matches this extended regular expression
	const char *function;      // or of such a function
	const uint64_t *addresses; // only blocks that begin at one of these; NULL: all. Ascending
	size_t address_count;
	// Freed blocks of a class whose name matches, and live ones that are in typed.
	const char *type;
	const uint64_t *typed; // where live blocks of such a class begin. Ascending
	size_t typed_count;
	bool by_type; // sums per type, where it is known
};

// A stack, how many blocks and how many bytes.
struct history_sum {
	uint32_t node;
	uint32_t thread; // by_thread, else HISTORY_NO_THREAD
	uint32_t type;   // by_type, else LOG_TYPE_NONE
	bool before;     // of blocks that were there before the recording
	uint64_t count, bytes;
};

struct history_sums {
	VEC(struct history_sum) sums; // by node, thread, type, before
	uint64_t count, bytes;
	uint64_t moment; // the state that they are of
	bool complete;   // as in struct history_blocks
	bool estimated;  // from a sample; the true sums lie with 99 % certainty within these bounds
	uint64_t count_off, bytes_off;
};

// An extended regular expression, as those of a question.
struct error *history_pattern(const char *pattern, regex_t *ret);

struct error *history_sum_up(struct history *history, const struct history_question *question,
                             struct history_sums *ret);
void history_sums_free(struct history_sums *sums);

// Calls each for every block that the question counts, in no order. death is NULL for blocks that are
// still there at the end of the range.
struct error *history_each_counted(struct history *history, const struct history_question *question,
                                   void (*each)(void *context, const struct history_block *block,
                                                const struct log_event *death),
                                   void *context);

// --- growth.c ------------------------------------------------------------------------------------
// What was made between two marks. The first one begins with the recording.
struct history_generation {
	const char *name; // of the mark it begins with
	uint64_t event, time_ns;
	uint64_t made_count, made_bytes;
	uint64_t live_count, live_bytes;   // of those: still there at the end
	uint64_t total_count, total_bytes; // of all blocks, when it begins
};

// Up to moment last. In arena.
struct error *history_growth(struct history *history, uint64_t last, struct arena *arena,
                             const struct history_generation **ret, size_t *ret_count);

// --- series.c ------------------------------------------------------------------------------------
struct history_point {
	uint64_t event, time_ns;         // right after it
	uint64_t live_count, live_bytes; // of the heap
	uint64_t map_bytes;
};

// About `most` points over the whole recording, in order. A long one is not read: each block of its log
// gives one point, which may be fewer or more.
struct error *history_series(struct history *history, size_t most,
                             void (*each)(void *context, const struct history_point *point),
                             void *context);

// Calls made and died in order for every block of the heap (and mappings) up to moment last; blocks from
// before the recording only die.
struct error *history_follow(struct history *history, uint64_t last,
                             void (*made)(void *context, const struct history_block *block),
                             void (*died)(void *context, const struct history_block *block,
                                          const struct log_event *death, uint64_t number),
                             void *context);

// --- tree.c --------------------------------------------------------------------------------------
enum history_tree_mode {
	HISTORY_TREE_STANDARD,
	HISTORY_TREE_INVERTED,
	HISTORY_TREE_FLAT,
};

struct history_tree_options {
	enum history_tree_mode mode;
	bool by_thread;
	bool collapse_recursion;
	bool charge_system_libraries;      // their frames are left out, the caller gets the bytes
	uint64_t least_count, least_bytes; // smaller nodes are left out
	size_t most_branches;              // 0: HISTORY_TREE_MOST_BRANCHES
};

// The bound of a tree's memory: about 150 bytes each. The levels that the tree begins with come first.
#define HISTORY_TREE_MOST_BRANCHES ((size_t)1 << 20)

struct history_branch {
	const struct history_frame *frame;  // NULL: the root, a thread, no stack
	uint32_t thread;                    // of a thread's node, else HISTORY_NO_THREAD
	uint32_t parent;                    // UINT32_MAX for the root
	uint32_t first_child, next_sibling; // 0 none; biggest first
	uint32_t depth;
	uint64_t count, bytes;         // with all below it
	uint64_t own_count, own_bytes; // made right here
	bool before;                   // no stack, because it was there before the recording
	bool several;                  // calls from several places of the function are in it
	bool cut;                      // it has children, for which the tree had no room
};

// branches.v[0] is the root: the total. Flat: its children are all functions.
struct history_tree {
	VEC(struct history_branch) branches;
	size_t cut; // branches with cut
};

void history_tree_build(struct history *history, const struct history_sums *sums,
                        const struct history_tree_options *options, struct history_tree *ret);
void history_tree_free(struct history_tree *tree);

// The branch where the stack of a sum ends; false when the tree was built without it. Not in flat mode.
bool history_tree_end(struct history *history, const struct history_tree *tree,
                      const struct history_tree_options *options, const struct history_sum *sum,
                      uint32_t *ret);

// --- leaks.c -------------------------------------------------------------------------------------
// The addresses of the leaks that the last check up to a moment found, ascending; in arena.
// ERROR_NOT_FOUND when the recording has no check.
struct error *history_leaks(struct history *history, uint64_t moment, struct arena *arena,
                            const uint64_t **ret, size_t *ret_count, uint64_t *ret_ns);

// --- samples.c -----------------------------------------------------------------------------------
#define HISTORY_UNKNOWN UINT64_MAX // the kernel did not tell

// The memory of the recorded process and of the machine at a time, as `heapwright record -monitor` noted it.
// Faults and stalls (time in which some task waited for memory, PSI) are totals since the process or the
// machine started; a process's stalls are those of its cgroup.
struct history_sample {
	uint64_t time_ns;
	uint64_t footprint_bytes, resident_bytes, swapped_bytes, threads, soft_faults, hard_faults;
	uint64_t stalled_ns, machine_available_bytes, machine_stalled_ns;
};

// The samples within [first, last] in order of time; in arena.
struct error *history_samples(struct history *history, uint64_t first, uint64_t last,
                              struct arena *arena, const struct history_sample **ret,
                              size_t *ret_count);
