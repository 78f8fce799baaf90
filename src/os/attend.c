// SPDX-License-Identifier: MIT
// Waiting for one of several things while something else works for us: a child that we
// started, its end, the user's interrupt (os/background.h). Called by the tool that records a process.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

enum { DESCRIPTORS_MAX = 8 };

#define CHILDREN_LIMIT_NS 10000000000ull

struct error *os_start(const char *const *words, int *ret_pid)
{
	sigset_t none;
	pid_t pid = fork();

	if (pid < 0)
		return error_system(errno, "cannot make a process");
	if (!pid) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execv(words[0], (char *const *)words);
		_exit(127);
	}
	*ret_pid = pid;
	return NULL;
}

bool os_child_ended(int pid, int *ret_status)
{
	return waitpid(pid, ret_status, WNOHANG) == pid;
}

// "PID PID ..." (fs/proc/array.c, children_seq_show).
static size_t watch_children(int pid, int *ret, size_t most)
{
	OS_DESCRIPTOR int fd = -1;
	char path[64], text[256];
	char *at = text, *end;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	if (os_open(path, &fd))
		return 0;
	text[os_pread(fd, text, sizeof(text) - 1, 0)] = '\0';
	for (long child; n < most && (child = strtol(at, &end, 10)) > 0; at = end)
		n += !os_watch_open((int)child, &ret[n]);
	return n;
}

// Its own children, guardians, undo what it did: whoever goes on at once would find their process traced.
static void kill_worker(int pid)
{
	uint64_t end_ns = os_monotonic_ns() + CHILDREN_LIMIT_NS;
	int children[DESCRIPTORS_MAX];
	size_t n = watch_children(pid, children, DESCRIPTORS_MAX);

	kill(pid, SIGKILL);
	for (size_t i = 0; i < n; i++) {
		struct os_awaited child = { .fd = children[i] };
		uint64_t now_ns = os_monotonic_ns();

		(void)os_await(&child, 1, now_ns < end_ns ? end_ns - now_ns : 0);
		os_close(children[i]);
	}
}

static void work_as_child(void (*work)(void *context, void *result), void *context, void *result,
                          size_t bytes, int to, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) // it ended before that
		_exit(1);
	work(context, result);
	_exit(write(to, result, bytes) == (ssize_t)bytes ? 0 : 1);
}

struct error *os_work(void (*work)(void *context, void *result), void *context, void *result,
                      size_t bytes, int descriptor, bool *ret_done)
{
	int ends[2], status;
	pid_t pid, parent = getpid();

	if (pipe2(ends, O_CLOEXEC))
		return error_system(errno, "cannot make a pipe");
	pid = fork();
	if (!pid)
		work_as_child(work, context, result, bytes, ends[1], parent);
	os_close(ends[1]);
	if (pid > 0) {
		const int looks[] = { ends[0], descriptor };

		if (os_await_any(looks, 2) != 0)
			kill_worker(pid);
		*ret_done = read(ends[0], result, bytes) == (ssize_t)bytes;
		waitpid(pid, &status, 0);
	}
	os_close(ends[0]);
	return pid < 0 ? error_system(errno, "cannot make a process") : NULL;
}

struct error *os_interrupts_take(int *ret)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*ret = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret < 0 ? error_system(errno, "cannot wait for interrupts") : NULL;
}

size_t os_await_any(const int *descriptors, size_t count)
{
	struct pollfd looks[DESCRIPTORS_MAX];

	if (count > DESCRIPTORS_MAX)
		count = DESCRIPTORS_MAX;
	for (size_t i = 0; i < count; i++)
		looks[i] = (struct pollfd){ .fd = descriptors[i], .events = POLLIN };
	while (poll(looks, count, -1) < 0 && errno == EINTR)
		;
	for (size_t i = 0; i < count; i++)
		if (looks[i].revents)
			return i;
	return count;
}
