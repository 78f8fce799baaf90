// SPDX-License-Identifier: MIT
// What a process needs that works beside a program for as long as that runs: memory that both have
// mapped, waiting on a word of it, the end of a process, a life without a terminal. Included by os.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

// --- shared.c ------------------------------------------------------------------------------------
// Opens a memfd of the given name through a path of /proc (/proc/PID/fd/N, /proc/PID/map_files/...)
// for reading and writing, and seals it against shrinking. ERROR_NOT_FOUND when the path leads to
// something else; nothing but a memfd is ever opened.
struct error *os_shared_open(const char *path, const char *name, int *ret);

// Maps all of it. The caller releases it with os_release.
struct error *os_shared_map(int fd, void **ret, uint64_t *ret_bytes);

// Waits until *word, which other processes may see, is not value any more, a wake comes, a signal was
// handled or limit_ns have passed.
void os_shared_wait(uint32_t *word, uint32_t value, uint64_t limit_ns);
void os_shared_wake(uint32_t *word); // all who wait

// --- x86_64/ticks.c, aarch64/ticks.c -------------------------------------------------------------
uint64_t os_ticks(void); // of the processor's constant counter

// --- background.c --------------------------------------------------------------------------------
// Makes this process one of its own: a new session, deaf to the terminal, no descriptor but 0-2 (at
// /dev/null) and those to keep, soft limits raised to the hard ones, no affinity or real-time rank
// inherited, first in line when memory runs out. name: at most 15 bytes.
void os_background(const char *name, const int *keep, size_t count);

// A second descriptor of our standard error, for who goes to the background and may have to say why he
// comes back. -1: there is none.
int os_keep_errors(void);
void os_say_kept(int kept, const char *text); // a line

// What SIGTERM and SIGUSR2 have asked of a process in the background since the last call.
struct os_asked {
	bool end, mark;
};
struct os_asked os_background_asked(void);

// Runs a command (words end with NULL) with /dev/null as its input and errors; what it prints is in
// arena, cut at limit_bytes. ERROR_SYSTEM when it cannot be run; its status is in *ret_status, as
// waitpid gives it.
struct error *os_command_output(struct arena *arena, const char *const *words, size_t limit_bytes,
                                char **ret, size_t *ret_bytes, int *ret_status);

// A thread that gets no signals. The caller joins it.
struct os_thread;
struct error *os_thread_start(void (*function)(void *context), void *context,
                              struct os_thread **ret);
void os_thread_join(struct os_thread *thread);

// --- watch.c -------------------------------------------------------------------------------------
// A descriptor that knows when a process ends; -1 in *ret where the kernel has none of these.
struct error *os_watch_open(int pid, int *ret);
bool os_watch_ended(int pid, int watch);
// The number under which /proc shows the process: another than pid where /proc is of an outer namespace.
int os_watch_shown(int pid, int watch);
// Its status as waitpid gives it; false when the kernel does not tell (any more).
bool os_watch_status(int pid, int watch, int *ret);
bool os_thread_exists(int pid, int tid);
// The name of a thread; false when there is none.
bool os_thread_name(int pid, int tid, char ret[32]);

// --- attend.c ------------------------------------------------------------------------------------
// Starts a program (a path and its words, NULL at the end) as our child, with no signal blocked. When it
// cannot be executed the child ends with status 127.
struct error *os_start(const char *const *words, int *ret_pid);
// Whether a child has ended; then it is collected, and its status is as waitpid gives it.
bool os_child_ended(int pid, int *ret_status);

// Lets a child of ours do work that may take long: what it puts into result (at most 4,096 bytes) is the
// caller's when *ret_done. Else the child was killed, because a descriptor became readable, or because we
// ended; or it died by itself. After the former its own children have ended, or had ten seconds for that.
// Other effects of the work on memory are lost.
struct error *os_work(void (*work)(void *context, void *result), void *context, void *result,
                      size_t bytes, int descriptor, bool *ret_done);

// From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT do not end us: the descriptor becomes readable when one came.
struct error *os_interrupts_take(int *ret);

// Waits until one of at most 8 descriptors is readable or its other side is gone: which. -1 never is.
size_t os_await_any(const int *descriptors, size_t count);
