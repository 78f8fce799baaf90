// SPDX-License-Identifier: MIT
// Stopping thousands of threads takes long: each has to be woken, to run and to be let go. But nearly all
// of so many wait in a system call. So each is stopped for itself before the stop, for some microseconds,
// and sent back into its call with the order to stop where that ends (PTRACE_SYSCALL). From then on it
// cannot come back to the program's code without our knowing, and need not be woken again.
//
// 1. Threads are taken in small groups. Between two, those that came to a stop meanwhile go on: a thread
//    that wakes is one that runs, and no longer waits for our sake.
// 2. A thread that the kernel sends back into its call stops at its beginning first (syscall-enter-stop
//    of ptrace(2)), and then, after another order, at its end.
// 3. What is still in its call when the tracing thread ends is let go by the kernel without being woken.
//
// Called by collect's attach and by looks at processes of many threads; stop_begin (stop.c) goes on with what is known here.
#include "target/target_impl.h"

#include <errno.h>
#include <stdio.h>

#define GROUP           64
#define GROUP_WAIT_NS   30000000ull
#define GROUP_PAUSE_NS  20000ull
#define SERVE_PAUSE_NS  1000000ull
#define SETTLE_NS       3000000000ull
#define SETTLE_PAUSE_NS 200000ull
#define ROUNDS          8  // of a list that finds new threads
#define CROWD           64 // threads of a look that is worth preparing
#define CROWD_STAYS     16 // of them: one has to make a clone
#define CROWD_LIMIT_NS  20000000000ull
#define RESTART_LEAST   (-516)
#define RESTART_MOST    (-512)

struct preparation {
	struct stop *stop;
	bool (*wanted)(void *context, int tid); // NULL: all, and they are not let go
	bool (*look)(void *context, const struct stop_thread *thread);
	void *context;
	uint8_t *seen;     // one bit per tid
	int *places;       // of a tid in stop->threads, from 1
	VEC(int) awaited;  // who was interrupted and has not stopped yet
	VEC(int) entering; // who was sent back into its call
	size_t found;      // in this round
	struct error *error;
};

static struct stop_thread *find(const struct preparation *preparation, int tid)
{
	int place = (unsigned)tid < STOP_TIDS_MAX ? preparation->places[tid] : 0;

	return place ? &preparation->stop->threads.v[place - 1] : NULL;
}

// The last one comes to its place.
static void forget(struct preparation *preparation, struct stop_thread *thread)
{
	struct stop *stop = preparation->stop;
	const struct stop_thread *last = &stop->threads.v[stop->threads.n - 1];

	preparation->places[last->tid] = preparation->places[thread->tid];
	preparation->places[thread->tid] = 0;
	*thread = *last;
	stop->threads.n--;
}

static void let_run(struct stop_thread *thread, int signal)
{
	thread->way = STOP_STANDS;
	thread->stopped = thread->interrupted = false;
	thread->has_registers = false;
	os_trace_resume(thread->tid, signal);
}

// Whether the kernel will begin its call again, and that is one in which threads wait.
static bool waits(const struct stop *stop, const struct stop_thread *thread)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	int64_t result = (int64_t)thread->registers[stop->cpu->result];
	uint64_t call;

	if (thread->register_count != stop->cpu->register_count || result < RESTART_LEAST ||
	    result > RESTART_MOST)
		return false;
	call = cpu->call(thread->tid, thread->registers);
	return call != OS_NO_CALL && (cpu->waits(call) || cpu->waits_for_lock(call));
}

static bool looks_well(struct preparation *preparation, struct stop_thread *thread)
{
	return !stop_read_thread(preparation->stop, thread) &&
	       (!preparation->look || preparation->look(preparation->context, thread));
}

static void let_go(struct preparation *preparation, struct stop_thread *thread)
{
	struct os_stop seen;

	(void)looks_well(preparation, thread);
	if (thread->has_registers && thread->interrupted)
		os_inject_undo_interrupt(thread->tid, thread->registers, thread->register_count);
	// One that was killed meanwhile has to be collected.
	if (os_trace_detach(thread->tid, thread->signal))
		(void)os_trace_wait(thread->tid, os_monotonic_ns() + GROUP_WAIT_NS, &seen);
	forget(preparation, thread);
}

