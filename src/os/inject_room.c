// SPDX-License-Identifier: MIT
// Whether there is room for a copy of a process: what its control groups and its
// limits still allow. Pure looks at /proc and /sys/fs/cgroup; called before a clone.
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define CGROUP_ROOT       "/sys/fs/cgroup"
#define TEXT_BYTES        4096
#define NUMBER_BYTES      32
#define PATH_BYTES        1024
#define SPARE_PROCESSES   16 // the program's own next forks must not fail because of ours
#define SPARE_BYTES       (16ull << 20)
#define COUNTED_PROCESSES 100000

struct room {
	uint64_t need_bytes;      // for page tables and the first pages that both write
	uint64_t anonymous_bytes; // more cannot be needed
};

// A number of a one-line file; false for "max" and for what cannot be read.
static bool read_number(const char *folder, const char *file, uint64_t *ret)
{
	char path[PATH_BYTES + 64], text[NUMBER_BYTES];
	OS_DESCRIPTOR int fd = -1;
	char *end;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	if (os_open(path, &fd))
		return false;
	text[os_pread(fd, text, sizeof(text) - 1, 0)] = '\0';
	*ret = strtoull(text, &end, 10);
	return end != text;
}

static bool has_left(const char *folder, const char *limit_file, const char *used_file,
                     uint64_t need)
{
	uint64_t limit, used;

	if (!read_number(folder, limit_file, &limit) || !read_number(folder, used_file, &used))
		return true;
	return used < limit && limit - used >= need;
}

// One group and, as limits add up, all above it. Version 1 and 2 differ in file names only.
static const char *refuse_group(const char *root, const char *group, const struct room *room)
{
	char folder[PATH_BYTES];
	size_t root_bytes = strlen(root);

	if ((size_t)snprintf(folder, sizeof(folder), "%s%s", root, group) >= sizeof(folder))
		return NULL;
	for (;;) {
		uint64_t kills_all = 0;

		if (!has_left(folder, "pids.max", "pids.current", SPARE_PROCESSES))
			return "its control group allows no more processes (pids.max)";
		// The copy is the first victim, unless the group dies as a whole.
		(void)read_number(folder, "memory.oom.group", &kills_all);
		if (!has_left(folder, "memory.max", "memory.current",
		              room->need_bytes + (kills_all ? room->anonymous_bytes : 0)) ||
		    !has_left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
		              room->need_bytes))
			return "its control group has too little memory left for a copy";
		char *slash = strrchr(folder, '/');

		if (!slash || (size_t)(slash - folder) < root_bytes)
			return NULL;
		*slash = '\0';
	}
}

// Lines "0::/path" (version 2) and "4:pids:/path" (version 1).
static const char *refuse_groups(int pid, const struct room *room)
{
	char path[64], text[TEXT_BYTES], *next = text;
	OS_DESCRIPTOR int fd = -1;
	const char *refusal = NULL;
	char *line;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (os_open(path, &fd))
		return NULL;
	text[os_pread(fd, text, sizeof(text) - 1, 0)] = '\0';
	while (!refusal && (line = strsep(&next, "\n"))) {
		char *controllers, root[PATH_BYTES] = CGROUP_ROOT;

		strsep(&line, ":");
		controllers = strsep(&line, ":");
		if (!line)
			continue;
		if (*controllers)
			snprintf(root, sizeof(root), CGROUP_ROOT "/%s", controllers);
		refusal = refuse_group(root, line, room);
	}
	return refusal;
}

struct user_count {
	uint32_t uid;
	uint64_t threads;
};

static bool count_user(void *context, int pid)
{
	struct user_count *count = context;
	struct os_process process;

	if (!os_process_read(pid, &process) && process.uid[0] == count->uid)
		count->threads += process.thread_count;
	return count->threads < COUNTED_PROCESSES;
}

static bool user_has_left(int pid, const struct os_process *process)
{
	struct user_count count = { .uid = process->uid[0] };
	struct rlimit limit;

	// The limit does not bind root; most limits are too high to matter.
	if (!count.uid || prlimit(pid, RLIMIT_NPROC, NULL, &limit) < 0 ||
	    limit.rlim_cur >= COUNTED_PROCESSES)
		return true;
	if (os_each_number("/proc", count_user, &count))
		return true;
	return count.threads + SPARE_PROCESSES <= limit.rlim_cur;
}

const char *os_inject_refuse_room(int pid, const struct os_process *process)
{
	const struct room room = {
		.need_bytes = 2 * process->page_table_bytes + SPARE_BYTES,
		.anonymous_bytes = process->anonymous_bytes,
	};

	if (!user_has_left(pid, process))
		return "its user may have no more processes (RLIMIT_NPROC)";
	return refuse_groups(pid, &room);
}
