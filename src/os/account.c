// SPDX-License-Identifier: MIT
// What a process costs, in the cheapest texts the kernel has about it: stat, statm and, for what is in
// swap, status (fs/proc/array.c, do_task_stat and proc_pid_statm). No memory is allocated and nothing is
// opened twice, since somebody asks this of every process of a machine each second.
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/scan_impl.h"

#define STAT_BYTES   1024
#define STATM_BYTES  256
#define STATUS_BYTES 8192
#define PATH_BYTES   64
#define KERNEL_FLAG  0x00200000 // PF_KTHREAD, include/linux/sched.h

// The fields of stat behind the name, by their numbers in proc_pid_stat(5).
enum {
	STAT_STATE = 3,
	STAT_PARENT = 4,
	STAT_FLAGS = 9,
	STAT_SOFT_FAULTS = 10,
	STAT_CHILDREN_SOFT_FAULTS = 11,
	STAT_HARD_FAULTS = 12,
	STAT_CHILDREN_HARD_FAULTS = 13,
	STAT_USER_TICKS = 14,
	STAT_KERNEL_TICKS = 15,
	STAT_THREADS = 20,
	STAT_START = 22,
	STAT_LAST = STAT_START,
};

static void next_word(struct scan *scan)
{
	while (scan->at < scan->end && *scan->at != ' ')
		scan->at++;
	scan_blanks(scan);
}

// Fields that are negative numbers stay 0; none of ours can be.
static bool take_fields(struct scan scan, uint64_t fields[STAT_LAST + 1], char *ret_state)
{
	scan_blanks(&scan);
	*ret_state = scan.at < scan.end ? *scan.at : '?';
	for (unsigned i = STAT_STATE + 1; i <= STAT_LAST; i++) {
		next_word(&scan);
		if (scan.at == scan.end)
			return false;
		scan_number(&scan, 10, &fields[i]);
	}
	return true;
}

bool os_account_parse_stat(const char *text, size_t bytes, struct os_account *ret)
{
	const char *open = memchr(text, '(', bytes), *close = memrchr(text, ')', bytes);
	uint64_t fields[STAT_LAST + 1] = { 0 };
	size_t length;

	// The name may hold parentheses of its own.
	if (!open || !close || close < open ||
	    !take_fields((struct scan){ close + 1, text + bytes }, fields, &ret->state))
		return false;
	length = (size_t)(close - open - 1);
	if (length >= sizeof(ret->name))
		length = sizeof(ret->name) - 1;
	memcpy(ret->name, open + 1, length);
	ret->name[length] = '\0';
	ret->parent_pid = (int)fields[STAT_PARENT];
	ret->is_kernel = fields[STAT_FLAGS] & KERNEL_FLAG;
	ret->soft_faults = fields[STAT_SOFT_FAULTS];
	ret->hard_faults = fields[STAT_HARD_FAULTS];
	ret->children_soft_faults = fields[STAT_CHILDREN_SOFT_FAULTS];
	ret->children_hard_faults = fields[STAT_CHILDREN_HARD_FAULTS];
	ret->cpu_ticks = fields[STAT_USER_TICKS] + fields[STAT_KERNEL_TICKS];
	ret->threads = (unsigned)fields[STAT_THREADS];
	ret->start_ticks = fields[STAT_START];
	return true;
}

// "SIZE RESIDENT SHARED ...": pages; what is shared is of files and of shared memory.
bool os_account_parse_statm(const char *text, size_t bytes, struct os_account *ret)
{
	struct scan scan = { text, text + bytes };
	uint64_t pages[3];

	for (unsigned i = 0; i < 3; i++) {
		scan_blanks(&scan);
		if (!scan_number(&scan, 10, &pages[i]) || pages[i] > INT64_MAX / os_page_bytes())
			return false;
	}
	ret->virtual_bytes = pages[0] * os_page_bytes();
	ret->resident_bytes = pages[1] * os_page_bytes();
	ret->anonymous_bytes = pages[1] > pages[2] ? (pages[1] - pages[2]) * os_page_bytes() : 0;
	return true;
}

size_t os_process_text(int proc, int pid, const char *name, char *buffer, size_t bytes)
{
	OS_DESCRIPTOR int fd = -1;
	char path[PATH_BYTES];
	ssize_t got;

	snprintf(path, sizeof(path), "%d/%s", pid, name);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? -1 : read(fd, buffer, bytes);
	return got < 0 ? 0 : (size_t)got;
}

static void ask_living(struct os_account *account)
{
	struct os_process process;

	account->memory_tid = account->pid;
	if (account->state != 'Z' || account->threads <= 1 ||
	    os_process_read(account->pid, &process))
		return;
	account->memory_tid = process.memory_tid;
	account->state = process.state;
}

bool os_account_read(int proc, int pid, bool with_swap, struct os_account *ret)
{
	char text[STATUS_BYTES];

	*ret = (struct os_account){ .pid = pid };
	if (!os_account_parse_stat(text, os_process_text(proc, pid, "stat", text, STAT_BYTES), ret))
		return false;
	ask_living(ret);
	if (!os_account_parse_statm(
		    text, os_process_text(proc, ret->memory_tid, "statm", text, STATM_BYTES), ret))
		return false;
	if (with_swap && ret->virtual_bytes)
		(void)os_counter_find(
			text, os_process_text(proc, ret->memory_tid, "status", text, sizeof(text)),
			"VmSwap", &ret->swapped_bytes);
	return true;
}

uint64_t os_ticks_per_second(void)
{
	return (uint64_t)sysconf(_SC_CLK_TCK);
}

struct error *os_each_descriptor(int proc, int pid,
                                 void (*each)(void *context, int number, const char *target),
                                 void *context)
{
	char path[PATH_BYTES], target[PATH_MAX + 1];
	struct dirent *entry;
	DIR *entries;
	int fd;

	snprintf(path, sizeof(path), "%d/fd", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	entries = fd < 0 ? NULL : fdopendir(fd);
	if (!entries)
		return error_system(errno, "cannot list the descriptors of process %d", pid);
	while ((entry = readdir(entries))) {
		ssize_t length = readlinkat(fd, entry->d_name, target, sizeof(target) - 1);

		if (length < 0)
			continue;
		target[length] = '\0';
		each(context, atoi(entry->d_name), target);
	}
	closedir(entries);
	return NULL;
}