// A thread that came to its first stop, or to one that has nothing to do with us.
static void take(struct preparation *preparation, struct stop_thread *thread,
                 const struct os_stop *seen)
{
	struct stop *stop = preparation->stop;

	thread->interrupted = seen->kind == OS_STOP_EVENT;
	thread->signal = seen->kind == OS_STOP_SIGNAL ? seen->signal : 0;
	if (preparation->wanted) {
		let_go(preparation, thread);
	} else if (seen->kind == OS_STOP_GROUP) {
		thread->stopped = true; // and stays so
	} else if (seen->kind != OS_STOP_EVENT || !looks_well(preparation, thread) ||
	           thread == stop->threads.v || !waits(stop, thread) ||
	           os_trace_resume_to_call(thread->tid)) {
		let_run(thread, thread->signal);
	} else {
		thread->way = STOP_ENTERS;
		thread->interrupted = false;
		vec_push(&preparation->entering, thread->tid);
	}
}

static void serve(struct preparation *preparation, struct stop_thread *thread,
                  const struct os_stop *seen)
{
	bool at_call = seen->kind == OS_STOP_SIGNAL && seen->signal == OS_SIGNAL_OF_CALL;

	thread->asked = false;
	if (seen->kind == OS_STOP_ENDED)
		forget(preparation, thread);
	else if (at_call && thread->way == STOP_ENTERS && !os_trace_resume_to_call(thread->tid))
		thread->way = STOP_WAITS;
	else if (at_call)
		let_run(thread, 0);
	else
		take(preparation, thread, seen);
}

// To ask for one thread costs nothing, to ask for any a look at all of them. True: it is to be asked again.
static bool is_still_away(struct preparation *preparation, struct stop_thread *thread)
{
	struct os_stop seen;

	if (os_trace_wait(thread->tid, 0, &seen) || seen.kind == OS_STOP_NONE)
		return true;
	serve(preparation, thread, &seen);
	return false;
}

static void serve_awaited(struct preparation *preparation)
{
	size_t kept = 0;

	for (size_t i = 0; i < preparation->awaited.n; i++) {
		int tid = preparation->awaited.v[i];
		struct stop_thread *thread = find(preparation, tid);

		if (thread && thread->asked && is_still_away(preparation, thread))
			preparation->awaited.v[kept++] = tid;
	}
	preparation->awaited.n = kept;
}

static void serve_entering(struct preparation *preparation)
{
	size_t kept = 0;

	for (size_t i = 0; i < preparation->entering.n; i++) {
		int tid = preparation->entering.v[i];
		struct stop_thread *thread = find(preparation, tid);

		if (thread && thread->way == STOP_ENTERS && is_still_away(preparation, thread))
			preparation->entering.v[kept++] = tid;
	}
	preparation->entering.n = kept;
}

static void serve_all(struct preparation *preparation)
{
	struct os_stop seen;
	int tid;

	serve_entering(preparation);

	while (os_trace_poll_any(&tid, &seen)) {
		struct stop_thread *thread = find(preparation, tid);

		if (thread)
			serve(preparation, thread, &seen);
	}
}

// --- groups ----------------------------------------------------------------------------------------
static bool is_late(const struct preparation *preparation)
{
	const struct stop *stop = preparation->stop;

	return (stop->prepare_end_ns && os_monotonic_ns() >= stop->prepare_end_ns) ||
	       (stop->channel && os_channel_closed(stop->channel));
}

// Who sleeps uninterruptibly is served when it wakes, and stopped with all others. Of the first thread's end
// a tracer does not hear (os_trace_wait).
static void give_up_sleepers(struct preparation *preparation)
{
	struct stop *stop = preparation->stop;
	size_t kept = 0;

	for (size_t i = 0; i < preparation->awaited.n; i++) {
		int tid = preparation->awaited.v[i];
		struct os_process thread;

		if (!os_thread_read(stop->pid, tid, &thread) && thread.state != 'D' &&
		    thread.state != 'Z' && thread.state != 'X')
			preparation->awaited.v[kept++] = tid;
	}
	preparation->awaited.n = kept;
}

// The next group is not asked before all of this one have stopped: on a machine that has no processor for
// them all would soon want one. Who has stopped does not stand until the last one does.
static void finish_group(struct preparation *preparation)
{
	uint64_t now_ns = os_monotonic_ns(), serve_ns = now_ns, late_ns = now_ns + GROUP_WAIT_NS;

	for (;; now_ns = os_monotonic_ns()) {
		serve_awaited(preparation);
		serve_entering(preparation);
		if (now_ns >= late_ns) {
			give_up_sleepers(preparation);
			late_ns = now_ns + GROUP_WAIT_NS;
		}
		if (!preparation->awaited.n || is_late(preparation))
			break;
		if (now_ns >= serve_ns) {
			serve_all(preparation);
			serve_ns = now_ns + SERVE_PAUSE_NS;
		}
		os_sleep_ns(GROUP_PAUSE_NS);
	}
	serve_all(preparation);
}

