// SPDX-License-Identifier: MIT
// monitor: what memory the machine and its processes use, again and again: taken from the running machine
// or read back from a recording, kept for some minutes, and shown as a screen, as text or as CSV.
//
//   numbers.c   the numbers of a sample, a table; taken from the machine
//   live.c      takes samples of the running machine
//   view.c      what passed between samples: rates, growth, curves; sorted processes
//   verdict.c   when a machine is thrashing
//   file.c      recordings: reading
//   record.c    recordings: writing, and keeping them below a limit
//   line.c      a line of text with columns, and its numbers
//   page.c      the lines of a screen
//   csv.c       rows of CSV
//   screen.c    the terminal
//
// docs/monitor.md has the rules and the format of recordings. Names are the processes' and are made
// printable where they are shown. One thread at a time may use an object.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/vec.h"
#include "machine/machine.h"

// --- numbers.c -----------------------------------------------------------------------------------
// clang-format off
// X(identifier, name, unit, is_total): bytes, events or microseconds; states, or totals since boot.
#define MONITOR_NUMBERS(X) \
	X(SIZE, "memory_size", BYTES, false) \
	X(AVAILABLE, "available", BYTES, false) \
	X(FREE, "free", BYTES, false) \
	X(ACTIVE, "active", BYTES, false) \
	X(INACTIVE, "inactive", BYTES, false) \
	X(WIRED, "wired", BYTES, false) \
	X(ANONYMOUS, "anonymous", BYTES, false) \
	X(CACHED, "file_backed", BYTES, false) \
	X(DIRTY, "dirty", BYTES, false) \
	X(STORED, "compressor_stored", BYTES, false) \
	X(COMPRESSED, "compressor_occupied", BYTES, false) \
	X(SWAP_SIZE, "swap_size", BYTES, false) \
	X(SWAP_USED, "swap_used", BYTES, false) \
	X(FAULTS, "faults", EVENTS, true) \
	X(HARD_FAULTS, "hard_faults", EVENTS, true) \
	X(REACTIVATED, "reactivated", EVENTS, true) \
	X(PAGED_IN, "paged_in", BYTES, true) \
	X(PAGED_OUT, "paged_out", BYTES, true) \
	X(SWAPPED_IN, "swapped_in", BYTES, true) \
	X(SWAPPED_OUT, "swapped_out", BYTES, true) \
	X(RECLAIMED, "reclaimed", BYTES, true) \
	X(REFAULTED, "refaulted", BYTES, true) \
	X(REFAULTED_HOT, "refaulted_hot", BYTES, true) \
	X(OOM_KILLS, "oom_kills", EVENTS, true) \
	X(STALL_SOME, "stalled_some", MICROSECONDS, true) \
	X(STALL_FULL, "stalled_full", MICROSECONDS, true)
// clang-format on

enum monitor_number {
#define MONITOR_IDENTIFIER(identifier, ...) MONITOR_##identifier,
	MONITOR_NUMBERS(MONITOR_IDENTIFIER)
#undef MONITOR_IDENTIFIER
		MONITOR_NUMBER_COUNT,
};

enum monitor_unit { MONITOR_BYTES, MONITOR_EVENTS, MONITOR_MICROSECONDS };

struct monitor_number_row {
	const char *name;
	enum monitor_unit unit;
	bool is_total;
};
extern const struct monitor_number_row monitor_number_rows[MONITOR_NUMBER_COUNT];

// "free_bytes", "paged_in_bytes_per_s", "faults_per_s": of JSON and CSV; NULL for those that are not shown.
const char *monitor_number_key(enum monitor_number number, char ret[64]);

struct monitor_numbers {
	uint64_t value[MONITOR_NUMBER_COUNT];
	bool is_known[MONITOR_NUMBER_COUNT];
};
void monitor_numbers_take(const struct machine_sample *machine, struct monitor_numbers *ret);

#define MONITOR_NAME_BYTES 64

struct monitor_process {
	int pid;
	uint64_t start; // tells two processes of one number apart
	char name[MONITOR_NAME_BYTES];
	uint64_t footprint_bytes, resident_bytes, swapped_bytes;
	uint64_t soft_faults, hard_faults; // since it started
};

