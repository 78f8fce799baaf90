// SPDX-License-Identifier: MIT
// interpose: the library that is preloaded into a program to record it over whatever malloc it has.
// Its functions stand before those of the program's libraries, forward to them, and tell the recorder.
//
//   start.c     the first call: settings, and whether to record at all
//   settings.c  the variable HEAPWRIGHT_RECORD as settings
//   variables.c the environment, for this program and those that it starts
//   real.c      what the functions here forward to; memory for the time before that is known
//   malloc.c    malloc and its family
//   new.c       C++ operators of an allocator that has its own
//   lock.c      mlockall
//   shared.c    shared memory objects
//   process.c   fork, exec, dlclose
//   attach.c    the same for a program that runs already: what a tool leads its functions to
//
// mmap and its family are those of the room mappings.
//
// When the program runs on libheapwright, that library records and this one stands down, but in sampled
// mode.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "layout/record_hooks.h"
#include "mappings/mappings.h"
#include "record/record.h"

#define INTERPOSE_EXPORT            __attribute__((visibility("default")))
#define INTERPOSE_LIKELY(condition) __builtin_expect(!!(condition), 1)

#define INTERPOSE_VARIABLE "HEAPWRIGHT_RECORD"

// --- real.c ---------------------------------------------------------------------------------------
// All NULL before interpose_start; those up to free are never NULL after it.
struct interpose_functions {
	void *(*malloc)(size_t bytes);
	void *(*calloc)(size_t count, size_t bytes);
	void *(*realloc)(void *block, size_t bytes);
	void *(*memalign)(size_t alignment, size_t bytes);
	void *(*aligned_alloc)(size_t alignment, size_t bytes);
	int (*posix_memalign)(void **ret, size_t alignment, size_t bytes);
	void *(*valloc)(size_t bytes);
	void *(*pvalloc)(size_t bytes);
	size_t (*malloc_usable_size)(void *block);
	void (*free)(void *block);
};
extern RECORD_HIDDEN struct interpose_functions interpose_real;

void interpose_real_find(void);
// For record_settings.block_distance.
uint32_t interpose_real_distance(void);
void *interpose_next(const char *name); // behind this library; NULL when there is none

// Memory that is never given back, for who allocates while the real functions are looked up.
enum { INTERPOSE_EARLY_BYTES = 64 << 10 };
extern RECORD_HIDDEN char interpose_early[INTERPOSE_EARLY_BYTES];

void *interpose_early_allocate(size_t bytes, size_t alignment);
size_t interpose_early_bytes(const void *block);

bool interpose_early_is_unused(void);

static inline bool interpose_early_owns(const void *block)
{
	return (uintptr_t)block - (uintptr_t)interpose_early < INTERPOSE_EARLY_BYTES;
}

// --- malloc.c -------------------------------------------------------------------------------------
// What calls are answered by that are no samples: the real functions in sampled mode and where nothing is
// recorded, else the ones that tell of every call. One line of the processor's cache, read only later.
struct interpose_ways {
	void *(*malloc)(size_t bytes);
	void (*free)(void *block);
	void *(*calloc)(size_t count, size_t bytes);
	void *(*realloc)(void *block, size_t bytes);
};

// From now on the real functions.
void interpose_malloc_shorten(void);

// --- start.c --------------------------------------------------------------------------------------
extern RECORD_HIDDEN bool interpose_started; // the real functions are known

// Calls are not told of: nothing is recorded.
extern RECORD_HIDDEN bool interpose_forwards;

extern RECORD_HIDDEN struct record_hooks
	interpose_hooks;                           // of malloc; all NULL when it is not recorded
extern struct record_hooks interpose_shared_hooks; // of shared memory

// At the first call of any of malloc's family, or when the library is loaded. Not by others: they are
// called by malloc itself. Threads that come at the same time wait.
void interpose_start(void);

// In the child of a fork, when it has the recording that it will have.
void interpose_forked(void);

// Whether the first call is being answered, by this thread: it gets early memory.
bool interpose_is_starting(void);

// This thread is in an operator delete that was told of.
extern RECORD_HIDDEN __thread bool interpose_deletes;

// --- new.c, process.c, shared.c ----------------------------------------------------------------
// The allocator, a library of its own, lies between these addresses.
void interpose_new_start(uintptr_t start, uintptr_t end);
void interpose_process_start(void);
// As mappings_shared.
void interpose_shared_map(void *address, size_t bytes, uint32_t extra, int fd,
                          const struct record_position *at);

// What calls about shared memory tell interpose_shared_hooks of; each returns the call's result.
int interpose_told_fd(uint32_t kind, int fd, const char *name, uint32_t flags,
                      const struct record_position *at);
int interpose_told_unlink(int result, const char *name, const struct record_position *at);
int interpose_told_shmget(int id, key_t key, size_t bytes, int flags,
                          const struct record_position *at);
void *interpose_told_shmat(void *got, int id, int flags, const struct record_position *at);
int interpose_told_shmdt(int result, const void *address, const struct record_position *at);
int interpose_told_shmctl(int result, int id, int command, const struct record_position *at);

// --- settings.c -----------------------------------------------------------------------------------
struct interpose_settings {
	struct record_settings record;
	uint64_t process; // that is meant, 0 whoever reads it
	uint64_t part;    // how many programs this process was before
	char log_path[RECORD_PATH_BYTES];
	char collector[RECORD_PATH_BYTES];
	char options[1024]; // of the collector
};

// NULL, or what is wrong, as part of a sentence.
const char *interpose_settings_read(const char *text, struct interpose_settings *ret);

// --- variables.c ----------------------------------------------------------------------------------
// Takes this library and its variable out of the environment, for programs that this one starts.
void interpose_variables_remove(void);

// An environment for the next program of this very process, where it is recorded as the next part: ours
// are put back. It is freed by interpose_variables_free. NULL when there is no memory.
char **interpose_variables_for_exec(char *const *environment);
void interpose_variables_free(char **environment);

void interpose_variables_start(const char *path, const struct interpose_settings *settings);
