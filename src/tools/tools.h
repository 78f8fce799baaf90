// SPDX-License-Identifier: MIT
// tools: one file per command: its option table, one question to report, its exit code. main.c finds
// the command; preload.c has what run, env and record share (tools_impl.h).
#pragma once

#include "report/report.h"

extern const struct command leaks_command;
extern const struct command heap_command;
extern const struct command vmmap_command;
extern const struct command footprint_command;
extern const struct command shm_command;
extern const struct command malloc_history_command;
extern const struct command pagestuff_command;
extern const struct command diff_command;
extern const struct command stringdups_command;
extern const struct command monitor_command;
extern const struct command run_command;
extern const struct command env_command;
extern const struct command record_command;
extern const struct command mark_command;
extern const struct command vm_stat_command;
extern const struct command pressure_command;
extern const struct command serve_metrics_command;

// What a command says of its operand TARGET, without the full stop.
#define TOOLS_TARGET_OPERAND                                                                  \
	"TARGET is a process id, a process name or a part of one, a core file or a snapshot " \
	"file"

// The one target among the operands, or an error that says what was expected.
struct error *tools_one_target(const struct option_list *operands, const char **ret);

// Prints "leaks: text" (with the address when there is one) and gives the exit code for its kind.
int tools_fail(const char *tool, const struct error *error);

// "Everything could be read" or not: what the exit codes of a tool mean that finds nothing wrong.
extern const struct option_exit tools_plain_exits[];

// Rows that every command has, for its table; `type` is the settings struct.
// clang-format off
#define TOOLS_COMMON_ROWS(type) \
	{ "json", NULL, OPTION_FLAG, NULL, NULL, \
	  "Print one JSON document instead of text.", offsetof(type, common.json), 0 }, \
	{ "quiet", NULL, OPTION_FLAG, NULL, NULL, \
	  "Leave out the header (and the list of images, where there is one).", \
	  offsetof(type, common.quiet), 0 }, \
	{ "verbose", "v", OPTION_FLAG, NULL, NULL, \
	  "Say how the target was read, for how long it stood still, and what was found on the way.", \
	  offsetof(type, common.verbose), 0 }, \
	{ "no-inject", NULL, OPTION_FLAG, NULL, NULL, \
	  "Never run code in the target: read it in place, also when that stops it for longer.", \
	  offsetof(type, common.no_inject), 0 }, \
	{ "clone", NULL, OPTION_FLAG, NULL, NULL, \
	  "Read the target through a clone even when it would stand still only briefly.", \
	  offsetof(type, common.force_clone), 0 }, \
	{ "outputGraph", NULL, OPTION_TEXT, "FILE", NULL, \
	  "Write what was seen to a snapshot file that every tool reads back, on any machine. A " \
	  "directory gets a file NAME-PID.hwsnap; .hwsnap is added to a name without a suffix.", \
	  offsetof(type, common.output_graph), 0 }, \
	{ "fullContent", NULL, OPTION_FLAG, NULL, NULL, \
	  "With -outputGraph: store the contents of all memory.", \
	  offsetof(type, common.full_content), 0 }, \
	{ "readonlyContent", NULL, OPTION_FLAG, NULL, NULL, \
	  "With -outputGraph: store the contents of read-only memory only, as without this option.", \
	  offsetof(type, common.read_only_content), 0 }, \
	{ "fullStackHistory", NULL, OPTION_FLAG, NULL, NULL, \
	  "With -outputGraph: store the whole log of the recording, too, from which malloc_history " \
	  "answers about freed blocks and earlier moments. Needs full logging.", \
	  offsetof(type, common.full_stack_history), 0 }, \
	{ "noContent", "nocontext", OPTION_FLAG, NULL, NULL, \
	  "Do not show the contents of blocks; with -outputGraph, store none.", \
	  offsetof(type, common.no_content), 0 }
// clang-format on
