// SPDX-License-Identifier: MIT
// What code inside the program needs to know of the process, its files and clocks. Relies on system
// calls only; called by the rooms of the target wing, also from signal handlers.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/inside.h"

enum { NS_PER_S = 1000000000 };

INSIDE_AT_START static long call(long number, long a, long b, long c, long d)
{
	int saved = errno;
	long got = syscall(number, a, b, c, d);
	int error = errno;

	errno = saved;
	return got == -1 ? -error : got;
}

int inside_process_id(void)
{
	return (int)call(SYS_getpid, 0, 0, 0, 0);
}

int inside_thread_id(void)
{
	return (int)call(SYS_gettid, 0, 0, 0, 0);
}

// The kernel refuses a mask that is shorter than its own: then there are many.
uint32_t inside_processors(uint32_t most)
{
	uint64_t mask[16] = { 0 };
	long bytes = call(SYS_sched_getaffinity, 0, sizeof(mask), (long)mask, 0);
	uint32_t count = 0;

	if (bytes < 0)
		return most;
	for (size_t i = 0; i < sizeof(mask) / sizeof(*mask); i++)
		for (uint64_t bits = mask[i]; bits && count < most; bits &= bits - 1)
			count++;
	return count ? count : 1;
}

// clock_gettime is the one call that goes through libc: the kernel's page for it needs no entry into
// the kernel, and errno is only set for a clock that does not exist.
INSIDE_AT_START static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now = { 0 };

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t inside_coarse_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

uint64_t inside_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t inside_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

bool inside_process_lives(int process_id)
{
	return call(SYS_kill, process_id, 0, 0, 0) != -ESRCH;
}

uint64_t inside_block_signals(void)
{
	uint64_t all = ~UINT64_C(0), before = 0;

	call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof(before));
	return before;
}

void inside_unblock_signals(uint64_t before)
{
	call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof(before));
}

bool inside_on_signal_stack(void)
{
	stack_t stack = { 0 };

	call(SYS_sigaltstack, 0, (long)&stack, 0, 0);
	return stack.ss_flags & SS_ONSTACK;
}

bool inside_write(int fd, const void *bytes, size_t count)
{
	const char *at = bytes;

	while (count) {
		long wrote = call(SYS_write, fd, (long)at, (long)count, 0);

		if (wrote == -EINTR)
			continue;
		if (wrote <= 0)
			return false;
		at += wrote;
		count -= (size_t)wrote;
	}
	return true;
}

enum { LOG_DESCRIPTOR_MIN = 900 };

// Programs expect low numbers for their own files, and shells choose them without asking.
int inside_open_log(const char *path)
{
	int low = (int)call(SYS_openat, AT_FDCWD, (long)path,
	                    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	int high;

	if (low < 0)
		return low;
	high = (int)call(SYS_fcntl, low, F_DUPFD_CLOEXEC, LOG_DESCRIPTOR_MIN, 0);
	if (high < 0)
		return low;
	call(SYS_close, low, 0, 0, 0);
	return high;
}

size_t inside_random(void *buffer, size_t bytes)
{
	long got = call(SYS_getrandom, (long)buffer, (long)bytes, GRND_NONBLOCK, 0);

	return got < 0 ? 0 : (size_t)got;
}

// Field TracerPid of /proc/self/status (fs/proc/array.c).
bool inside_traced(void)
{
	static const char field[] = "TracerPid:\t";
	char text[1024];
	long fd = call(SYS_openat, AT_FDCWD, (long)"/proc/self/status", O_RDONLY | O_CLOEXEC, 0);
	long count;

	if (fd < 0)
		return false;
	count = call(SYS_read, fd, (long)text, sizeof(text) - 1, 0);
	call(SYS_close, fd, 0, 0, 0);
	for (long i = 0; i + (long)sizeof(field) <= count; i++) {
		size_t same = 0;

		while (same < sizeof(field) - 1 && text[i + (long)same] == field[same])
			same++;
		if (same == sizeof(field) - 1)
			return text[i + (long)same] != '0';
	}
	return false;
}

void inside_sleep_seconds(uint64_t seconds)
{
	struct timespec left = { .tv_sec = (time_t)seconds };

	while (call(SYS_nanosleep, (long)&left, (long)&left, 0, 0) == -EINTR)
		;
}

void inside_stop(void)
{
	call(SYS_kill, inside_process_id(), SIGSTOP, 0, 0);
}

// The kernel's own struct: sigset_t of libc is longer.
struct kernel_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};

_Noreturn void inside_abort(void)
{
	struct kernel_action action = { .handler = SIG_DFL };
	unsigned long abort_bit = 1ul << (SIGABRT - 1);
	int process = inside_process_id();

	call(SYS_tgkill, process, inside_thread_id(), SIGABRT, 0);
	call(SYS_rt_sigaction, SIGABRT, (long)&action, 0, sizeof(action.mask));
	call(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&abort_bit, 0, sizeof(abort_bit));
	call(SYS_tgkill, process, inside_thread_id(), SIGABRT, 0);
	for (;;)
		call(SYS_exit_group, 127, 0, 0, 0);
}
