// SPDX-License-Identifier: MIT
// What the files of entry share.
#pragma once

#include "entry/entry.h"

#define ENTRY_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define ENTRY_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

// --- environment.c --------------------------------------------------------------------------------
// The values of the variables that are set, by enum variable; NULL when not set.
struct entry_environment {
	const char *value[VARIABLE_COUNT];
	bool any;        // is set
	bool may_be_any; // some variable looks like one of ours
};
extern const struct variable_row entry_variables[VARIABLE_COUNT];

// False for nearly all variables that are none of ours, without touching the page where names stand:
// a program that sets none has it never in memory.
static inline bool entry_may_be_ours(const char *variable)
{
	return variable[0] == 'M' && variable[1] && (variable[2] == 'l' || variable[2] == 'L');
}
void entry_environment_read(char **block, struct entry_environment *ret);

// Numbers of variables; fallback when the variable is not set or its value is malformed.
uint64_t entry_number(const struct entry_environment *environment, enum variable variable,
                      uint64_t fallback);
int64_t entry_signed_number(const struct entry_environment *environment, enum variable variable,
                            int64_t fallback);
bool entry_value_is_number(const struct entry_environment *environment, enum variable variable);

// Takes the library and its variables out of the block, for the programs that this one starts.
void entry_environment_remove(char **block);

// --- help.c ---------------------------------------------------------------------------------------
// Says what is wrong in the environment, one line each; needs malloc_start.
void entry_environment_complain(char **block, const struct entry_environment *environment);
void entry_help_print(void);

// --- start.c --------------------------------------------------------------------------------------
extern bool entry_started;

// The zone whose function table answers; NULL while the core does without a detour.
extern malloc_zone_t *entry_zone;
extern bool entry_guards;      // it is Guard Malloc's
extern bool entry_samples;     // and all blocks but a sample are the core's
extern uint64_t entry_records; // stacks are logged, or shall be as soon as that can start

// --- record.c -------------------------------------------------------------------------------------
// What MallocStackLogging and its relatives ask for. Before malloc_start; no is the usual answer.
bool entry_record_wanted(const struct entry_environment *environment);
// Starts it, when libc can be used.
void entry_record_start(void);
void entry_record_fork_child(void);
MALLOC_AT_START void entry_record_publish(void); // what a tool that attaches needs
bool entry_record_blocks(void);                  // they are recorded, not mappings alone

// --- mappings.c, in shared libraries only ---------------------------------------------------------
// The recorder is told of mmap and its family from now on.
struct record_hooks;
void entry_mappings_record(const struct record_hooks *hooks) __attribute__((weak));
// A tool that attaches finds these words.
struct record_switch;
MALLOC_AT_START void entry_mappings_switch(struct record_switch *ret) __attribute__((weak));

void entry_start(void);

// --- slow.c ---------------------------------------------------------------------------------------
// What malloc and the like do when the short path has no answer. errno as malloc's. The caller is where
// the program's call returns to.
#define ENTRY_CALLER __builtin_return_address(0)
void *entry_allocate(size_t bytes, void *caller);
void *entry_allocate_zeroed(size_t count, size_t bytes, void *caller);
// Rounds the alignment up.
void *entry_allocate_aligned(size_t alignment, size_t bytes, void *caller);
void *entry_resize(void *block, size_t bytes, void *caller);
void entry_free(void *block, void *caller); // NULL is allowed; keeps errno
size_t entry_usable_bytes(void *block);

// --- perturb.c ------------------------------------------------------------------------------------
extern uint8_t entry_perturb; // 0: off
// False while a feature is on. Threads that run already follow at their next long way.
bool entry_perturb_set(int value);
// Fills what lies behind the first bytes of a block of the core (NULL is allowed); returns the block.
void *entry_perturb_new(void *block, size_t from);
void entry_perturb_freed(void *block); // fills one that is about to be freed

// --- libc_blocks.c --------------------------------------------------------------------------------
// Whether p looks like a block of the malloc inside libc: code in libc, and libraries opened with
// RTLD_DEEPBIND, get theirs there. Usable bytes in *ret_bytes. Touches only what is mapped.
bool entry_libc_block(void *p, size_t *ret_bytes);
void entry_libc_free(void *p);
void *entry_libc_resize(void *p, size_t bytes);