static struct error *too_late(const struct preparation *preparation)
{
	struct error *error =
		error_new(ERROR_SYSTEM,
	                  "not all threads of process %d could be made ready for a stop in time "
	                  "(%zu were asked, %zu did not answer)",
	                  preparation->stop->pid, preparation->stop->threads.n,
	                  preparation->awaited.n + preparation->entering.n);

	error->errno_value = ETIMEDOUT;
	return error;
}

static bool take_if_new(void *context, int tid)
{
	struct preparation *preparation = context;
	struct stop *stop = preparation->stop;
	struct stop_thread thread = { .tid = tid, .asked = true };
	struct error *error;

	if ((unsigned)tid >= STOP_TIDS_MAX || preparation->seen[tid / 8] >> (tid % 8) & 1)
		return true;
	preparation->seen[tid / 8] |= (uint8_t)(1 << (tid % 8));
	if (preparation->wanted && !preparation->wanted(preparation->context, tid))
		return true;
	error = os_trace_seize(tid, OS_TRACE_CALLS);
	if (error && error->kind != ERROR_GONE && !stop_is_dead(stop, tid))
		preparation->error = error;
	if (error)
		return !preparation->error;
	preparation->found++;
	vec_push(&stop->threads, thread);
	preparation->places[tid] = (int)stop->threads.n;
	vec_push(&preparation->awaited, tid);
	(void)os_trace_interrupt(tid); // fails for one that has just ended
	if (preparation->awaited.n >= GROUP)
		finish_group(preparation);
	return !is_late(preparation);
}

// Who was sent back into its call has to get a processor for that.
static void settle(struct preparation *preparation)
{
	uint64_t end_ns = os_monotonic_ns() + SETTLE_NS;

	for (;;) {
		serve_all(preparation);
		if (!preparation->entering.n || os_monotonic_ns() >= end_ns || is_late(preparation))
			break;
		os_sleep_ns(SETTLE_PAUSE_NS);
	}
}

static struct error *take_all(struct preparation *preparation)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", preparation->stop->pid);
	for (unsigned i = 0; i < ROUNDS; i++) {
		preparation->found = 0;
		TRY(os_each_number(path, take_if_new, preparation));
		TRY(preparation->error);
		finish_group(preparation);
		if (!preparation->found || is_late(preparation))
			break;
	}
	settle(preparation);
	return is_late(preparation) ? too_late(preparation) : NULL;
}

static struct error *prepare(struct preparation *preparation)
{
	const size_t places_bytes = STOP_TIDS_MAX * sizeof(*preparation->places);
	struct error *error = &error_out_of_memory;

	vec_init(&preparation->awaited, &os_page_source);
	vec_init(&preparation->entering, &os_page_source);
	preparation->seen = os_reserve(STOP_TIDS_MAX / 8);
	preparation->places = os_reserve(places_bytes);
	if (preparation->seen && preparation->places)
		error = take_all(preparation);
	vec_deinit(&preparation->awaited);
	vec_deinit(&preparation->entering);
	if (preparation->seen)
		os_release(preparation->seen, STOP_TIDS_MAX / 8);
	if (preparation->places)
		os_release(preparation->places, places_bytes);
	return error;
}

struct error *stop_prepare(struct stop *stop,
                           bool (*look)(void *context, const struct stop_thread *thread),
                           void *context)
{
	struct preparation preparation = { .stop = stop, .look = look, .context = context };

	return os_inject_cpu()->supported ? prepare(&preparation) : NULL;
}

static bool some_stay(void *context, const struct stop_thread *thread)
{
	unsigned *stay = context;

	(void)thread;
	if (!*stay)
		return true;
	--*stay;
	return false;
}

struct error *stop_prepare_look(struct stop *stop, unsigned thread_count)
{
	unsigned stay = CROWD_STAYS;
	struct error *error;

	if (thread_count < CROWD || stop->cpu->elf_machine != os_inject_cpu()->elf_machine ||
	    stop->cpu->word_bytes != sizeof(uint64_t))
		return NULL;
	stop->prepare_end_ns = os_monotonic_ns() + CROWD_LIMIT_NS;
	error = stop_prepare(stop, some_stay, &stay);
	return error && error->errno_value == ETIMEDOUT ? NULL : error;
}

struct error *stop_look_at_each(struct stop *stop, bool (*wanted)(void *context, int tid),
                                bool (*look)(void *context, const struct stop_thread *thread),
                                void *context)
{
	struct preparation preparation = {
		.stop = stop, .wanted = wanted, .look = look, .context = context
	};

	return prepare(&preparation);
}
