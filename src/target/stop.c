// SPDX-License-Identifier: MIT
// Stops every thread of a process and lets it go again. Called by the look in
// place (live.c) and by the guardian of a clone.
//
// 1. A thread that is seized and interrupted cannot run user code any more, even while it sleeps
//    uninterruptibly in the kernel (a disk wait, the parent of a vfork): it stops on its way out.
//    So its memory is at rest, and only its registers stay unknown (stop_thread.stopped is false).
// 2. Threads made while we work are found because the list is read again until it has no new
//    thread: those that could make one are all stopped then.
// 3. A stop by a signal's delivery is as good as one by our interrupt, but that signal was taken
//    off the queue for us: the release hands it back. A group stop stays one, see ptrace(2).
#include "target/target_impl.h"

#include <errno.h>
#include <stdio.h>

#define UNINTERRUPTIBLE_WAIT_NS 30000000ull
#define LONGEST_WAIT_NS         3000000000ull
#define TURN_WAIT_NS            60000000000ull // for a runnable thread: a busy machine gives it no turn
#define ENDED_WAIT_NS           10000000000ull // a big process needs time to end
#define VECTOR_BYTES_MAX        16384
#define WAKE_GROUP              64
#define WAKE_WAIT_NS            100000000ull

struct lister {
	struct stop *stop;
	uint8_t *seen; // one bit per tid
	size_t first_new;
	uint64_t asked_ns; // when the new ones were interrupted
	struct error *error;
};

void stop_init(struct stop *stop, int pid, const struct os_cpu *cpu)
{
	*stop = (struct stop){ .pid = pid, .cpu = cpu };
	vec_init(&stop->threads, &os_page_source);
	vec_init(&stop->vectors, &os_page_source);
}

void stop_deinit(struct stop *stop)
{
	vec_deinit(&stop->threads);
	vec_deinit(&stop->vectors);
}

static char thread_state(const struct stop *stop, int tid)
{
	struct os_process thread;

	return os_thread_read(stop->pid, tid, &thread) ? 'X' : thread.state;
}

bool stop_is_dead(const struct stop *stop, int tid)
{
	char state = thread_state(stop, tid);

	return state == 'Z' || state == 'X';
}

static void remember(struct lister *lister, int tid)
{
	lister->seen[tid / 8] |= (uint8_t)(1 << (tid % 8));
}

static bool seize_if_new(void *context, int tid)
{
	struct lister *lister = context;
	struct stop_thread thread = { .tid = tid };
	struct error *error;

	if ((unsigned)tid >= STOP_TIDS_MAX || lister->seen[tid / 8] >> (tid % 8) & 1)
		return true;
	remember(lister, tid);
	error = os_trace_seize(tid, 0);
	if (!error)
		vec_push(&lister->stop->threads, thread);
	// A dead thread is refused like one that we have no right to.
	else if (error->kind != ERROR_GONE && !stop_is_dead(lister->stop, tid))
		lister->error = error;
	return !lister->error;
}

static struct error *seize_new(struct lister *lister)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", lister->stop->pid);
	lister->first_new = lister->stop->threads.n;
	TRY(os_each_number(path, seize_if_new, lister));
	return lister->error;
}

// Not one that was prepared and waits, or that stands already.
static bool must_come(const struct stop_thread *thread)
{
	return thread->way != STOP_WAITS && !thread->stopped;
}

static void interrupt_new(struct lister *lister, size_t first_new)
{
	struct stop *stop = lister->stop;

	lister->asked_ns = os_monotonic_ns();
	if (!stop->began_ns)
		stop->began_ns = lister->asked_ns;
	// The only failure is a thread that has just ended, which the wait finds out.
	for (size_t i = first_new; i < stop->threads.n; i++)
		if (must_come(&stop->threads.v[i]))
			(void)os_trace_interrupt(stop->threads.v[i].tid);
}

// Takes what a wait gave; false when the thread has ended and is to be forgotten.
static bool take_stop(struct stop_thread *thread, const struct os_stop *seen)
{
	thread->stopped = seen->kind != OS_STOP_NONE;
	thread->interrupted = seen->kind == OS_STOP_EVENT;
	thread->signal = seen->signal == OS_SIGNAL_OF_CALL ? 0 : seen->signal;
	return seen->kind != OS_STOP_ENDED;
}

