// SPDX-License-Identifier: MIT
// What run.c, env.c and record.c share: options that are the variables of base/variables.h, and the
// environment that they come to. What is declared here is in preload.c unless it says otherwise.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/variables.h"
#include "tools/tools.h"

// Every variable's value, in the form that its option's type stores.
union preload_value {
	bool flag;
	const char *text;
	uint64_t number;
};

// What the options of a command line asked for: value and given by enum variable.
struct preload_settings {
	union preload_value value[VARIABLE_COUNT];
	bool given[VARIABLE_COUNT];
	bool guard;
};

// The rows of these options, for a table whose settings start with a struct preload_settings.
#define OPTION_OF_VARIABLE_FLAG          OPTION_FLAG
#define OPTION_OF_VARIABLE_CHOICE        OPTION_OPTIONAL
#define OPTION_OF_VARIABLE_TEXT          OPTION_TEXT
#define OPTION_OF_VARIABLE_NUMBER        OPTION_NUMBER
#define OPTION_OF_VARIABLE_SIGNED_NUMBER OPTION_TEXT
#define OPTION_OF_VARIABLE_BYTES         OPTION_SIZE

#define TOOLS_PRELOAD_ROW(identifier, name, option, type, argument, help)  \
	{ option,                                                          \
	  NULL,                                                            \
	  OPTION_OF_##type,                                                \
	  argument,                                                        \
	  NULL,                                                            \
	  help " Sets " name ".",                                          \
	  offsetof(struct preload_settings, value[VARIABLE_##identifier]), \
	  offsetof(struct preload_settings, given[VARIABLE_##identifier]) },

#define TOOLS_PRELOAD_ROWS                                                                               \
	MALLOC_VARIABLES(TOOLS_PRELOAD_ROW){                                                             \
		"guard",                                                                                 \
		"gmalloc",                                                                               \
		OPTION_FLAG,                                                                             \
		NULL,                                                                                    \
		NULL,                                                                                    \
		"Use Guard Malloc: each block gets pages of its own with pages that fault around them.", \
		offsetof(struct preload_settings, guard),                                                \
		0                                                                                        \
	},                                                                                               \
		GUARD_VARIABLES(TOOLS_PRELOAD_ROW)

// Names and values in turns, NULL at the end.
struct preload_assignments {
	const char *v[2 * VARIABLE_COUNT + 4];
	size_t n;
};

extern const struct variable_row tools_preload_variables[VARIABLE_COUNT]; // by enum variable

// LD_PRELOAD and the variables that were given. Texts are the arena's. ERROR_USAGE for options that
// contradict each other, another error when a library is not where it should be.
struct error *tools_preload_collect(struct arena *arena, const struct preload_settings *given,
                                    struct preload_assignments *ret);

// The path of a library of this installation (name: below its lib/), to be preloaded.
struct error *tools_own_file(struct arena *arena, const char *name, const char **ret);

// Whether a library of ours can be loaded into a program (run.c): NULL, or why not.
struct error *tools_program_check(struct arena *arena, const char *name);

// --- record_attach.c ------------------------------------------------------------------------------
struct tools_attach {
	int process;
	bool writes_log;
	const char *log; // absolute; NULL: NAME-PID.hwlog here
	uint32_t mode, what;
	uint64_t sample_bytes, wait_ns, max_bytes;
	uint32_t ring_bytes;
	bool follow_fork;
	const char *collector_options; // separated by blanks
};

// Says where the log of a recording is, and what is wrong with it; false when it is cut, or none was
// written since the recording began (os_wall_ns). record.c.
bool tools_record_say_log(struct arena *arena, const char *log, uint64_t begun_ns);
// Records a process that runs until an interrupt, its end, or that of the log, and says where the log
// is; *ret_whole becomes false when it is cut or none.
struct error *tools_record_process(struct arena *arena, const struct tools_attach *wanted,
                                   bool *ret_whole);
// Gets the recorder out of a process whose tool is gone.
struct error *tools_record_detach(int process);
