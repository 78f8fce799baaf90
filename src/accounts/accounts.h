// SPDX-License-Identifier: MIT
// accounts: what each process and each shared segment costs the machine. Nothing is stopped, nothing is
// attached to, no memory of a process is read.
//
//   list.c      the processes of the machine with their cheapest numbers
//   footprint.c one process: dirty, clean, reclaimable, by category
//   category.c  what a mapping is called
//   once.c      pages that several processes share are counted once
//   kernel.c    the kernel's memory that a process costs
//   segments*.c shared memory and who uses it
//   wired.c     the kernel's own memory, by what it is for
//   costs.c     what the kernel keeps for one process, thread, pipe, measured
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

// --- segments*.c ---------------------------------------------------------------------------------
enum segment_kind {
	SEGMENT_POSIX, // a file of /dev/shm
	SEGMENT_SYSV,
	SEGMENT_MEMFD,
	SEGMENT_ANONYMOUS, // mmap(MAP_SHARED | MAP_ANONYMOUS)
	SEGMENT_TMPFS,     // a file of another file system in memory
	SEGMENT_OTHER,     // of the kernel itself, for a driver
};

enum segment_verdict {
	SEGMENT_USED,
	SEGMENT_UNUSED,   // nobody maps it or has it open
	SEGMENT_ORPHANED, // and who made it has ended
};

// A process that maps a segment or has it open.
struct segment_user {
	int pid;
	char name[64];
	uint64_t mapped_bytes;
	unsigned mapping_count, descriptor_count;
};

struct segment {
	enum segment_kind kind;
	enum segment_verdict verdict;
	uint64_t device, inode;
	const char *name;                // path, name of the memfd, "" for shared anonymous memory
	bool deleted;                    // it has no name any more, and ends with its last user
	bool has_bytes;                  // else size and allocation are not known
	uint64_t bytes, allocated_bytes; // allocated: in memory or in swap
	bool has_swapped;                // System V
	uint64_t resident_bytes, swapped_bytes;
	bool has_owner;
	uint32_t owner_uid;
	// System V.
	uint32_t key;
	int id, creator_pid, last_pid;
	bool creator_lives;
	const struct segment_user *users;
	size_t user_count;
};

// A file system in memory.
struct segment_mount {
	const char *place;
	bool has_bytes;
	uint64_t bytes, limit_bytes; // in memory or in swap
};

struct segments {
	const struct segment *segments; // used memory first, biggest first
	size_t count;
	const struct segment_mount *mounts;
	size_t mount_count;
	size_t unseen_count; // processes whose mappings or descriptors may not be looked at
};

// All segments of the machine and who uses them. What only an unseen process uses is not found.
struct error *segments_read(struct accounts *accounts, struct arena *arena, struct segments *ret);

// --- wired.c -------------------------------------------------------------------------------------
// A part of the machine's memory.
struct wired_part {
	const char *name;
	bool known;
	uint64_t bytes;
	bool within;      // it is part of the one before it that is not
	const char *from; // where the number is from, or why there is none
};

struct wired {
	uint64_t total_bytes;           // MemTotal: what the kernel manages
	const struct wired_part *parts; // of the kernel, which no process can be charged for
	size_t part_count;
	const struct wired_part *others; // of programs and files; free memory
	size_t other_count;
	uint64_t wired_bytes;   // sum of the known parts within total_bytes
	uint64_t unknown_bytes; // of total_bytes nobody says what it is for
};

struct error *wired_read(struct arena *arena, struct wired *ret);

// --- costs.c -------------------------------------------------------------------------------------
struct wired_cost {
	const char *name;
	bool known;
	unsigned count, rounds;           // made at once, and how often
	uint64_t bytes;                   // of one: the median of the rounds
	uint64_t parts[OS_COST_COUNTS];   // of that; medians of their own
	uint64_t least_bytes, most_bytes; // of the rounds
};

// Makes processes, threads, pipes and so on in children, a few seconds long. costs has OS_COST_THINGS
// elements.
void wired_costs_measure(struct wired_cost *costs);
