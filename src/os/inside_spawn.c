// SPDX-License-Identifier: MIT
// Starts a program that is nobody's child here: the process that started it cannot wait for it, gets
// no signal when it ends, and shares no descriptor, session or limit with it. Relies on clone of the
// C library, which allocates nothing; called by the recorder inside the program.
//
// The first child shares our memory until it ends (CLONE_VM), so that nothing is copied however large
// the process is, and CLONE_VFORK keeps us waiting. It has no signal at its end (the low byte of the
// flags is 0), so that wait() without __WCLONE does not see it. It starts the second in the same way
// and ends as soon as that one has become the program. A process that takes in orphans
// (PR_SET_CHILD_SUBREAPER) does not take in this one.
//
// The first process of a pid namespace cannot help taking in orphans (kernel/exit.c, find_new_reaper), as
// children that any wait() sees. There the first child stays, as a copy of the process that keeps nothing
// of it but what the kernel shares with it, until the second has ended.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/inside.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum {
	STACK_BYTES = 64 << 10,
	AREA_BYTES = STACK_BYTES + 4096,
	FIRST_PROCESS = 1,
	SIGNAL_SET_BYTES = 8
};

static const uint64_t look_ns = 20000000; // for a child that was killed

struct spawn {
	const char *path;
	const char *const *words, *const *environment;
	char *stack; // for both children
	int descriptor;
	int error;
	int process;   // id of the second child
	uint32_t done; // a futex: both are set
	struct inside_spawn_own own;
};

static void close_above(unsigned first)
{
	if (!syscall(SYS_close_range, first, ~0u, 0))
		return;
	for (unsigned fd = first; fd < 1024; fd++)
		syscall(SYS_close, fd);
}

// Nothing of the program's stays open but the standard error: a pipe that we held would never end for
// its reader.
static bool keep_one_descriptor(int descriptor)
{
	long nothing;

	if (syscall(SYS_dup3, descriptor, INSIDE_SPAWN_DESCRIPTOR, 0) < 0 &&
	    descriptor != INSIDE_SPAWN_DESCRIPTOR)
		return false;
	syscall(SYS_fcntl, INSIDE_SPAWN_DESCRIPTOR, F_SETFD, 0);
	nothing = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);
	if (nothing < 0)
		return false;
	for (int fd = 0; fd < STDERR_FILENO; fd++)
		if (fd != nothing)
			syscall(SYS_dup3, nothing, fd, 0);
	close_above(INSIDE_SPAWN_DESCRIPTOR + 1);
	return true;
}

static void widen_limits(void)
{
	static const int kinds[] = { RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_CPU,
		                     RLIMIT_NOFILE };
	struct rlimit limit;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!syscall(SYS_prlimit64, 0, kinds[i], NULL, &limit)) {
			limit.rlim_cur = limit.rlim_max;
			syscall(SYS_prlimit64, 0, kinds[i], &limit, NULL);
		}
}

static int become(void *argument)
{
	struct spawn *spawn = argument;
	uint64_t none = 0;

	syscall(SYS_setsid);
	widen_limits();
	if (keep_one_descriptor(spawn->descriptor)) {
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, SIGNAL_SET_BYTES);
		syscall(SYS_execve, spawn->path, spawn->words, spawn->environment);
	}
	spawn->error = -errno;
	syscall(SYS_exit, 127);
	return 0;
}

static int start_second(void *argument)
{
	struct spawn *spawn = argument;

	// The upper half of the stack is in use by this function.
	spawn->process = clone(become, spawn->stack + STACK_BYTES / 2,
	                       CLONE_VM | CLONE_VFORK | SIGCHLD, spawn);
	if (spawn->process < 0)
		spawn->error = -errno;
	syscall(SYS_exit, 0);
	return 0;
}

static int start_first(struct spawn *spawn)
{
	// To share descriptors, too, would be cheaper, but valgrind knows vfork with these flags alone.
	int child = clone(start_second, spawn->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK, spawn);

	if (child < 0)
		return -errno;
	while (syscall(SYS_wait4, child, NULL, __WALL, NULL) < 0 && errno == EINTR)
		;
	return spawn->error;
}

// --- in the first process of a namespace ----------------------------------------------------------
static void tell_done(struct spawn *spawn)
{
	__atomic_store_n(&spawn->done, 1, __ATOMIC_RELEASE);
	inside_share_wake(&spawn->done);
}

// In the copy, with all signals blocked.
static int stay(void *argument)
{
	struct spawn *spawn = argument;
	int process = clone(become, spawn->stack + STACK_BYTES / 2,
	                    CLONE_VM | CLONE_VFORK | SIGCHLD, spawn);

	spawn->process = process;
	if (process < 0)
		spawn->error = -errno;
	syscall(SYS_munmap, spawn->own.memory, spawn->own.bytes);
	syscall(SYS_setsid);
	syscall(SYS_prctl, PR_SET_NAME, "hw-keeper");
	if (syscall(SYS_chdir, "/") < 0)
		errno = 0;
	close_above(0);
	tell_done(spawn);
	while (process > 0 && syscall(SYS_wait4, process, NULL, __WALL, NULL) < 0 && errno == EINTR)
		;
	syscall(SYS_exit, 0);
	return 0;
}

// No signal at its end and no exec: so nobody but us, who know its number, can wait for it.
static int start_staying(struct spawn *spawn)
{
	int child = clone(stay, spawn->stack + STACK_BYTES, 0, spawn);

	if (child < 0)
		return -errno;
	while (!__atomic_load_n(&spawn->done, __ATOMIC_ACQUIRE)) {
		inside_share_wait(&spawn->done, 0, look_ns);
		if (syscall(SYS_wait4, child, NULL, __WALL | WNOHANG, NULL) == child)
			break;
	}
	return __atomic_load_n(&spawn->done, __ATOMIC_ACQUIRE) ? spawn->error : -ECHILD;
}

// --- both -----------------------------------------------------------------------------------------
static int takes_orphans(void)
{
	int takes = 0;

	syscall(SYS_prctl, PR_GET_CHILD_SUBREAPER, &takes, 0l, 0l, 0l);
	return takes;
}

static void set_takes_orphans(int takes)
{
	syscall(SYS_prctl, PR_SET_CHILD_SUBREAPER, (long)takes, 0l, 0l, 0l);
}

static int start(struct spawn *spawn)
{
	int takes = takes_orphans(), error;

	if (inside_process_id() == FIRST_PROCESS)
		return start_staying(spawn);
	if (takes)
		set_takes_orphans(0);
	error = start_first(spawn);
	if (takes)
		set_takes_orphans(takes);
	return error;
}

int inside_spawn(const char *path, const char *const *words, const char *const *environment,
                 int descriptor, const struct inside_spawn_own *own)
{
	int saved = errno, result;
	uint64_t before;
	// Shared, so that also a copy of us can answer in it.
	char *area = (char *)syscall(SYS_mmap, NULL, AREA_BYTES, PROT_READ | PROT_WRITE,
	                             MAP_SHARED | MAP_ANONYMOUS, -1, 0l);
	struct spawn *spawn = (struct spawn *)(area + STACK_BYTES);

	if (area == MAP_FAILED) {
		errno = saved;
		return -ENOMEM;
	}
	*spawn = (struct spawn){ .path = path,
		                 .words = words,
		                 .environment = environment,
		                 .stack = area,
		                 .descriptor = descriptor,
		                 .own = *own };
	before = inside_block_signals();
	result = start(spawn);
	inside_unblock_signals(before);
	if (!result)
		result = spawn->process;
	syscall(SYS_munmap, area, AREA_BYTES);
	errno = saved;
	return result;
}
