// SPDX-License-Identifier: MIT
// Files without a name for what may not fit in memory, holes in files, and the
// careful opening of paths that somebody else chose.
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct error *os_scratch_open(int *ret)
{
	const char *folders[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		if (!folders[i])
			continue;
		*ret = open(folders[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (*ret >= 0)
			return NULL;
	}
	*ret = memfd_create("heapwright-scratch", MFD_CLOEXEC);
	return *ret >= 0 ? NULL : error_system(errno, "cannot make a temporary file");
}

struct error *os_inherit(int fd)
{
	if (fcntl(fd, F_SETFD, 0) == 0)
		return NULL;
	return error_system(errno, "cannot hand a temporary file on");
}

struct error *os_pwrite(int fd, const void *buffer, size_t n, uint64_t offset)
{
	const char *from = buffer;

	while (n) {
		ssize_t written = pwrite(fd, from, n, (off_t)offset);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return error_system(written < 0 ? errno : EIO,
			                    "cannot write a temporary file");
		from += written;
		offset += (uint64_t)written;
		n -= (size_t)written;
	}
	return NULL;
}

struct error *os_file_resize(int fd, uint64_t bytes)
{
	if (ftruncate(fd, (off_t)bytes) == 0)
		return NULL;
	return error_system(errno, "cannot set the size of a temporary file");
}

bool os_file_data(int fd, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t data = lseek(fd, (off_t)offset, SEEK_DATA), hole;

	if (data < 0) {
		// ENXIO: only holes follow. Anything else: this file system does not tell.
		*ret_start = offset;
		*ret_end = UINT64_MAX;
		return errno != ENXIO;
	}
	hole = lseek(fd, data, SEEK_HOLE);
	*ret_start = (uint64_t)data;
	*ret_end = hole < 0 ? UINT64_MAX : (uint64_t)hole;
	return true;
}

// O_PATH neither waits for a pipe's other end nor wakes a device; what it gave is looked at and
// then opened through /proc, so that nobody can swap the file in between.
struct error *os_open_regular(const char *path, int *ret)
{
	OS_DESCRIPTOR int place = open(path, O_PATH | O_CLOEXEC);
	char link[64];
	struct stat status;

	*ret = -1;
	if (place < 0 || fstat(place, &status) != 0)
		return error_system(errno, "cannot open %s", path);
	if (!S_ISREG(status.st_mode))
		return error_new(ERROR_NOT_FOUND, "%s is not a regular file", path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", place);
	*ret = open(link, O_RDONLY | O_CLOEXEC);
	return *ret >= 0 ? NULL : error_system(errno, "cannot open %s", path);
}
