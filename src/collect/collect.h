// SPDX-License-Identifier: MIT
// collect: the process that drains a program's rings and writes the log; also attaches to and detaches
// from a running program. Never touches the program but through the shared mapping, ptrace while it
// attaches, and /proc.
//
//   share.c     opens the shared mapping of a process and checks its header
//   clock.c     ticks of the program's stamps as ns
//   drain.c     takes events out of the rings in order
//   stream.c    events as the log has them: time, stacks, threads, types, texts
//   live.c      the live blocks, for sizes, peaks and keyframes
//   ranges.c    the mappings, which are unmapped in parts
//   frame.c     all live blocks, sorted, for a keyframe
//   nodes.c, modules.c, types.c, threads.c   what events name, as the log has it
//   pack.c      what goes to the log together, written by a thread of its own
//   collector.c the loop: drain, write, watch the end of the program
//   follow.c    collectors for the processes that the program makes
//   before.c    blocks that were there before a running program was attached to
//   beside.c    what else is recorded on the same clock: leak checks, the monitor
//   monitor.c   a sample of the monitor
//   process.c   what the log says about the process, and how it ended
//   find.c      is a process recorded; flush its log
//   mark.c      a mark from outside
//   attach*.c   gets the recorder into a running program and out again
//   program/    lib/heapwright/collector: collect_run in a process of its own
//
// The collector ends when the program ends, detaches or asks for it, on SIGTERM, and when the log
// cannot grow; the log's last note says why. SIGUSR2 to the collector makes a mark named "signal".
//
//   collector PID DESCRIPTOR [--log=PATH] [--replace] [--attached] [--max-size=BYTES]
//             [--duration=SECONDS] [--leaks-every=SECONDS] [--monitor=SECONDS] [--before=FD]
//             [--follow] [--await]
//
// PID and DESCRIPTOR as the program itself sees them; DESCRIPTOR may be inherited; -1: it is found.
// More options are taken from the variable HEAPWRIGHT_COLLECTOR, separated by blanks. It leaves the
// session and the terminal by itself: whoever starts it needs a fork and an exec only. The shared header
// says RECORD_COLLECTOR_RUNS as long as it works; when it cannot begin, a line on its standard error
// says why.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

struct collect_settings {
	int process;          // pid of the program as we see it
	int descriptor;       // of the memfd in the program; -1: it is found among its mappings
	const char *log_path; // NULL: what the shared mapping says
	bool replace;         // an existing log is replaced
	bool attached;        // the process ran already
	bool follows; // each process that the program makes by fork gets a collector, its log: path.PID
	bool awaits; // the recording of the process is about to begin
	int before;  // collect_before_open's descriptor, becomes ours; 0: none is awaited
	uint64_t max_log_bytes;                    // 0: no limit; then the recording stops
	uint64_t duration_ns;                      // 0: until the program ends
	uint64_t leaks_every_ns, monitor_every_ns; // 0: never
	// How a leak check or a monitor's sample is made: JSON into arena. NULL: never.
	struct error *(*leaks)(int process, struct arena *arena, const char **ret);
	struct error *(*monitor)(int process, struct arena *arena, const char **ret);
	void (*started)(void); // called when the recording has begun; NULL: nothing
};

// Collects until the end of the program or of the recording; the exit of the calling process is the
// caller's, and that it lives in a session of its own (os_background).
struct error *collect_run(const struct collect_settings *settings);

// Blocks that were there before the recording, for a collector that is started with this descriptor
// (settings.before): opened before that, filled in order, ended exactly once, also when nothing is known
// (0, false). complete: no other block was there. What was made since the recording began may be among
// them. The caller closes the descriptor with os_close. The recording waits for the end with its first
// keyframe.
struct collect_before_block {
	uint64_t address, bytes;
};
struct error *collect_before_open(int *ret);
struct error *collect_before_add(int list, uint64_t first,
                                 const struct collect_before_block *blocks, size_t count);
struct error *collect_before_end(int list, uint64_t count, bool complete);
// What the collector made of them, awaited for limit_ns: nothing yet; too much was freed meanwhile for them
// to be told apart; the recording ended first.
enum collect_before_answer {
	COLLECT_BEFORE_NONE,
	COLLECT_BEFORE_TAKEN,
	COLLECT_BEFORE_GIVEN_UP,
	COLLECT_BEFORE_ENDED,
};
enum collect_before_answer collect_before_await(int list, uint64_t limit_ns);