static struct error *wait_impatiently(struct stop *stop, struct stop_thread *thread,
                                      bool *ret_alive)
{
	struct os_stop seen;

	TRY(os_trace_wait(thread->tid, stop->began_ns + stop->patience_ns, &seen));
	if (seen.kind == OS_STOP_NONE)
		return error_new(ERROR_SYSTEM, "thread %d does not stop at once", thread->tid);
	*ret_alive = take_stop(thread, &seen);
	return NULL;
}

static struct error *too_slow(int tid, uint64_t limit_ns)
{
	struct error *error = error_new(ERROR_SYSTEM, "thread %d did not stop within %llu seconds",
	                                tid, (unsigned long long)limit_ns / 1000000000ull);

	error->errno_value = ETIMEDOUT;
	return error;
}

// Those that sleep uninterruptibly share their time: thousands may do so at once.
static struct error *wait_thread(const struct lister *lister, struct stop_thread *thread,
                                 bool *ret_alive)
{
	struct stop *stop = lister->stop;
	uint64_t now_ns = os_monotonic_ns(), limit_ns = LONGEST_WAIT_NS;
	struct os_stop seen;
	char state;

	if (stop->patience_ns)
		return wait_impatiently(stop, thread, ret_alive);
	TRY(os_trace_wait(thread->tid, lister->asked_ns + UNINTERRUPTIBLE_WAIT_NS, &seen));
	state = seen.kind == OS_STOP_NONE ? thread_state(stop, thread->tid) : 0;
	if (state == 'R')
		limit_ns = TURN_WAIT_NS;
	if (stop->limit_ns && limit_ns > stop->limit_ns)
		limit_ns = stop->limit_ns;
	if (state && state != 'D')
		TRY(os_trace_wait(thread->tid,
		                  (stop->limit_ns ? lister->asked_ns : now_ns) + limit_ns, &seen));
	if (seen.kind == OS_STOP_NONE && thread_state(stop, thread->tid) != 'D')
		return too_slow(thread->tid, limit_ns);
	*ret_alive = take_stop(thread, &seen);
	return NULL;
}

static struct error *wait_new(const struct lister *lister, size_t first_new)
{
	struct stop *stop = lister->stop;
	size_t kept = first_new;

	for (size_t i = first_new; i < stop->threads.n; i++) {
		bool alive = true;

		if (must_come(&stop->threads.v[i]))
			TRY(wait_thread(lister, &stop->threads.v[i], &alive));
		if (!alive)
			continue;
		stop->unstopped += must_come(&stop->threads.v[i]);
		stop->threads.v[kept++] = stop->threads.v[i];
	}
	stop->threads.n = kept;
	return NULL;
}

static void remember_prepared(struct lister *lister)
{
	for (size_t i = 0; i < lister->stop->threads.n; i++)
		remember(lister, lister->stop->threads.v[i].tid);
}

// To list threads takes some microseconds for each, while all stand. Their number is there at once, and
// those that we trace stay in it until we collect them. A first thread that ended is not ours.
static bool knows_all(const struct stop *stop)
{
	struct os_process any;
	bool first = false;

	for (size_t i = 0; i < stop->threads.n && !first; i++)
		first = stop->threads.v[i].tid == stop->pid;
	return stop->threads.n && !os_thread_read(stop->pid, stop->threads.v[0].tid, &any) &&
	       any.thread_count == stop->threads.n + !first;
}

static struct error *stop_prepared(struct lister *lister, bool *ret_done)
{
	remember_prepared(lister);
	interrupt_new(lister, 0);
	TRY(wait_new(lister, 0));
	*ret_done = knows_all(lister->stop);
	return NULL;
}

static struct error *stop_all(struct lister *lister)
{
	bool done = false;

	if (lister->stop->threads.n)
		TRY(stop_prepared(lister, &done));
	if (done)
		return NULL;
	do {
		TRY(seize_new(lister));
		interrupt_new(lister, lister->first_new);
		TRY(wait_new(lister, lister->first_new));
	} while (lister->stop->threads.n > lister->first_new);
	if (!lister->stop->threads.n)
		return error_new(ERROR_GONE, "process %d has ended", lister->stop->pid);
	return NULL;
}

