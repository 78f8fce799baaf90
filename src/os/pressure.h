// SPDX-License-Identifier: MIT
// Waiting with a limit, memory pressure triggers of the kernel, sockets between processes of one user,
// and signals to processes whose number cannot have gone to another one. Part of os.h.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;

// --- await.c -------------------------------------------------------------------------------------
enum { OS_AWAITED_MAX = 128 };

struct os_awaited {
	int fd;      // -1: never ready
	bool urgent; // ready means an event of a trigger, not something to read
	bool ready;  // set: also when the other side is gone
};

// Waits until one of at most OS_AWAITED_MAX is ready, or limit_ns have passed (UINT64_MAX: for ever);
// false when none is. A signal that was handled ends it early.
bool os_await(struct os_awaited *list, size_t count, uint64_t limit_ns);

// Gives interrupts that os_interrupts_take took back to the program and closes the descriptor.
void os_interrupts_return(int fd);

// --- trigger.c -----------------------------------------------------------------------------------
// A descriptor that has an urgent event each time that tasks (some of them; full: all) waited for
// stall_us within a window of window_us, at most once a window. path: a file of /proc/pressure or a
// control group's memory.pressure. Users without rights get windows that are multiples of 2 s
// (Documentation/accounting/psi.rst).
struct error *os_trigger_open(const char *path, bool full, uint64_t stall_us, uint64_t window_us,
                              int *ret);

// --- local.c -------------------------------------------------------------------------------------
// Sockets that keep messages apart, between processes of one user.

// The folder for them: heapwright below XDG_RUNTIME_DIR, else below /run/user/UID, else
// /tmp/heapwright-UID. It is made when it is not there; ERROR_RIGHTS when it is not this user's own or
// others may write there. In arena.
struct error *os_local_folder(struct arena *arena, const char **ret);

// A socket at path that takes connections; takes over what a program that has ended left there.
// ERROR_USAGE when somebody answers there already.
struct error *os_local_listen(const char *path, int *ret);
struct error *os_local_connect(const char *path, int *ret);

struct os_peer {
	int fd, pid;
	int process; // a descriptor of the process: its number cannot go to another; -1 unknown
	uint32_t user;
};

// The next connection; false when there is none, or it was gone at once.
bool os_local_accept(int listener, struct os_peer *ret);
// A message. Neither waits; false when it could not be sent as a whole.
bool os_local_send(int fd, const char *text);
// The next message, cut at n - 1 bytes, with a NUL behind it: its length; 0: the other side is gone; -1:
// none is there.
int os_local_receive(int fd, char *ret, size_t n);
void os_local_remove(const char *path);

// --- signals to other processes ------------------------------------------------------------------
// A signal's number by its name without SIG ("USR1"), or 0.
int os_signal_number(const char *name);
// process: of os_watch_open or of a peer. value comes with the signal, as of sigqueue.
struct error *os_process_signal(int process, int signal, int value);