// A running recording of a process: where its log is.
struct collect_recording {
	int process;
	int collector;        // 0: none (lite mode, or it ended)
	uint32_t mode;        // enum record_mode
	const char *log_path; // "" in lite mode
	uint64_t address;     // of the shared mapping in the process
};
// ERROR_NOT_FOUND when the process is not recorded.
struct error *collect_find(int process, struct arena *arena, struct collect_recording *ret);

// Where a tool finds that log: the path is the program's, which may have another root. In arena or the
// recording's own; NULL in lite mode.
const char *collect_log_path(const struct collect_recording *recording, struct arena *arena);

// How the note about the end begins in a log that could not be written to its end.
#define COLLECT_FAILED "recording failed: "
// All of that note when the process became another program. A program that was started under the recorder
// is recorded further, to the log's name with .2, .3 and so on behind it.
#define COLLECT_REPLACED "replaced by exec"

// Why the log of a recording that ended lacks its end (a full disk, a killed collector), in arena; NULL:
// it does not, or that cannot be told.
const char *collect_log_failure(const char *log, struct arena *arena);
// Whether there is the beginning of a log: not when the recorder or its collector had no room for one.
bool collect_log_is(const char *log);

// Makes a mark now; without a name (NULL) it gets a number. ERROR_NOT_FOUND when the process is not recorded.
struct error *collect_mark(int process, const char *name);

// Asks the collector to write what it has and waits until it has, at most limit_ns.
struct error *collect_flush(int process, uint64_t limit_ns);

// Memory, faults and pressure of a process and of the machine now, as JSON: for settings.monitor.
struct error *collect_monitor_sample(int process, struct arena *arena, const char **ret);

// --- attach.c ------------------------------------------------------------------------------------
// Gets the recorder into a program that runs already, was never prepared, and goes on as it was
// afterwards; see docs/attaching.md.
enum collect_mode { COLLECT_FULL = 1, COLLECT_LITE = 2, COLLECT_SAMPLED = 3 }; // enum record_mode
enum { COLLECT_MALLOC = 1, COLLECT_VM = 2, COLLECT_SHARED_MEMORY = 4 };        // RECORD_WHAT_*

struct collect_attach_settings {
	int process;
	const char *library; // path of the recorder's library, absolute
	// As struct record_settings has them. The log's path is as the collector sees it.
	uint32_t mode, what;
	const char *log_path; // NULL in lite mode
	uint64_t sample_bytes, wait_ns, max_log_bytes;
	uint32_t ring_bytes;
	bool follow_fork;  // the collector follows
	uint64_t limit_ns; // until the attempt is given up; 0: a minute
	bool has_interrupt;
	int interrupt; // a descriptor: once it can be read, the attempt is given up with EINTR
	// Called once when the recorder's memory is mapped in the process and nothing is recorded yet:
	// starts the collector. Its error makes the attempt fail, and nothing stays. May be NULL.
	// descriptor: of that memory, in the process.
	struct error *(*ready)(void *context, int process, int descriptor);
	void *context;
};

struct collect_attached {
	int process;
	int guardian; // process that gets out again should we die; a child of ours
	int channel;  // to it; its end (POLLHUP) means that it was killed: then collect_detach
	uint64_t stopped_ns; // the longest time that all threads stood still
	unsigned stops;      // how many times that was
	unsigned held; // the most threads that one stop had to wake; those that waited it had not
	uint64_t borrowed_ns; // how long one thread worked for us, the others running
	unsigned patched;     // functions that lead to ours
	int descriptor;       // of the recorder's memory in the process, for ready
	uint64_t island;      // code of ours in the process; stays for the next time
	bool remains; // after a detach: memory of the recorder is still mapped, because a thread
		      // may be inside, or because the process is suspended
	char lacking[512]; // functions that go unrecorded, with the reason; "" for none
};

// ERROR_RIGHTS names the right that is missing; ERROR_UNSUPPORTED why this process cannot be recorded
// while it runs and what can be done instead; ERROR_GONE when it ended. After an error nothing has
// changed in it (the library may stay loaded). It comes to its end in time whatever the process does: after
// limit_ns it is given up, and getting out takes a minute at most. ERROR_SYSTEM with ETIMEDOUT: it was.
// Not for several threads at a time.
struct error *collect_attach(const struct collect_attach_settings *settings,
                             struct collect_attached *ret);

// Gets out, also of the processes that it made, when these were followed. The end of the process
// meanwhile is no error. When it fails, the program goes on being
// recorded, and it may be tried again with collect_detach_process.
struct error *collect_detach(struct collect_attached *attached);

// Gets out of a process that somebody else attached to, who is gone. ERROR_NOT_FOUND when the process
// is not recorded.
struct error *collect_detach_process(int process, struct collect_attached *ret);