struct monitor_sample {
	uint64_t wall_ns; // since the epoch
	uint64_t when_ns; // monotonic: differences only
	enum machine_level level;
	struct monitor_numbers numbers;
	uint64_t process_count; // of the machine; the list may have fewer
	VEC(struct monitor_process) processes;
};
void monitor_sample_init(struct monitor_sample *sample);
void monitor_sample_deinit(struct monitor_sample *sample);

// --- live.c --------------------------------------------------------------------------------------
struct monitor_live;
// pids: only these processes; none: all but the kernel's threads. The array lives as long.
struct error *monitor_live_open(const int *pids, size_t count, struct monitor_live **ret);
void monitor_live_close(struct monitor_live *live); // NULL is allowed
struct error *monitor_live_take(struct monitor_live *live, struct monitor_sample *sample);

// --- verdict.c -----------------------------------------------------------------------------------
// The limits of the rule, as docs/monitor.md states it.
#define MONITOR_THRASH_STALL_PERCENT 5.0
#define MONITOR_THRASH_SHARE_PERCENT 20.0
#define MONITOR_THRASH_BYTES_PER_S   (1 << 20)
#define MONITOR_THRASH_BLIND_PERCENT 50.0
#define MONITOR_THRASH_BLIND_PER_S   (4 << 20)

struct monitor_verdict {
	bool has_stall;
	double some_percent, full_percent; // of the time between the samples
	double refault_percent;            // refaulted bytes of those reclaimed, at most 100
	bool is_thrashing;
};
void monitor_judge(const struct monitor_numbers *before, const struct monitor_numbers *now,
                   uint64_t passed_ns, struct monitor_verdict *ret);

// --- view.c --------------------------------------------------------------------------------------
enum { MONITOR_CURVE = 120 }; // points that are kept

struct monitor_row {
	struct monitor_process process;
	uint64_t first_bytes;          // footprint when it was first seen, or when growth was reset
	int64_t growth_bytes;          // since then
	double faults, hard;           // a second
	uint64_t missing;              // samples since it was seen; 0: it is in the last one
	uint32_t curve[MONITOR_CURVE]; // footprint in KiB, newest last
	unsigned points;
};

enum monitor_order {
	MONITOR_BY_FOOTPRINT,
	MONITOR_BY_GROWTH,
	MONITOR_BY_FAULTS,
	MONITOR_BY_RESIDENT,
	MONITOR_BY_SWAP,
	MONITOR_BY_NAME,
	MONITOR_BY_PID,
	MONITOR_ORDER_COUNT,
};
extern const char *const monitor_order_names[MONITOR_ORDER_COUNT];
bool monitor_order_parse(const char *name, enum monitor_order *ret);

struct monitor_view {
	size_t samples; // that were added
	uint64_t wall_ns, when_ns,
		since_ns;   // of the last one; wall time since which growth is counted
	uint64_t passed_ns; // between the last two
	enum machine_level level;
	uint64_t process_count;
	struct monitor_numbers numbers;
	double rate[MONITOR_NUMBER_COUNT]; // a second, of totals
	struct monitor_verdict verdict;
	float curve[MONITOR_NUMBER_COUNT][MONITOR_CURVE]; // states and rates, newest last
	float stall_curve[MONITOR_CURVE];
	unsigned points;
	VEC(struct monitor_row) rows; // in the last sample first, in order
	size_t row_count;             // of those
	uint32_t *index;              // open addressing, row + 1
	size_t index_count;
};
void monitor_view_init(struct monitor_view *view);
void monitor_view_deinit(struct monitor_view *view);
void monitor_view_add(struct monitor_view *view, const struct monitor_sample *sample);
void monitor_view_sort(struct monitor_view *view, enum monitor_order order, bool reversed);
void monitor_view_reset_growth(struct monitor_view *view);

