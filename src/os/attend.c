// SPDX-License-Identifier: MIT
// Waiting for one of several things while something else works for us: a child that we
// started, its end, the user's interrupt (os/background.h). Called by the tool that records a process.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

enum { DESCRIPTORS_MAX = 8 };

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

static void work_as_child(void (*work)(void *context, void *result), void *context, void *result,
                          size_t bytes, int to)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	work(context, result);
	_exit(write(to, result, bytes) == (ssize_t)bytes ? 0 : 1);
}

struct error *os_work(void (*work)(void *context, void *result), void *context, void *result,
                      size_t bytes, int descriptor, bool *ret_done)
{
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return error_system(errno, "cannot make a pipe");
	pid = fork();
	if (!pid)
		work_as_child(work, context, result, bytes, ends[1]);
	os_close(ends[1]);
	if (pid > 0) {
		const int looks[] = { ends[0], descriptor };

		if (os_await_any(looks, 2) != 0)
			kill(pid, SIGKILL);
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
