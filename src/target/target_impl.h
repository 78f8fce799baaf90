// SPDX-License-Identifier: MIT
// What the files of target share: how each kind makes a target, and the state of
// a look at a live process that its two ways (in place, clone) have in common.
#pragma once

#include "base/base.h"
#include "os/os.h"
#include "target/target.h"

// --- making a target (segments.c) ----------------------------------------------------------------
// An empty target with an arena over os_page_source, complete and without warnings. Operations that
// ops leaves NULL are filled with ones that say ERROR_UNSUPPORTED, so callers never test for NULL.
struct target *target_new(enum target_kind kind, const struct target_ops *ops);

// Adds a sentence to target->warnings.
void target_warn(struct target *target, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

// --- kinds of files (open.c asks each row in turn) -----------------------------------------------
// is() reads from offset 0 with pread and keeps the descriptor as it was; open() takes the descriptor
// over, also when it fails.
struct target_file_kind {
	const char *name; // "core file"
	bool (*is)(int fd);
	struct error *(*open)(const char *path, int fd, const struct target_options *options,
	                      struct target **ret);
};

// --- stopping every thread of a process (stop.c) -------------------------------------------------
// One thread that we hold. Flat, so that a guardian process can hand an array of them over.
struct stop_thread {
	int tid;
	int signal;   // to be delivered at the release: the stop was a signal's delivery
	bool stopped; // false: sleeps uninterruptibly; it will stop before it runs user code again
	bool has_registers; // all of them; without, sp and pc only, when the kernel tells them
	uint32_t register_count;
	uint64_t sp, pc, tp;
	uint64_t registers[OS_REGISTERS_MAX];
	uint32_t vector_offset, vector_bytes; // into stop.vectors
};

struct stop {
	int pid;
	const struct os_cpu *cpu;
	VEC(struct stop_thread) threads;
	VEC(uint8_t) vectors;
	uint64_t began_ns, ended_ns; // first interrupt, last detach; monotonic
	unsigned unstopped;          // threads with stopped == false
};

void stop_init(struct stop *stop, int pid, const struct os_cpu *cpu);
void stop_deinit(struct stop *stop);

// Seizes and interrupts every thread, those too that appear meanwhile, and waits until they stand.
// After an error nothing is held any more. The calling thread becomes the tracer: it alone may read
// registers, inject and release, and when it ends the kernel lets everything go.
struct error *stop_begin(struct stop *stop);

// Fills registers of all threads.
struct error *stop_read_registers(struct stop *stop);

// Lets all threads go as they were: group stops stay, signals that were on their way are delivered.
// A thread with stopped == false can only be let go by the end of the tracing thread.
void stop_end(struct stop *stop);

// --- a look at a live process (live.c) -----------------------------------------------------------
// From the first reading until a target is made of it.
struct live {
	struct target *target; // its facts, files and auxv are there before the stop
	struct target_options options;
	int pid;
	int memory_tid; // whose memory is asked for: pid, unless the main thread has ended
	int memory;     // /proc/PID/mem, or -1
	int pagemap;    // /proc/PID/pagemap, or -1
	const struct os_cpu *cpu;
	struct os_process process;         // of /proc/PID/status and stat, before the stop
	const struct os_mapping *mappings; // as of before the stop
	size_t mapping_count;
	uint64_t copy_bytes; // that a stop in place would copy
};

// Replaces segments and files by what the kernel says now. tid is the process that is asked: the
// target, or its clone. Files found before keep their address.
struct error *live_read_segments(struct live *live, int tid);

// Makes target->threads of a stop.
struct error *live_set_threads(struct live *live, const struct stop *stop);

// Opens a pid: in place, or through a clone when the predicted stop is long.
struct error *live_open(int pid, const struct target_options *options, struct target **ret);
