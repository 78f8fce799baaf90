// SPDX-License-Identifier: MIT
// report: builds one document per question and emits it as text or JSON from the
// same calls. Each file of a tool's report has the tool's name.
//
//   emit.c      text and JSON from the same calls
//   header.c    the header that all tools share, warnings, faults of the heap
//   look.c      opens what a question needs, in order
//   leaks*.c    leaks
//   heap*.c     heap
//   vmmap*.c    vmmap
//   stringdups*.c stringdups
//   pagestuff*.c  pagestuff
//   snapshot*.c writes a snapshot file
//   footprint*.c, wired.c  footprint
//   shm*.c      heapwright shm
//   history*.c  malloc_history: what a recording knows
//   tree*.c     call trees, and the blocks at their branches
//   frames.c, stack_nodes.c  frames of stacks as text and JSON; stacks as nodes
//   content.c   the contents of a block as text
//   stacks*.c   the stacks that allocated blocks
//   pressure.c  how short of memory the machine is
//   suppress.c  suppression files and -exclude
//   ticks.c     one look after the other, until an interrupt
//   vm_stat*.c  vm_stat
//   metrics*.c  the same numbers for monitoring systems
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/options.h"
#include "graph/graph.h"
#include "heaps/heaps.h"
#include "regions/regions.h"
#include "report/emit.h"
#include "symbols/symbols.h"
#include "target/target.h"
#include "types/types.h"

// Exit codes, the same in all tools.
enum {
	EXIT_FINE = 0,
	EXIT_FOUND = 1,  // found what it looks for
	EXIT_PARTLY = 2, // could not (fully) look
	EXIT_WRONG_USE = 64,
};

// Everything that was opened for one look at one target. Filled from the top down as far as asked.
struct look {
	struct target *target;
	struct symbols *symbols;
	struct heaps *heaps;
	struct regions *regions;
	struct graph *graph;
	struct types *types;
	struct stack_callers *callers; // of stacks.c
	struct stack_places *places;   // of stacks_frames.c
	struct stack_log *stack_log;   // of stacks_log.c
	bool log_sought;
	struct arena *arena; // for the report's own texts; points to own while the look is open
	struct arena own;
};

enum look_depth {
	LOOK_MAPPINGS, // target, symbols, regions; no heaps
	LOOK_REGIONS,  // target, symbols, heaps, regions
	LOOK_TYPES,    // and types
	LOOK_GRAPH,    // and graph
};

// Opens a target as deep as asked. A stop in the middle of malloc (heaps.in_malloc with faults) is retried
// a few times for live targets. Everything is given back by look_close.
struct error *look_open(const char *what, const struct target_options *options,
                        enum look_depth depth, struct look *ret);
void look_close(struct look *look);
// What was asked for when a block (an index into look->heaps->blocks) was allocated, where that is kept;
// else what the program may use of it.
uint64_t look_block_bytes(const struct look *look, size_t block);

// What every tool's settings share. The options of every command fill one of these first.
struct report_options {
	const char *tool; // "leaks"
	FILE *out;
	bool json;
	bool verbose; // how it was read, and for how long the target stood still
	bool quiet;   // no header
	bool no_inject;
	bool force_clone;                                 // a clone even for a short stop
	const char *output_graph;                         // file to write a snapshot to, or NULL
	bool full_content, read_only_content, no_content; // what of the blocks is shown or stored
	bool full_stack_history;                          // the snapshot gets the log, too
};

// The header in text and the "target" object in JSON, warnings, unknown allocators and heap faults.
// The look may be open at any depth; parts that are NULL are left out.
void report_header(struct emitter *e, const struct look *look,
                   const struct report_options *options);

// "2026-11-23 07:42:05.120 +0000" of a time since the epoch, in arena; "unknown" for 0. "X86-64" for
// "x86_64".
const char *report_time_text(struct arena *arena, uint64_t ns, bool with_ms);
const char *report_code_type(const char *cpu);

// What the malloc library of the target said last, when it said anything ("malloc_messages" in JSON).
void report_messages(struct emitter *e, const struct look *look);

// The list of images at the end ("Binary Images:").
void report_images(struct emitter *e, const struct look *look);

// What went wrong with debuginfod servers meanwhile: at the end, when all is named.
void report_servers(struct emitter *e, const struct look *look);

