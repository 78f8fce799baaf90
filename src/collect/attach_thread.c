// SPDX-License-Identifier: MIT
// One thread of a running program that works for us for some milliseconds, while all
// others run. What it executes may take the locks of malloc and of the dynamic linker. Whoever else
// holds them runs on and gives them back; so the only thread that must not hold them is this one:
//
// 1. It waits in a system call that those two never make (poll, read, nanosleep, ...), or for a lock
//    without a frame of theirs on top of its stack, or it runs code that is not theirs and not libc's.
//    Nothing of theirs calls such code.
// 2. No signal handler stands on its stack that interrupted them.
//
// A thread that does not fit is let go at once, and the next one is asked, again and again for some
// seconds. Called by attach's other files, in one tracing thread of the guardian.
#include "collect/attach_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SECOND_NS       1000000000ull
#define BORROW_LIMIT_NS (10 * SECOND_NS)
#define HELD_LIMIT_NS   SECOND_NS
#define STOP_WAIT_NS    (2 * SECOND_NS)
#define CALL_WAIT_NS    (20 * SECOND_NS)
#define LEAST_WAIT_NS   (2 * SECOND_NS) // what has begun may end
#define ROUND_PAUSE_NS  500000ull
#define TOP_BYTES       512          // of a stack that waits for a lock: who wants it
#define STACK_BYTES     (256u << 10) // that is looked through for interrupted functions
#define ERRNO_MOST      4095

// --- where a thread stands -----------------------------------------------------------------------
static bool in_island(const struct attach *attach, uint64_t address)
{
	return address - attach->room.island < attach->room.island_bytes;
}

bool attach_is_ours(const struct attach *attach, uint64_t address)
{
	return in_island(attach, address) ||
	       (attach->library && attach_module_has_code(attach->library, address));
}

// Code in which a thread may hold a lock that we need.
static bool is_locked_code(const struct attach *attach, uint64_t address)
{
	return address - attach->malloc_start < attach->malloc_end - attach->malloc_start ||
	       attach_module_has_code(attach->loader, address) || attach_is_ours(attach, address) ||
	       (attach->provider != attach->libc &&
	        attach_module_has_code(attach->provider, address));
}

static bool is_delicate(const struct attach *attach, uint64_t address)
{
	return is_locked_code(attach, address) || attach_module_has_code(attach->libc, address);
}

static size_t read_stack(const struct attach *attach, uint64_t sp, uint64_t *words, size_t bytes)
{
	return os_remote_read(attach->injection->tid, -1, sp & ~7ull, words, bytes) /
	       sizeof(*words);
}

static bool stack_has(const struct attach *attach, const uint64_t *words, size_t count,
                      bool (*is)(const struct attach *attach, uint64_t address))
{
	for (size_t i = 0; i < count; i++)
		if (is(attach, words[i]))
			return true;
	return false;
}

// A frame that a signal pushed begins with the address of the code that returns from it.
static bool interrupts(const struct attach *attach, const uint64_t *words, size_t count,
                       bool (*is)(const struct attach *attach, uint64_t address))
{
	uint64_t pc;

	for (size_t i = 0; i < count; i++)
		if (words[i] == attach->gadgets.sigreturn &&
		    os_inject_cpu()->signal_frame((const uint8_t *)&words[i],
		                                  (count - i) * sizeof(*words), &pc) &&
		    is(attach, pc))
			return true;
	return false;
}

bool attach_interrupts_us(const struct attach *attach, const uint64_t *words, size_t count)
{
	return interrupts(attach, words, count, attach_is_ours);
}

static const char *refuse_place(const struct attach *attach, const struct os_injection *injection)
{
	static uint64_t words[STACK_BYTES / sizeof(uint64_t)];
	const struct os_inject_cpu *cpu = os_inject_cpu();
	uint64_t pc = cpu->program_counter(injection->registers);
	uint64_t sp = cpu->stack_pointer(injection->registers);
	size_t count = read_stack(attach, sp, words, sizeof(words));
	size_t top = count < TOP_BYTES / sizeof(*words) ? count : TOP_BYTES / sizeof(*words);

	if (!count)
		return "its stack cannot be read";
	if (cpu->waits_for_lock(injection->call)) {
		if (stack_has(attach, words, top, is_locked_code))
			return "it waits for a lock of malloc or of the dynamic linker";
	} else if (!cpu->waits(injection->call) && is_delicate(attach, pc)) {
		return "it is in malloc, the C library or the dynamic linker";
	}
	if (interrupts(attach, words, count, is_delicate))
		return "a signal handler runs in it that may have interrupted malloc";
	return NULL;
}

// --- borrowing -----------------------------------------------------------------------------------
struct borrowing {
	struct attach *attach;
	bool done, hold_waits; // a timed wait that would start anew if we ended is taken, too
	uint64_t end_ns;
	char why[160]; // why the last one was not taken
	struct error *error;
};

static const char *refuse_thread(struct attach *attach, int tid, bool hold_waits,
                                 struct error **ret_error)
{
	const char *refusal;
	bool filtered;

	refusal = os_inject_refuse_status(attach->pid, tid, &filtered);
	if (!refusal && filtered)
		refusal = os_inject_refuse_filters_loading(tid);
	if (refusal)
		return refusal;
	*ret_error = os_inject_begin(tid, &attach->gadgets, attach->mappings, attach->mapping_count,
	                             attach->injection, &refusal);
	if (*ret_error || refusal)
		return refusal;
	if (!hold_waits && os_inject_cpu()->has_restart_block(attach->injection->registers))
		return "it waits for a moment that would be missed";
	return refuse_place(attach, attach->injection);
}