// --- file.c --------------------------------------------------------------------------------------
#define MONITOR_FILE_MAGIC   "HWMONIT\n"
#define MONITOR_FILE_VERSION 1u
enum {
	MONITOR_RECORD_MACHINE = 1,
	MONITOR_RECORD_SAMPLE = 2,
	MONITOR_RECORD_BYTES_MAX = 1 << 20,
	MONITOR_PROCESSES_MAX = 4096,
	MONITOR_NAMES_MAX = 256,
};

struct monitor_file {
	const uint8_t *bytes;
	size_t count;              // of bytes
	const char *host, *system; // made printable
	uint64_t interval_ns;
	VEC(uint64_t) samples; // offset of the payload of each
	bool is_cut; // the last record is not whole: it is being written, or was not finished
	uint8_t order
		[MONITOR_NAMES_MAX]; // which of our numbers its numbers are; MONITOR_NUMBER_COUNT: none
	size_t order_count;
	struct arena arena;
	size_t memory_bytes; // 0: bytes are not ours
};
bool monitor_file_is(const char *path);
struct error *monitor_file_open(const char *path, struct monitor_file *ret);
// Of bytes that the caller keeps.
struct error *monitor_file_parse(const uint8_t *bytes, size_t count, struct monitor_file *ret);
void monitor_file_close(struct monitor_file *file);
// The record of sample number i: its kind and what follows.
const uint8_t *monitor_file_record(const struct monitor_file *file, size_t i, size_t *ret_bytes);
// Sample number i. ERROR_DAMAGED.
struct error *monitor_file_read(const struct monitor_file *file, size_t i,
                                struct monitor_sample *sample);

// --- record.c ------------------------------------------------------------------------------------
struct monitor_recorder;
// A new file; there may be none. When it would grow beyond limit_bytes, every second sample of it is
// dropped.
struct error *monitor_record_open(const char *path, uint64_t interval_ns, uint64_t limit_bytes,
                                  struct monitor_recorder **ret);
// The sample and of its processes those that matter most: the biggest, the fastest growing, those with
// most faults, as the view has them after it got the sample.
struct error *monitor_record_add(struct monitor_recorder *recorder,
                                 const struct monitor_sample *sample,
                                 const struct monitor_view *view);
struct error *monitor_record_close(struct monitor_recorder *recorder); // NULL is allowed

// --- page.c --------------------------------------------------------------------------------------
enum monitor_style { MONITOR_PLAIN, MONITOR_TITLE, MONITOR_HEADING, MONITOR_ALARM };

struct monitor_page {
	unsigned width, height; // height 0: as many lines as needed
	bool utf8;
	const char *title;  // "heapwright monitor on HOST"
	const char *status; // at the bottom; NULL: none
	enum monitor_order order;
	bool reversed;
	size_t scroll, most_processes; // most 0: what fits
	uint64_t interval_ns;
};

// Calls line for each line, from the top, no line being wider than the page.
void monitor_page_write(const struct monitor_view *view, const struct monitor_page *page,
                        void (*line)(void *context, enum monitor_style style, const char *text),
                        void *context);
void monitor_help_write(const struct monitor_page *page, bool recorded,
                        void (*line)(void *context, enum monitor_style style, const char *text),
                        void *context);
// "2026-11-23 07:42:05", 20 bytes.
void monitor_time_text(uint64_t wall_ns, char ret[32]);

// --- csv.c ---------------------------------------------------------------------------------------
// Of the machine, or with by_process a row for each process of the last sample.
void monitor_csv_heading(FILE *out, bool by_process);
void monitor_csv_rows(FILE *out, const struct monitor_view *view, bool by_process);

// --- screen.c ------------------------------------------------------------------------------------
struct monitor_screen {
	// Either the running machine or a recording.
	struct monitor_live *live;
	const struct monitor_file *file;
	struct monitor_recorder *recorder; // NULL: none
	const char *host;
	uint64_t interval_ns;
	enum monitor_order order;
	bool ascii; // no letters beyond ASCII
};

// Shows it on the terminal until the user ends it. ERROR_UNSUPPORTED when there is no terminal.
struct error *monitor_screen_run(const struct monitor_screen *screen);
// Whether the locale has UTF-8; sets it from the environment.
bool monitor_locale_utf8(void);
