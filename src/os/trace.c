// SPDX-License-Identifier: MIT
// ptrace as this project uses it: seize (never attach, which would send SIGSTOP),
// interrupt, look, detach. No call here ever makes a signal.
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

// Waiting polls: a blocking waitpid has no time limit, and a signal handler is the tool's to choose.
#define FIRST_POLL_NS    10000ull
#define HIGHEST_PRIORITY (-20)
#define LONGEST_POLL_NS  1000000ull
#define SECOND_NS        1000000000ull

struct error *os_trace_seize(int tid, unsigned long options)
{
	if (ptrace(PTRACE_SEIZE, tid, NULL, options) < 0)
		return error_system(errno, "cannot trace thread %d", tid);
	return NULL;
}

struct error *os_trace_interrupt(int tid)
{
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return error_system(errno, "cannot interrupt thread %d", tid);
	return NULL;
}

static bool is_stop_signal(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

// ptrace(2), "Stopped states": an interrupt stops with PTRACE_EVENT_STOP and SIGTRAP, a group stop
// with PTRACE_EVENT_STOP and the stopping signal, a signal's delivery without any event.
static struct os_stop stop_of_status(int status)
{
	int event = (int)((unsigned)status >> 16);

	if (!WIFSTOPPED(status))
		return (struct os_stop){ .kind = OS_STOP_ENDED };
	if (event == PTRACE_EVENT_STOP && is_stop_signal(WSTOPSIG(status)))
		return (struct os_stop){ .kind = OS_STOP_GROUP };
	if (event == PTRACE_EVENT_STOP)
		return (struct os_stop){ .kind = OS_STOP_EVENT };
	if (event)
		return (struct os_stop){ .kind = OS_STOP_OTHER, .event = event };
	return (struct os_stop){ .kind = OS_STOP_SIGNAL, .signal = WSTOPSIG(status) };
}

// "TID (NAME) STATE ...", the name may hold anything (fs/proc/array.c, do_task_stat).
static bool is_dead(int tid)
{
	OS_DESCRIPTOR int fd = -1;
	char path[64], text[128];
	const char *end;
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	if (os_open(path, &fd))
		return false;
	bytes = os_pread(fd, text, sizeof(text), 0);
	end = memrchr(text, ')', bytes);
	return end && end + 2 < text + bytes && (end[2] == 'Z' || end[2] == 'X');
}

// The end of a process's first thread is reported when all others have been collected, and who
// traces these has to do that (kernel/exit.c, delay_group_leader). So it would never come to who
// waits for the first thread first.
struct error *os_trace_wait(int tid, uint64_t deadline_ns, struct os_stop *ret)
{
	uint64_t pause_ns = FIRST_POLL_NS;

	*ret = (struct os_stop){ .kind = OS_STOP_NONE };
	for (;;) {
		int status;
		bool dead = pause_ns >= LONGEST_POLL_NS && is_dead(tid);
		int got = waitpid(tid, &status, __WALL | WNOHANG);

		if (got == tid) {
			*ret = stop_of_status(status);
			return NULL;
		}
		if (dead || (got < 0 && errno == ECHILD)) {
			ret->kind = OS_STOP_ENDED;
			return NULL;
		}
		if (got < 0 && errno != EINTR)
			return error_system(errno, "cannot wait for thread %d", tid);
		if (os_monotonic_ns() >= deadline_ns)
			return NULL;
		os_sleep_ns(pause_ns);
		if (pause_ns < LONGEST_POLL_NS)
			pause_ns *= 2;
	}
}

struct error *os_trace_detach(int tid, int signal)
{
	if (ptrace(PTRACE_DETACH, tid, NULL, (void *)(uintptr_t)signal) < 0)
		return error_system(errno, "cannot let go of thread %d", tid);
	return NULL;
}

bool os_trace_poll_any(int *ret_tid, struct os_stop *ret)
{
	int status, tid = waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG);

	if (tid <= 0)
		return false;
	*ret_tid = tid;
	*ret = stop_of_status(status);
	return true;
}

struct error *os_trace_resume_to_call(int tid)
{
	if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL) < 0)
		return error_system(errno, "cannot continue thread %d", tid);
	return NULL;
}

struct error *os_trace_get_set(int tid, uint32_t set, void *buffer, size_t bytes, size_t *ret_bytes)
{
	struct iovec to = { buffer, bytes };

	if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)set, &to) < 0)
		return error_system(errno, "cannot read the registers of thread %d", tid);
	*ret_bytes = to.iov_len;
	return NULL;
}

struct thread {
	void (*function)(void *context);
	void *context;
};

// On a busy machine a stop would last as long as others keep us waiting. Linux sets this of the
// calling thread alone.
void os_hurry(void)
{
	(void)setpriority(PRIO_PROCESS, 0, HIGHEST_PRIORITY);
}

void os_urgent(bool is)
{
	const struct sched_param lowest = { .sched_priority = is };

	(void)sched_setscheduler(0, is ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER, &lowest);
}

static void *thread_main(void *argument)
{
	struct thread *thread = argument;

	os_hurry();
	thread->function(thread->context);
	return NULL;
}

static struct error *start_thread(void *(*function)(void *argument), struct thread *thread,
                                  pthread_t *ret)
{
	sigset_t all, before;
	int failed;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	failed = pthread_create(ret, NULL, function, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed ? error_system(failed, "cannot make a thread") : NULL;
}

struct error *os_run_thread(void (*function)(void *context), void *context)
{
	struct thread thread = { function, context };
	pthread_t handle;

	TRY(start_thread(thread_main, &thread, &handle));
	pthread_join(handle, NULL);
	return NULL;
}

static void *limited_main(void *argument)
{
	struct thread *thread = argument;

	thread->function(thread->context);
	return NULL;
}

struct error *os_run_within(uint64_t limit_ns, void (*function)(void *context),
                            void (*late)(void *context), void *context)
{
	struct thread thread = { function, context };
	uint64_t end_ns = os_monotonic_ns() + limit_ns;
	struct timespec end = { (time_t)(end_ns / SECOND_NS), (long)(end_ns % SECOND_NS) };
	pthread_t handle;

	TRY(start_thread(limited_main, &thread, &handle));
	if (!pthread_clockjoin_np(handle, NULL, CLOCK_MONOTONIC, &end))
		return NULL;
	late(context);
	pthread_join(handle, NULL);
	return NULL;
}

struct error *os_trace_put_set(int tid, uint32_t set, const void *buffer, size_t bytes)
{
	struct iovec from = { (void *)buffer, bytes };

	if (ptrace(PTRACE_SETREGSET, tid, (void *)(uintptr_t)set, &from) < 0)
		return error_system(errno, "cannot set the registers of thread %d", tid);
	return NULL;
}