static void let_go(struct attach *attach, int tid, const struct os_stop *stop, bool has_registers)
{
	struct os_stop seen;

	if (has_registers && stop->kind == OS_STOP_EVENT)
		os_inject_undo_interrupt(tid, attach->injection->registers,
		                         attach->injection->register_bytes / sizeof(uint64_t));
	// One that was killed meanwhile is collected, or its process would never end for its parent.
	if (os_trace_detach(tid, stop->signal))
		(void)os_trace_wait(tid, os_monotonic_ns() + STOP_WAIT_NS, &seen);
}

bool attach_is_late(const struct attach *attach)
{
	return os_monotonic_ns() >= attach->deadline_ns ||
	       (attach->channel && os_channel_closed(attach->channel));
}

static uint64_t earlier(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

static bool try_thread(void *context, int tid)
{
	struct borrowing *borrowing = context;
	struct attach *attach = borrowing->attach;
	struct os_stop stop = { .kind = OS_STOP_NONE };
	const char *refusal = "it does not stop";
	struct os_process thread;
	uint64_t now_ns = os_monotonic_ns();

	if (now_ns > borrowing->end_ns || attach_is_late(attach))
		return false;
	if (os_thread_read(attach->pid, tid, &thread) || thread.state == 'Z' ||
	    thread.state == 'X' || thread.state == 'D')
		return true;
	borrowing->error = os_trace_seize(tid, 0);
	if (borrowing->error)
		return borrowing->error->kind == ERROR_GONE;
	attach->injection->register_bytes = 0;
	if (os_trace_interrupt(tid) ||
	    os_trace_wait(tid, earlier(now_ns + STOP_WAIT_NS, borrowing->end_ns), &stop) ||
	    stop.kind == OS_STOP_NONE || stop.kind == OS_STOP_ENDED)
		return true; // an unstopped one is let go by the end of this tracing thread
	if (stop.kind == OS_STOP_EVENT)
		refusal = refuse_thread(attach, tid, borrowing->hold_waits, &borrowing->error);
	else
		refusal = "a signal is on its way to it";
	borrowing->done = !refusal && !borrowing->error;
	if (borrowing->done)
		return false;
	snprintf(borrowing->why, sizeof(borrowing->why), "%s", refusal ? refusal : "");
	let_go(attach, tid, &stop, attach->injection->register_bytes != 0);
	return !borrowing->error || borrowing->error->kind == ERROR_GONE;
}

// Another look at the program, by whomever, may hold a thread for a moment.
static bool is_passing(const struct error *error, uint64_t began_ns)
{
	return error->kind == ERROR_GONE ||
	       (error->kind == ERROR_RIGHTS && os_monotonic_ns() - began_ns < HELD_LIMIT_NS);
}

struct error *attach_borrow(struct attach *attach)
{
	struct borrowing borrowing = { .attach = attach, .why = "they get no processor" };
	uint64_t began_ns = os_monotonic_ns();
	char path[64];

	borrowing.end_ns = earlier(began_ns + BORROW_LIMIT_NS, attach->deadline_ns);
	snprintf(path, sizeof(path), "/proc/%d/task", attach->pid);
	for (;;) {
		borrowing.error = NULL;
		TRY(os_each_number(path, try_thread, &borrowing));
		if (borrowing.done)
			return NULL;
		if (borrowing.error && !is_passing(borrowing.error, began_ns))
			return borrowing.error;
		if (os_monotonic_ns() > borrowing.end_ns || attach_is_late(attach))
			return error_new(
				ERROR_UNSUPPORTED,
				"no thread of process %d can serve: %s; try again, or start "
				"it under the recorder (heapwright record -- COMMAND)",
				attach->pid, borrowing.why);
		borrowing.hold_waits = true;
		os_sleep_ns(ROUND_PAUSE_NS);
	}
}

void attach_return(struct attach *attach)
{
	const struct os_stop stop = { .kind = OS_STOP_EVENT, .signal = 0 };

	// One inside an unfinished call comes back by itself when its tracer ends.
	if (!attach->injection->armed)
		let_go(attach, attach->injection->tid, &stop, true);
}

static uint64_t call_end_ns(const struct attach *attach)
{
	uint64_t now_ns = os_monotonic_ns(), end_ns = attach->deadline_ns;

	if (end_ns < now_ns + LEAST_WAIT_NS)
		end_ns = now_ns + LEAST_WAIT_NS;
	return earlier(now_ns + CALL_WAIT_NS, end_ns);
}

// --- working -------------------------------------------------------------------------------------
struct error *attach_call(struct attach *attach, enum os_call_name name,
                          const uint64_t arguments[6], uint64_t *ret)
{
	struct os_call call = { .number = os_inject_cpu()->numbers[name] };
	int64_t result;

	memcpy(call.arguments, arguments, sizeof(call.arguments));
	TRY(os_inject_call(attach->injection, &call, call_end_ns(attach), &result));
	if (result < 0 && result >= -ERRNO_MOST)
		return error_system((int)-result, "process %d cannot make room for the recorder",
		                    attach->pid);
	*ret = (uint64_t)result;
	return NULL;
}

struct error *attach_function(struct attach *attach, uint64_t code, uint64_t argument)
{
	return os_inject_function(attach->injection, code, argument, call_end_ns(attach));
}
