// SPDX-License-Identifier: MIT
// machine: page lists, pressure, faults and paging of the machine, its nodes, its zones and its control
// groups, at one moment and between two. It only reads what the kernel counts anyway; everything that it
// reads is below /proc and /sys.
//
//   counters.h  the counters of the kernel, a table
//   counters.c  that table read: of the machine and of a text
//   lines.c     the lines of vm_stat, each with what Linux counts for it
//   nodes.c     NUMA nodes and zones, with the thresholds of their free lists
//   group.c     control groups, version 1 and 2
//   process.c   faults, swap and wired memory of a process
//   level.c     normal, warning, critical
//   watch.c     the level from now on
//
// root is put before every path that is read: NULL for this machine, or a folder that holds a copy of
// another machine's proc and sys. Functions are thread-safe. A file that is missing makes what is in it
// unknown; only /proc/vmstat must be there.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "machine/counters.h"
#include "os/os.h"

// --- counters.c ----------------------------------------------------------------------------------
enum machine_counter {
#define MACHINE_IDENTIFIER(identifier, ...) MACHINE_##identifier,
	MACHINE_COUNTERS(MACHINE_IDENTIFIER)
#undef MACHINE_IDENTIFIER
		MACHINE_COUNTER_COUNT,
};

enum machine_file {
	MACHINE_FILE_VMSTAT,
	MACHINE_FILE_MEMINFO,
	MACHINE_FILE_ZRAM,
};

enum machine_unit {
	MACHINE_UNIT_PAGES,
	MACHINE_UNIT_BYTES,
	MACHINE_UNIT_EVENTS,
};

struct machine_counter_row {
	const char *key;  // as the kernel writes it
	const char *name; // "free"
	enum machine_file file;
	enum machine_unit unit;
	bool is_total; // since boot; else a state
};

extern const struct machine_counter_row machine_counter_rows[MACHINE_COUNTER_COUNT];

// Values by enum machine_counter, each in its unit.
struct machine_counters {
	uint64_t value[MACHINE_COUNTER_COUNT];
	bool is_known[MACHINE_COUNTER_COUNT];
};

// The machine at one moment. Its files are read one after another, within a millisecond or so.
struct machine_sample {
	uint64_t when_ns; // monotonic
	uint64_t page_bytes;
	struct machine_counters counters;
	struct os_pressure memory, io, cpu; // stalls since boot; is_known false without PSI
};

struct error *machine_read(const char *root, struct machine_sample *ret);

// What passed between two samples: totals are differences (0 for one that went back), states those of
// after. Pressure: total_us is the difference, the shares are those of after. ret may be one of the two.
void machine_subtract(const struct machine_sample *before, const struct machine_sample *after,
                      struct machine_sample *ret);
void machine_counters_subtract(const struct machine_counters *before,
                               const struct machine_counters *after, struct machine_counters *ret);
void machine_pressure_subtract(const struct os_pressure *before, const struct os_pressure *after,
                               struct os_pressure *ret);

// Sums of counters of the same unit, in bytes (PAGES and BYTES may be mixed) or as events; unknown ones
// count as 0. *ret_known is false when all are unknown.
uint64_t machine_sum(const struct machine_counters *counters, uint64_t page_bytes,
                     const enum machine_counter *which, size_t count, bool *ret_known);

// --- lines.c -------------------------------------------------------------------------------------
#define MACHINE_LINE_PARTS 8

struct machine_line {
	const char *label;  // "Pages free"
	const char *column; // of the interval form: "free"
	const char *name;   // of JSON: "free_pages"
	bool is_total;      // since boot; else a state
	// The line is the sum of the first less that of the second list; unknown when the first counter
	// of all is. None: Linux does not count it.
	enum machine_counter plus[MACHINE_LINE_PARTS], minus[MACHINE_LINE_PARTS];
	uint8_t plus_count, minus_count;
	const char *formula;  // "nr_active_anon + nr_active_file"; NULL when not counted
	const char *meaning;  // a sentence or two
	const char *source;   // of the kernel: "mm/vmstat.c"
	const char *old_name; // its label in the form of 2008; NULL: it is not there
};

enum { MACHINE_LINE_COUNT = 22 };
extern const struct machine_line machine_lines[MACHINE_LINE_COUNT];

// The value of a line in pages or events, 0 when it would be negative; false when it is not known.
bool machine_line_value(const struct machine_line *line, const struct machine_counters *counters,
                        uint64_t page_bytes, uint64_t *ret);

// --- nodes.c -------------------------------------------------------------------------------------
// A zone of a node. The kernel begins to reclaim in the background when free falls below low, until it is
// above high; below min allocations wait and reclaim themselves. All in pages.
struct machine_zone {
	char name[32]; // "Normal"
	uint64_t free, boost, min, low, high, promo, spanned, present, managed, cma;
	struct machine_counters counters;
};

