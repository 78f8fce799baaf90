// SPDX-License-Identifier: MIT
// Memory that another process made with memfd_create and that we map, too, and futexes in it. Called
// by collect.
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull

// The link of a memfd reads "/memfd:NAME (deleted)" (fs/d_path.c, mm/memfd.c).
static bool is_memfd(const char *path, const char *name)
{
	char link[PATH_MAX], wanted[NAME_MAX];
	ssize_t length = readlink(path, link, sizeof(link) - 1);

	if (length < 0)
		return false;
	link[length] = '\0';
	snprintf(wanted, sizeof(wanted), "/memfd:%s (deleted)", name);
	return strcmp(link, wanted) == 0;
}

// Memory that can become shorter would end us by a signal (SIGBUS) where we read it. Its owner may have
// forbidden seals, and huge pages may run out.
static struct error *seal(int *fd, const char *path)
{
	struct statfs system;
	int seals;

	fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK);
	seals = fcntl(*fd, F_GET_SEALS);
	if (seals >= 0 && (seals & F_SEAL_SHRINK) && !fstatfs(*fd, &system) &&
	    system.f_type == TMPFS_MAGIC)
		return NULL;
	close(*fd);
	*fd = -1;
	return error_new(ERROR_DAMAGED, "%s may become shorter at any time", path);
}

struct error *os_shared_open(const char *path, const char *name, int *ret)
{
	struct stat before, after;

	*ret = -1;
	if (!is_memfd(path, name) || stat(path, &before))
		return error_new(ERROR_NOT_FOUND, "%s is no memory of the name %s", path, name);
	*ret = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*ret < 0)
		return error_system(errno, "cannot open %s", path);
	if (fstat(*ret, &after) || before.st_ino != after.st_ino || before.st_dev != after.st_dev) {
		close(*ret);
		*ret = -1;
		return error_new(ERROR_NOT_FOUND, "%s has become something else", path);
	}
	return seal(ret, path);
}

struct error *os_shared_map(int fd, void **ret, uint64_t *ret_bytes)
{
	struct stat status;

	if (fstat(fd, &status))
		return error_system(errno, "cannot look at shared memory");
	*ret_bytes = (uint64_t)status.st_size;
	if (!*ret_bytes)
		return error_new(ERROR_DAMAGED, "the shared memory is empty");
	*ret = mmap(NULL, *ret_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	return *ret == MAP_FAILED ? error_system(errno, "cannot map shared memory") : NULL;
}

void os_shared_wait(uint32_t *word, uint32_t value, uint64_t limit_ns)
{
	struct timespec limit = { (time_t)(limit_ns / SECOND_NS), (long)(limit_ns % SECOND_NS) };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, NULL, 0);
}

void os_shared_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