struct error *stop_begin(struct stop *stop)
{
	struct lister lister = { .stop = stop, .seen = os_reserve(STOP_TIDS_MAX / 8) };
	struct error *error;

	if (!lister.seen)
		return &error_out_of_memory;
	error = stop_all(&lister);
	os_release(lister.seen, STOP_TIDS_MAX / 8);
	if (error)
		stop_end(stop);
	return error;
}

// A thread that was killed while it stood stays until its tracer collects it, and as long as one
// stays the parent of its process waits. The first thread can only be collected after the others.
static void collect_killed(struct stop *stop)
{
	uint64_t deadline_ns = os_monotonic_ns() + ENDED_WAIT_NS;
	struct os_stop seen;

	for (size_t i = stop->threads.n; i-- > 0;)
		if (stop->threads.v[i].killed)
			(void)os_trace_wait(stop->threads.v[i].tid, deadline_ns, &seen);
}

static struct stop_thread *find_waiting(struct stop *stop, int tid)
{
	for (size_t i = 0; i < stop->threads.n; i++)
		if (stop->threads.v[i].tid == tid && stop->threads.v[i].way == STOP_WAITS)
			return &stop->threads.v[i];
	return NULL;
}

// What waited and came to its stop. The others are let go by the end of the tracing thread.
static void release_waiting(struct stop *stop)
{
	struct os_stop seen;
	bool any = false;
	int tid;

	for (size_t i = 0; i < stop->threads.n && !any; i++)
		any = stop->threads.v[i].way == STOP_WAITS;
	while (any && os_trace_poll_any(&tid, &seen)) {
		struct stop_thread *thread = find_waiting(stop, tid);

		if (!thread)
			continue;
		thread->way = STOP_STANDS;
		if (seen.kind != OS_STOP_ENDED)
			(void)os_trace_detach(tid,
			                      seen.signal == OS_SIGNAL_OF_CALL ? 0 : seen.signal);
	}
}

// Its call ends for a moment, with what makes the kernel begin it again.
static void wake(struct stop *stop, struct stop_thread *thread, uint64_t deadline_ns)
{
	struct stop_thread now = { .tid = thread->tid };
	struct os_stop seen;

	if (os_trace_wait(thread->tid, deadline_ns, &seen) || seen.kind == OS_STOP_NONE)
		return; // let go when the tracing thread ends
	thread->way = STOP_STANDS;
	if (!take_stop(&now, &seen))
		return;
	now.interrupted = true;
	if (!stop_read_thread(stop, &now))
		os_inject_undo_interrupt(now.tid, now.registers, now.register_count);
	(void)os_trace_detach(now.tid, now.signal);
}

static void wake_waiting(struct stop *stop)
{
	stop->without_vectors = true; // what was read stays in its place
	for (size_t first = 0; first < stop->threads.n; first += WAKE_GROUP) {
		size_t end = first + WAKE_GROUP;
		uint64_t deadline_ns = os_monotonic_ns() + WAKE_WAIT_NS;

		end = end < stop->threads.n ? end : stop->threads.n;
		release_waiting(stop);
		for (size_t i = first; i < end; i++)
			if (stop->threads.v[i].way == STOP_WAITS)
				(void)os_trace_interrupt(stop->threads.v[i].tid);
		for (size_t i = first; i < end; i++)
			if (stop->threads.v[i].way == STOP_WAITS)
				wake(stop, &stop->threads.v[i], deadline_ns);
	}
	release_waiting(stop);
}

void stop_end(struct stop *stop)
{
	for (size_t i = 0; i < stop->threads.n; i++) {
		struct stop_thread *thread = &stop->threads.v[i];

		if (!thread->stopped)
			continue;
		if (thread->has_registers)
			os_inject_undo_interrupt(thread->tid, thread->registers,
			                         thread->register_count);
		// Fails for a thread that was killed meanwhile only.
		thread->killed = os_trace_detach(thread->tid, thread->signal) != NULL;
	}
	release_waiting(stop);
	stop->ended_ns = os_monotonic_ns();
	if (stop->tracer_stays)
		wake_waiting(stop);
	collect_killed(stop);
}

