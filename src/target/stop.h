// SPDX-License-Identifier: MIT
// Stopping every thread of a process (stop.c), as target's own looks and collect's
// attach do it. Part of target.h.
#pragma once

#include "base/vec.h"
#include "os/os.h"

enum stop_way {
	STOP_STANDS = 0, // or shall as soon as the stop begins
	STOP_ENTERS,     // goes back into the call in which it waited
	STOP_WAITS,      // is in that call, and will stand where the call ends
};

// One thread that we hold. Flat, so that a guardian process can hand an array of them over.
struct stop_thread {
	int tid;
	int signal;       // to be delivered at the release: the stop was a signal's delivery
	bool interrupted; // by us, and by nothing else
	bool stopped; // false: sleeps uninterruptibly; it will stop before it runs user code again
	bool killed;  // at the release: it was no longer there to be let go
	bool asked;   // to stop while preparing, and has not come yet
	bool has_registers; // all of them; without, sp and pc only, when the kernel tells them
	uint8_t way; // enum stop_way; registers of one that waits are those that it waits with
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
	// How long those that stand may wait for the others; 0: seconds. Then nothing is kept of the
	// attempt, but a thread that did not stand is let go by the end of the tracing thread only.
	uint64_t patience_ns;
	bool without_vectors;
	bool tracer_stays; // beyond stop_end: then those that wait are woken once more to be let go
	// Until when preparing has to be done (monotonic), and how long a stop without patience may take
	// before all stand. 0: as long as it takes, and seconds for each thread.
	uint64_t prepare_end_ns, limit_ns;
	int channel; // whose other side must be there while it is prepared (os_channel_closed); 0: none
	uint64_t began_ns, ended_ns; // first interrupt, last detach; monotonic
	unsigned unstopped;          // threads with stopped == false
};

void stop_init(struct stop *stop, int pid, const struct os_cpu *cpu);
void stop_deinit(struct stop *stop);

// Before stop_begin, so that it is short in a program of many threads: each thread is stopped for itself
// for some microseconds, its registers are read, and look tells whether it may wait on. Those that wait in
// a system call then do so, and stand only when it ends; the others run. stop_begin interrupts what runs.
// At least one thread is left to be stopped. Where that is not known for this CPU nothing is done.
// ERROR_SYSTEM with ETIMEDOUT: it took too long; the end of the tracing thread lets go of everything.
struct error *stop_prepare(struct stop *stop,
                           bool (*look)(void *context, const struct stop_thread *thread),
                           void *context);

// The same for a look at a process of so many threads, when they are many: some more are left to be stopped,
// and what is not ready in time is stopped with them.
struct error *stop_prepare_look(struct stop *stop, unsigned thread_count);

// The same, but each thread is let go after the look, and only threads that are wanted are stopped. One
// that does not stop is not looked at. The end of the tracing thread lets go of everything.
struct error *stop_look_at_each(struct stop *stop, bool (*wanted)(void *context, int tid),
                                bool (*look)(void *context, const struct stop_thread *thread),
                                void *context);

// Seizes and interrupts every thread, those too that appear meanwhile, and waits until they stand.
// After an error nothing is held any more. The calling thread becomes the tracer: it alone may read
// registers, inject and release, and when it ends the kernel lets everything go.
struct error *stop_begin(struct stop *stop);

// Fills registers of all threads that stand.
struct error *stop_read_registers(struct stop *stop);

// Lets all threads go as they were: group stops stay, signals that were on their way are delivered.
// A thread with stopped == false can only be let go by the end of the tracing thread; it runs already,
// unless it comes to its stop in the very moment.
void stop_end(struct stop *stop);

// --- what stop.c and stop_prepare.c share ----------------------------------------------------------
#define STOP_TIDS_MAX (1u << 22) // PID_MAX_LIMIT of the kernel

struct error *stop_read_thread(struct stop *stop, struct stop_thread *thread);
// Whether a thread has ended, which the kernel refuses to be traced.
bool stop_is_dead(const struct stop *stop, int tid);

// --- live_rights.c ---------------------------------------------------------------------------------
// Why the kernel refused us the right to trace a process, by what it says about it (a sentence part).
const char *target_refused_why(const struct os_process *process);
