// SPDX-License-Identifier: MIT
// accounts: what each process and each shared segment costs the machine. Nothing is stopped, nothing is
// attached to, no memory of a process is read.
//
//   list.c      the processes of the machine with their cheapest numbers
//   footprint.c one process: dirty, clean, reclaimable, by category
//   category.c  what a mapping is called
//   once.c      pages that several processes share are counted once
//   kernel.c    the kernel's memory that a process costs
//
// Names and paths are the processes': make them printable before they are shown. Not thread-safe.
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

// --- footprint.c ---------------------------------------------------------------------------------
struct footprint_counts {
	uint64_t dirty_bytes;       // nowhere else than in memory or swap
	uint64_t clean_bytes;       // a file has them too
	uint64_t reclaimable_bytes; // given up by the program (MADV_FREE) and not yet taken
	uint64_t swapped_bytes;     // of dirty_bytes
	uint64_t wired_bytes;       // of the first three: locked in memory, or huge pages set aside
	uint64_t region_count;
};

struct footprint_category {
	const char *name;
	struct footprint_counts counts;
	// The part of counts that is this process's: see enum footprint_sharing. Equal to counts when
	// nobody asked for it.
	struct footprint_counts share;
};

struct footprint_region {
	uint64_t start, end;
	uint8_t protection; // OS_READ | ...
	bool shared;
	const char *category, *name; // name: path or "[heap]", as the kernel writes it; ""
	struct footprint_counts counts;
};

// The kernel's memory for a process; what it does not count by process is not here.
struct footprint_kernel {
	uint64_t page_table_bytes; // VmPTE
	uint64_t stack_bytes;      // of its threads
	uint64_t pinned_bytes;     // VmPin: of the process, held by the kernel for a device
	// With FOOTPRINT_KERNEL, as far as the descriptors may be listed.
	bool has_descriptors;
	uint64_t descriptor_count, socket_count, pipe_count;
	// With FOOTPRINT_KERNEL: its control group's kernel memory, which nobody counts by process.
	const char *cgroup; // NULL unknown
	bool has_cgroup_bytes;
	uint64_t cgroup_slab_bytes, cgroup_process_count;
};

struct footprint {
	struct account account;
	unsigned word_bytes; // 4 or 8; 0 unknown
	// Why there are no categories: the mappings may not be read. Then total is of the cheap numbers:
	// anonymous memory is dirty, the rest clean. NULL: all could be read.
	const char *refused;
	struct footprint_category *categories; // in order of appearance
	size_t category_count;
	struct footprint_category total;
	const struct footprint_region *regions; // with FOOTPRINT_REGIONS
	size_t region_count;
	uint64_t resident_peak_bytes; // VmHWM
	struct footprint_kernel kernel;
};

enum footprint_want {
	FOOTPRINT_CATEGORIES = 1, // else only the total, for a third of the time
	FOOTPRINT_REGIONS = 2,
	FOOTPRINT_KERNEL = 4, // descriptors and control group
};

// What `share` holds, so that shares of several processes can be added up.
enum footprint_sharing {
	FOOTPRINT_SHARE_ALL,          // everything: for one process
	FOOTPRINT_SHARE_ONCE,         // pages that no process before it had, by page frame
	FOOTPRINT_SHARE_PROPORTIONAL, // each page divided by the number of those who map it (Pss)
};

// Reads one process after the other. What is found lives in arena.
struct footprints;

// several: shares are to be added up. Then FOOTPRINT_SHARE_ONCE where we have the right to (CAP_SYS_ADMIN)
// and categories are wanted, else FOOTPRINT_SHARE_PROPORTIONAL.
struct footprints *footprints_open(struct accounts *accounts, unsigned want, bool several);
void footprints_close(struct footprints *footprints);
enum footprint_sharing footprints_sharing(const struct footprints *footprints);

// ERROR_GONE when there is no such process any more.
struct error *footprints_read(struct footprints *footprints, struct arena *arena, int pid,
                              struct footprint *ret);

void footprint_counts_add(struct footprint_counts *to, const struct footprint_counts *from);

// --- kernel.c ------------------------------------------------------------------------------------
// What the stack of one thread costs in the kernel, as this machine has it.
uint64_t accounts_kernel_stack_bytes(void);