struct machine_node {
	unsigned number;
	struct machine_counters counters; // of the node; events are not counted by node
	struct machine_zone *zones;
	size_t zone_count;
};

// Ascending, with zones that have no page left out.
struct error *machine_nodes_read(const char *root, struct arena *arena, struct machine_node **ret,
                                 size_t *ret_count);

// --- group.c -------------------------------------------------------------------------------------
struct machine_group {
	const char *path;     // of its folder, as it was opened
	unsigned version;     // 1 or 2
	uint64_t usage_bytes; // file cache included; the root of version 2: of its statistics
	uint64_t limit_bytes; // the lowest of its own and all above it; UINT64_MAX: none
	uint64_t high_bytes;  // where it is slowed down (version 2); UINT64_MAX: none
	uint64_t peak_bytes;  // 0: not known
	uint64_t swap_bytes;  // in swap
	uint64_t swap_limit_bytes;
	uint64_t oom_kills;  // in it and below
	uint64_t limit_hits; // how often the limit was reached
	bool has_oom_kills, has_limit_hits, has_swap;
	struct machine_counters counters; // MACHINE_FREE: what its limit leaves, when it has one
	struct os_pressure memory;        // version 2
};

// what: the folder itself ("/sys/fs/cgroup/system.slice"), the name of a group as /proc/PID/cgroup has it
// ("/system.slice"), or "self". Texts are in arena.
struct error *machine_group_read(const char *root, struct arena *arena, const char *what,
                                 struct machine_group *ret);

// --- process.c -----------------------------------------------------------------------------------
struct machine_process {
	int pid;
	char name[64];                                       // foreign text
	uint64_t soft_faults, hard_faults;                   // of its own
	uint64_t children_soft_faults, children_hard_faults; // of those that it waited for
	struct os_status_memory memory;
};

// ERROR_GONE when there is none.
struct error *machine_process_read(const char *root, int pid, struct machine_process *ret);

// The numbers of all processes that what names: its number, or the whole name that the kernel shows (at
// most 15 bytes), ascending, in arena. ERROR_NOT_FOUND when there is none.
struct error *machine_processes_find(const char *root, struct arena *arena, const char *what,
                                     int **ret, size_t *ret_count);

// --- level.c -------------------------------------------------------------------------------------
// As macOS has them.
enum machine_level {
	MACHINE_NORMAL = 1,
	MACHINE_WARNING = 2,
	MACHINE_CRITICAL = 4,
};

// A rule and what it found. value and limits are percents. below: it holds when value is not above.
struct machine_rule {
	const char *name;         // "machine_some_stall"
	const char *meaning;      // "time in which at least one task waited for memory"
	double warning, critical; // 0: the rule knows no such level
	bool below;
};

enum machine_rule_number {
	MACHINE_RULE_SOME, // PSI of the machine
	MACHINE_RULE_FULL,
	MACHINE_RULE_AVAILABLE, // of the machine's memory
	MACHINE_RULE_GROUP_SOME,
	MACHINE_RULE_GROUP_FULL,
	MACHINE_RULE_GROUP_ROOM, // of the group's limit, file cache that is not in use counted as room
	MACHINE_RULE_COUNT,
};

extern const struct machine_rule machine_rules[MACHINE_RULE_COUNT];

struct machine_verdict {
	enum machine_level level; // the worst of all rules
	enum machine_level of_rule[MACHINE_RULE_COUNT];
	double value[MACHINE_RULE_COUNT];
	bool is_known[MACHINE_RULE_COUNT];
	enum machine_rule_number why; // the rule that gave the level; with MACHINE_NORMAL any
};

// before is an older sample, or NULL; when it is at least a second old, stalls since then count too. group
// and group_before may be NULL.
void machine_judge(const struct machine_sample *before, const struct machine_sample *now,
                   const struct machine_group *group_before, const struct machine_group *group,
                   struct machine_verdict *ret);

const char *machine_level_name(enum machine_level level); // "normal", "warning", "critical"
bool machine_level_parse(const char *name, enum machine_level *ret);

// --- watch.c -------------------------------------------------------------------------------------
// Looks again and again. Between looks the kernel's triggers (os_trigger_open) wake the caller, where it
// has them; without them a look a second will do.
struct machine_watch;

// group: a control group besides the machine, as machine_group_read names it; NULL none.
struct error *machine_watch_open(const char *root, const char *group, struct machine_watch **ret);
void machine_watch_close(struct machine_watch *watch);

enum { MACHINE_WATCH_TRIGGERS = 4 };

// What to wait for, for os_await; all MACHINE_WATCH_TRIGGERS are set. The next look takes what became
// ready.
void machine_watch_await(const struct machine_watch *watch, struct os_awaited *ret);

// The level now. Stalls count from two to four seconds back; a trigger that fired counts for three.
struct error *machine_watch_look(struct machine_watch *watch, const struct os_awaited *awaited,
                                 struct machine_verdict *ret);
