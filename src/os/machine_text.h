// SPDX-License-Identifier: MIT
// The kernel's texts about the machine as values. All parsers are pure: they read text[0 .. bytes) only,
// skip lines that make no sense and allocate nothing. Part of os.h; called by the room machine.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// "NAME NUMBER" or "NAME: NUMBER kB": the lines of vmstat, meminfo, status, memory.stat, memory.events. A
// kB is given as 1,024. A number that does not fit is left out. name has no NUL behind it.
void os_counters_parse(const char *text, size_t bytes,
                       void (*each)(void *context, const char *name, size_t length, uint64_t value),
                       void *context);

// That of the first line whose name is key. False, and ret as it was, when there is none or it does not fit.
bool os_counter_find(const char *text, size_t bytes, const char *key, uint64_t *ret);

// The numbers of one line of numbers (mm_stat and stat of a block device); how many there are, at most
// limit. A negative one counts as 0.
size_t os_numbers_parse(const char *text, size_t bytes, uint64_t *ret, size_t limit);

// One number, or "max" (UINT64_MAX): the files of a control group. False when it is neither.
bool os_limit_parse(const char *text, size_t bytes, uint64_t *ret);

// Pressure stall information (Documentation/accounting/psi.rst): shares of time in percent over the last
// 10, 60 and 300 seconds, and the sum since boot. "some": at least one task waited; "full": all did.
struct os_stall {
	double share_10, share_60, share_300;
	uint64_t total_us;
	bool is_known;
};

struct os_pressure {
	struct os_stall some, full;
};

void os_pressure_parse(const char *text, size_t bytes, struct os_pressure *ret);

// The zones of /proc/zoneinfo in its order. Of each key of a zone, and of its node (in_node), each is
// called with zone zoned.
struct os_zone_name {
	unsigned node;
	char zone[32];
};
void os_zoneinfo_parse(const char *text, size_t bytes,
                       void (*each)(void *context, const struct os_zone_name *zone, bool in_node,
                                    const char *name, size_t length, uint64_t value),
                       void *context);

// The paths of /proc/swaps, with \040 and its like turned back; at most 255 bytes of each.
void os_swaps_parse(const char *text, size_t bytes, void (*each)(void *context, const char *path),
                    void *context);

// Where a file system of a kind is mounted, of a text of /proc/PID/mountinfo: the first line whose type is
// kind and whose super options hold the word option (NULL: any). False when there is none or its path
// does not fit. Escapes are turned back.
bool os_mount_find(const char *text, size_t bytes, const char *kind, const char *option, char *ret,
                   size_t ret_bytes);

// The control group of a process in the hierarchy of this controller ("memory"; NULL: version 2), of a
// text of /proc/PID/cgroup. False when it is in none or the path does not fit.
bool os_group_find(const char *text, size_t bytes, const char *controller, char *ret,
                   size_t ret_bytes);

// The resident, swapped and wired memory of a process, of a text of /proc/PID/status. What it does not say
// stays as it was.
struct os_status_memory {
	uint64_t resident_bytes, swapped_bytes, locked_bytes, pinned_bytes;
	bool is_known; // of a kernel thread there is none
};
void os_status_memory_parse(const char *text, size_t bytes, struct os_status_memory *ret);
