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
