// SPDX-License-Identifier: MIT
// The end of a process that is not our child, and what its threads are called. Called by collect.
#include "os/os.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// Linux include/uapi/linux/pidfd.h, 6.15; older headers do not have it.
struct watch_info {
	uint64_t mask, control_group;
	uint32_t pid, group, parent, users[8];
	int32_t exit_code;
};

#define WATCH_GET_INFO  _IOWR(0xFF, 11, struct watch_info)
#define WATCH_INFO_EXIT (1u << 3)
#define STAT_EXIT_CODE  52 // the field's number, fs/proc/array.c

struct error *os_watch_open(int pid, int *ret)
{
	*ret = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*ret >= 0)
		return NULL;
	if (errno == ESRCH || errno == EINVAL)
		return error_new(ERROR_GONE, "there is no such process (%d)", pid);
	return kill(pid, 0) && errno == ESRCH ? error_system(errno, "process %d", pid) : NULL;
}

int os_watch_shown(int pid, int watch)
{
	OS_DESCRIPTOR int fd = -1;
	char path[64], text[1024];
	const char *found;
	size_t bytes;

	// Linux kernel/fork.c, pidfd_show_fdinfo: by the namespace of the file system.
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", watch);
	if (watch < 0 || os_open(path, &fd))
		return pid;
	bytes = os_pread(fd, text, sizeof(text) - 1, 0);
	text[bytes] = '\0';
	found = strstr(text, "\nPid:\t");
	return found && atoi(found + 6) > 0 ? atoi(found + 6) : pid;
}

bool os_watch_ended(int pid, int watch)
{
	struct pollfd poll_one = { .fd = watch, .events = POLLIN };

	if (watch < 0)
		return kill(pid, 0) && errno == ESRCH;
	return poll(&poll_one, 1, 0) > 0 && (poll_one.revents & (POLLIN | POLLHUP));
}

// Of a process that nobody has collected yet.
static bool status_of_zombie(int pid, int *ret)
{
	OS_DESCRIPTOR int fd = -1;
	char path[64], text[2048], *at;
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (os_open(path, &fd))
		return false;
	bytes = os_pread(fd, text, sizeof(text) - 1, 0);
	text[bytes] = '\0';
	at = strrchr(text, ')');
	if (!at || at[1] != ' ' || at[2] != 'Z')
		return false;
	for (int field = 2; at && field < STAT_EXIT_CODE; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return false;
	*ret = atoi(at);
	return true;
}

bool os_watch_status(int pid, int watch, int *ret)
{
	struct watch_info info = { .mask = WATCH_INFO_EXIT };

	if (watch >= 0 && !ioctl(watch, WATCH_GET_INFO, &info) && (info.mask & WATCH_INFO_EXIT)) {
		*ret = info.exit_code;
		return true;
	}
	return status_of_zombie(pid, ret);
}

bool os_thread_exists(int pid, int tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
	return access(path, F_OK) == 0;
}

bool os_thread_name(int pid, int tid, char ret[32])
{
	OS_DESCRIPTOR int fd = -1;
	char path[64];
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
	if (os_open(path, &fd))
		return false;
	bytes = os_pread(fd, ret, 31, 0);
	ret[bytes] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	return bytes > 0;
}
