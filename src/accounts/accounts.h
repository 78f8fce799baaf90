// SPDX-License-Identifier: MIT
// accounts: what each process and each shared segment costs the machine. Nothing is stopped, nothing is
// attached to, no memory of a process is read.
//
//   list.c    the processes of the machine with their cheapest numbers
//
// Names are the processes': make them printable before they are shown. Not thread-safe.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "os/os.h"

// --- list.c --------------------------------------------------------------------------------------
// Reads processes again and again; allocates only when it is opened.
struct accounts;

// One process. Numbers are the kernel's, of the moment of the call.
struct account {
	struct os_account process; // pid, name, faults, resident_bytes, swapped_bytes, ...
	// Anonymous resident memory and swap: what would be free if the process ended. The same as
	// "Physical footprint" of vmmap, heap and leaks.
	uint64_t footprint_bytes;
};

// ERROR_SYSTEM or ERROR_RIGHTS when there is no /proc.
struct error *accounts_open(struct accounts **ret);
void accounts_close(struct accounts *accounts);

// Calls each for every process (not for the kernel's threads, unless with_kernel) in no stated order,
// until it returns false. About 5 µs of CPU a process, 25 µs when something is in swap. Processes that end
// meanwhile are left out.
struct error *accounts_each(struct accounts *accounts, bool with_kernel,
                            bool (*each)(void *context, const struct account *account),
                            void *context);

// One process; false when there is none.
bool accounts_read(struct accounts *accounts, int pid, struct account *ret);