// --- registers -----------------------------------------------------------------------------------
// A 64-bit program may run 32-bit code, and the kernel then gives the 32-bit set.
static const struct os_cpu *cpu_of_set(const struct os_cpu *cpu, size_t bytes)
{
	const struct os_cpu *other = os_cpu_of_machine(EM_386, 4);

	if (bytes == (size_t)cpu->register_count * cpu->word_bytes || !other ||
	    bytes != (size_t)other->register_count * other->word_bytes)
		return cpu;
	return other;
}

static void read_thread_pointer(const struct os_cpu *cpu, struct stop_thread *thread)
{
	uint8_t set[64];
	size_t bytes;

	if (cpu->tp != OS_NO_REGISTER)
		thread->tp = thread->registers[cpu->tp];
	else if (cpu->thread_pointer &&
	         !os_trace_get_set(thread->tid, cpu->thread_set, set, sizeof(set), &bytes))
		thread->tp = cpu->thread_pointer(thread->registers, set, bytes);
}

static void read_vector(struct stop *stop, const struct os_cpu *cpu, struct stop_thread *thread)
{
	size_t bytes;

	vec_reserve(&stop->vectors, stop->vectors.n + VECTOR_BYTES_MAX);
	if (os_trace_get_set(thread->tid, cpu->vector_set, stop->vectors.v + stop->vectors.n,
	                     VECTOR_BYTES_MAX, &bytes))
		return; // a processor without such state
	thread->vector_offset = (uint32_t)stop->vectors.n;
	thread->vector_bytes = (uint32_t)bytes;
	stop->vectors.n += (bytes + 15) & ~(size_t)15;
}

// A stop ends some waiting system calls with EINTR, which a program that gets no signals need not
// expect. Told that the call wants a restart "unless a handler runs" (ERESTARTNOHAND), the kernel begins
// it again when we let go, and still returns EINTR when a real signal was the cause
// (arch/x86/kernel/signal.c, arch_do_signal_or_restart and handle_signal).
static void keep_system_call(const struct os_cpu *cpu, const struct stop_thread *thread,
                             uint64_t *set)
{
	const uint64_t interrupted = (uint64_t)-EINTR, restart = (uint64_t)-514;

	if (!thread->interrupted || !cpu->begins_again || set[cpu->result] != interrupted ||
	    !cpu->begins_again(set[cpu->call]))
		return;
	set[cpu->result] = restart;
	// Fails only for a thread that was killed meanwhile.
	(void)os_trace_put_set(thread->tid, NT_PRSTATUS, set, cpu->register_count * sizeof(*set));
}

struct error *stop_read_thread(struct stop *stop, struct stop_thread *thread)
{
	uint64_t set[OS_REGISTERS_MAX];
	const struct os_cpu *cpu;
	size_t bytes;

	TRY(os_trace_get_set(thread->tid, NT_PRSTATUS, set, sizeof(set), &bytes));
	cpu = cpu_of_set(stop->cpu, bytes);
	keep_system_call(cpu, thread, set);
	if (!os_cpu_widen(cpu, set, bytes, thread->registers))
		return error_new(ERROR_UNSUPPORTED,
		                 "the registers of thread %d have an unknown form", thread->tid);
	thread->has_registers = true;
	thread->register_count = cpu->register_count;
	thread->sp = thread->registers[cpu->sp];
	thread->pc = thread->registers[cpu->pc];
	read_thread_pointer(cpu, thread);
	if (!stop->without_vectors)
		read_vector(stop, cpu, thread);
	return NULL;
}

struct error *stop_read_registers(struct stop *stop)
{
	for (size_t i = 0; i < stop->threads.n; i++) {
		struct stop_thread *thread = &stop->threads.v[i];
		struct error *error = NULL;

		if (thread->stopped)
			error = stop_read_thread(stop, thread);
		else if (thread->way != STOP_WAITS)
			os_thread_where(stop->pid, thread->tid, &thread->sp, &thread->pc);
		if (error && error->kind != ERROR_GONE)
			return error;
	}
	return NULL;
}