// EXIT_PARTLY when something of the target could not be read or trusted, else EXIT_FINE.
int report_completeness(const struct look *look);

// What the options above ask of target_open.
struct target_options report_target_options(const struct report_options *options, unsigned want);

// "main_arena_0x7f12a8c0": a zone as all tools write it. In arena.
const char *report_zone_name(const struct heaps *heaps, unsigned zone, struct arena *arena);

// Writes everything that was seen to options->output_graph (docs/snapshot-format.md). The look must be
// open at LOOK_GRAPH.
struct error *report_snapshot(struct look *look, const struct report_options *options);

// Where a reference from a root stands: "sessions in server (.bss)", "rbx of thread 812", "epoll data of
// descriptor 5". In the look's arena or static. The look must be open at LOOK_GRAPH.
const char *report_root_text(struct look *look, const struct graph_reference *reference);

// The first bytes of a block when they are text, quoted and printable ("\"GET /index\""), else NULL. In the
// look's arena.
const char *report_block_text(struct look *look, uint32_t block);

// --- leaks ----------------------------------------------------------------------------------------
struct leaks_settings {
	struct report_options common;
	bool list, group_by_type, no_stacks, full_stacks, no_sources, cycles, conservative;
	bool has_trace, has_confirm;
	uint64_t trace, confirm_ns;
	const char
		*reference_tree; // "" for the whole tree, else an address or a pattern; NULL none
	const char *diff_from;   // a snapshot (or core) whose leaks are not shown again
	struct option_list exclude, suppressions;
	struct option_list at_exit; // a command to run; the leaks at its exit are shown
	const struct os_launch_variable *at_exit_variables; // of the command's environment
};

// Looks for leaks in target (NULL with at_exit) and prints them. *ret_exit is the exit code.
struct error *report_leaks(const char *target, const struct leaks_settings *settings,
                           int *ret_exit);

// --- heap -----------------------------------------------------------------------------------------
struct heap_settings {
	struct report_options common;
	bool damage; // instead of classes: what the program overwrote
	bool by_size, zones, show_sizes, human, guess_non_objects, sum_object_fields;
	const char *addresses; // "all" or a pattern, NULL none
	const char *diff_from;
};

struct error *report_heap(const char *target, const struct heap_settings *settings, int *ret_exit);

// --- stringdups -----------------------------------------------------------------------------------
struct stringdups_settings {
	struct report_options common;
	bool has_minimum, strings_only, no_stacks, call_trees, invert_call_trees;
	uint64_t minimum; // blocks that a content must have to be shown; 2 without has_minimum
};

// Finds equal contents among the live blocks of a target and prints them. ERROR_UNSUPPORTED when none of
// the blocks' contents can be had.
struct error *report_stringdups(const char *target, const struct stringdups_settings *settings,
                                int *ret_exit);

// --- vmmap ----------------------------------------------------------------------------------------
struct vmmap_settings {
	struct report_options common;
	bool wide, pages, interleaved, submap, all_split_libs, resident, dirty, swapped,
		no_coalesce;
	bool summary, by_size, attributes, form_2008, has_interval, has_address;
	bool stacks, full_stacks; // of mappings, where they are recorded
	uint64_t interval_ns, address;
};

struct error *report_vmmap(const char *target, const struct vmmap_settings *settings,
                           int *ret_exit);

// --- pagestuff ------------------------------------------------------------------------------------
struct pagestuff_settings {
	struct report_options common;
	bool all, sections, summary, has_page_bytes, has_pid;
	uint64_t page_bytes, pid;
};

// Of the ELF file at path (NULL: the program of settings->pid): the pages whose numbers or ranges are
// given; without any those of code, or all.
struct error *report_pagestuff(const char *path, const struct option_list *pages,
                               const struct pagestuff_settings *settings, int *ret_exit);

// --- footprint ------------------------------------------------------------------------------------
struct footprint_settings {
	struct report_options common;
	// Which processes.
	struct option_list processes, exclude; // pids, names or parts of names
	bool all, children, skip_idle;
	uint64_t least_mib;
	// What about them.
	bool no_categories, regions, wide, swapped, wired, unmapped;
	const char *format, *sort; // NULL: formatted, dirty
	const char *json_file;     // written besides the text
	// Again and again.
	bool has_sample, has_duration;
	uint64_t sample_ns, duration_ns;
	// Instead of processes.
	bool system, wired_costs;
};

