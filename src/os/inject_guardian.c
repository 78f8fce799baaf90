// SPDX-License-Identifier: MIT
// What a process that guards a clone needs of the system: to be forked free of
// the tool, a channel to it, memory that both see. Used by target's guardian and clone.
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHANNEL         3 // the guardian's end
#define MS_NS           1000000u
#define LONGEST_POLL_MS 60000

// The tool's terminal, its signals and its descriptors are none of the guardian's business: a
// reader of the tool's output must see its end when the tool ends.
static void become_guardian(const char *name, int channel)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP };
	sigset_t none;
	int null;

	setsid();
	// Whom we stop waits for us. Without the right to it the usual priority has to do.
	setpriority(PRIO_PROCESS, 0, -20);
	prctl(PR_SET_NAME, name);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (channel != CHANNEL)
		dup2(channel, CHANNEL);
	syscall(SYS_close_range, CHANNEL + 1, ~0u, 0);
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < CHANNEL && null >= 0; fd++)
		dup2(null, fd);
	if (null > CHANNEL)
		close(null);
	if (chdir("/") < 0)
		_exit(1);
}

struct error *os_guardian_fork(const char *name, int *ret_pid, int *ret_channel)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_system(errno, "cannot make a channel to a guardian process");
	pid = fork();
	if (pid < 0) {
		int reason = errno;

		close(ends[0]);
		close(ends[1]);
		return error_system(reason, "cannot start a guardian process");
	}
	*ret_pid = pid;
	if (pid == 0) {
		become_guardian(name, ends[1]);
		*ret_channel = CHANNEL;
		return NULL;
	}
	close(ends[1]);
	*ret_channel = ends[0];
	return NULL;
}

void os_guardian_exit(int status)
{
	_exit(status);
}

// An address of a socket that no file stands for: the kernel gives it to one, and takes it back.
bool os_claim(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path + 1, name, sizeof(address.sun_path) - 2);
	if (fd < 0)
		return false;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return true;
	close(fd);
	return false;
}

bool os_channel_send(int channel, const void *message, size_t bytes)
{
	ssize_t done;

	do
		done = send(channel, message, bytes, MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	return done == (ssize_t)bytes;
}

bool os_channel_receive(int channel, void *message, size_t bytes)
{
	ssize_t done;

	do
		done = recv(channel, message, bytes, 0);
	while (done < 0 && errno == EINTR);
	return done == (ssize_t)bytes;
}

bool os_channel_closed(int channel)
{
	struct pollfd look = { .fd = channel };

	return poll(&look, 1, 0) > 0 && look.revents & (POLLHUP | POLLERR);
}

bool os_channel_await(int channel, uint64_t deadline_ns)
{
	struct pollfd look = { .fd = channel, .events = POLLIN };

	for (;;) {
		uint64_t now_ns = os_monotonic_ns();
		uint64_t left_ms = now_ns < deadline_ns ? (deadline_ns - now_ns) / MS_NS + 1 : 0;
		int got =
			poll(&look, 1, left_ms < LONGEST_POLL_MS ? (int)left_ms : LONGEST_POLL_MS);

		if (got > 0)
			return true;
		if (!left_ms || (got < 0 && errno != EINTR))
			return false;
	}
}

int os_process_collect(int pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

void os_process_kill(int pid)
{
	kill(pid, SIGKILL);
}

// The kernel takes the copy first when memory runs out, and the copy of a real-time program does
// not keep others from running.
void os_process_humble(int pid)
{
	struct sched_param usual = { 0 };
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, "1000", 4);
		close(fd);
	}
	if (sched_getscheduler(pid) > SCHED_OTHER)
		sched_setscheduler(pid, SCHED_OTHER, &usual);
}

void *os_share(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

struct error *os_share_descriptor(int pid, int descriptor, size_t bytes, void **ret)
{
	char path[64];
	struct error *error = NULL;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, descriptor);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_system(errno, "cannot open memory of process %d", pid);
	*ret = MAP_FAILED;
	if (ftruncate(fd, (off_t)bytes) == 0)
		*ret = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*ret == MAP_FAILED)
		error = error_system(errno, "cannot map %zu bytes shared with process %d", bytes,
		                     pid);
	close(fd);
	return error;
}