// names: more processes, as in settings->processes.
struct error *report_footprint(const struct option_list *names,
                               const struct footprint_settings *settings, int *ret_exit);

// --- shm ------------------------------------------------------------------------------------------
struct shm_settings {
	struct report_options common;
	bool orphaned; // only what nobody uses
	bool full_stacks;
};

// The shared memory of the machine. *ret_exit: EXIT_FOUND when orphaned was asked for and something is.
struct error *report_shm(const struct shm_settings *settings, int *ret_exit);
// The calls about shared memory of a recording, "LOG[@MOMENT]".
struct error *report_shm_calls(const char *log, const struct shm_settings *settings, int *ret_exit);

// --- malloc_history -------------------------------------------------------------------------------
struct history_settings {
	struct report_options common;
	// What is asked: about addresses, or one of these.
	struct option_list addresses;
	bool all_by_size, all_by_count, all_events, call_tree, growth, marks, monitor;
	// Of which blocks, and when.
	bool high_water_mark, overall, leaks, overruns, virtual_memory, has_temporary;
	const char *since, *until; // moments
	uint64_t temporary_ns;     // 0: whenever they were freed
	uint64_t least_bytes, most_bytes, thread;
	bool has_thread;
	const char *module, *function, *type; // patterns
	// How.
	bool invert, flat, ignore_threads, collapse_recursion, charge_system_libraries;
	bool show_content, full_stacks;
	uint64_t prune_count, prune_bytes;
	const char *export_format; // instead of an answer; NULL: none
	const char *export_path;
};

// --- diff -----------------------------------------------------------------------------------------
struct diff_settings {
	struct report_options common;
	bool virtual_memory, full_stacks;
};

// What grew, shrank, came and went from one recording or moment to another.
struct error *report_diff(const char *before, const char *after,
                          const struct diff_settings *settings, int *ret_exit);

struct error *report_history(const char *target, const struct history_settings *settings,
                             int *ret_exit);

// --- ticks.c --------------------------------------------------------------------------------------
// Looks at even distances: count of them, 0 for ever. While more than one is asked for, interrupts end
// the last wait instead of the program, so that a document gets its end.
struct report_ticks {
	uint64_t interval_ns, next_ns, number, count;
	int interrupts;
};

struct error *report_ticks_begin(uint64_t interval_ns, uint64_t count, struct report_ticks *ret);
bool report_ticks_next(struct report_ticks *ticks); // waits; false: that was the last one
void report_ticks_end(struct report_ticks *ticks);

// --- vm_stat --------------------------------------------------------------------------------------
struct vm_stat_settings {
	struct report_options common;
	bool form_2008;
	bool more;                    // what only Linux counts, as text
	bool nodes;                   // and zones
	const char *group;            // instead of the machine; NULL none
	struct option_list processes; // instead of the machine
	uint64_t count;               // of rows; 0: for ever
	uint64_t interval_ns;         // 0: once, as lines
	const char *metrics;          // as metrics; "" or "strict", NULL no
	const char *root;             // machine.h
	bool has_count;
};

struct error *report_vm_stat(const struct vm_stat_settings *settings, int *ret_exit);

// --- metrics --------------------------------------------------------------------------------------
struct metrics_settings {
	bool strict;       // OpenMetrics to the letter; else the form that Prometheus reads
	const char *group; // a control group besides the machine; NULL none
	struct option_list processes; // numbers or names; those that are not there now are left out
	const char *root;             // machine.h
};

// The numbers of the machine as metrics (docs/vm-stat-on-linux.md), all read now.
struct error *report_metrics(FILE *out, const struct metrics_settings *settings);

// --- pressure -------------------------------------------------------------------------------------
// A level and the rules behind it, as one document. group: the control group whose rules are among them,
// NULL none. is_simulated: the level was given, not found. *ret_exit is EXIT_FOUND when the level is not
// normal.
struct machine_verdict;
struct error *report_pressure(const struct report_options *options,
                              const struct machine_verdict *verdict, const char *group,
                              bool is_simulated, int *ret_exit);
