// SPDX-License-Identifier: MIT
// Files as the observer wing needs them: opened for reading, read whole or at an
// offset, mapped. Nothing here ever writes.
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECOND_NS        1000000000ull
#define FIRST_READ_BYTES ((size_t)16 << 10)

void os_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

void os_descriptor_cleanup(int *fd)
{
	os_close(*fd);
}

struct error *os_open(const char *path, int *ret)
{
	return os_open_at(AT_FDCWD, path, ret);
}

static struct error *open_for_writing(const char *path, int flags, FILE **ret)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
	int failure;

	*ret = fd < 0 ? NULL : fdopen(fd, "wb");
	if (*ret)
		return NULL;
	failure = errno;
	if (fd >= 0)
		close(fd);
	return error_system(failure, "cannot write %s", path);
}

struct error *os_create_private(const char *path, FILE **ret)
{
	return open_for_writing(path, O_CREAT | O_EXCL, ret);
}

struct error *os_open_stream(const char *path, FILE **ret)
{
	return open_for_writing(path, O_NOCTTY, ret);
}

struct error *os_check_replaceable(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX] = ".";
	struct stat status;

	if (!lstat(path, &status) && !S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode))
		return error_new(ERROR_USAGE, "cannot write %s: it is %s", path,
		                 S_ISDIR(status.st_mode) ? "a directory" : "no ordinary file");
	if (strlen(path) >= sizeof(folder))
		return error_system(ENAMETOOLONG, "cannot write %s", path);
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path + 1), path);
	if (access(folder, W_OK | X_OK))
		return error_system(errno, "cannot write %s", path);
	return NULL;
}

struct error *os_open_at(int directory, const char *path, int *ret)
{
	// Not blocking, so that a named pipe in the place of a file cannot hold us.
	*ret = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return *ret < 0 ? error_system(errno, "cannot open %s", path) : NULL;
}

size_t os_pread(int fd, void *buffer, size_t n, uint64_t offset)
{
	size_t done = 0;

	while (done < n && offset + done <= INT64_MAX) {
		ssize_t got = pread(fd, (char *)buffer + done, n - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

typedef VEC(char) text_vec;

// read(), not pread: some texts of /proc build themselves as they go.
static int text_read(int fd, size_t limit_bytes, text_vec *text)
{
	for (;;) {
		ssize_t got;

		if (text->n > limit_bytes)
			return EFBIG;
		vec_reserve(text, text->n + FIRST_READ_BYTES);
		got = read(fd, text->v + text->n, text->capacity - text->n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (!got)
			return 0;
		text->n += (size_t)got;
	}
}

struct error *os_read_text(struct arena *arena, const char *path, size_t limit_bytes, char **ret,
                           size_t *ret_bytes)
{
	OS_DESCRIPTOR int fd = -1;
	text_vec text;
	int failed;

	TRY(os_open(path, &fd));
	vec_init(&text, &os_page_source);
	failed = text_read(fd, limit_bytes, &text);
	if (!failed) {
		*ret = arena_alloc(arena, text.n + 1);
		if (text.n)
			memcpy(*ret, text.v, text.n);
		*ret_bytes = text.n;
	}
	vec_deinit(&text);
	if (failed == EFBIG)
		return error_new(ERROR_DAMAGED, "%s is longer than %zu bytes", path, limit_bytes);
	return failed ? error_system(failed, "cannot read %s", path) : NULL;
}

bool os_text_is(const char *path, const char *text, size_t bytes)
{
	OS_DESCRIPTOR int fd = -1;
	char part[FIRST_READ_BYTES];
	size_t at = 0;
	ssize_t got;

	if (os_open(path, &fd))
		return false;
	while ((got = read(fd, part, sizeof(part))) > 0) {
		if ((size_t)got > bytes - at || memcmp(part, text + at, (size_t)got) != 0)
			return false;
		at += (size_t)got;
	}
	return got == 0 && at == bytes;
}

struct error *os_read_link(struct arena *arena, const char *path, const char **ret)
{
	char buffer[PATH_MAX + 1];
	ssize_t length = readlink(path, buffer, sizeof(buffer));

	if (length < 0)
		return error_system(errno, "cannot read the link %s", path);
	*ret = arena_copy_n(arena, buffer, (size_t)length);
	return NULL;
}

static void status_fill(const struct stat *status, struct os_status *ret)
{
	*ret = (struct os_status){
		.device = status->st_dev,
		.inode = status->st_ino,
		.bytes = (uint64_t)status->st_size,
		.links = status->st_nlink,
		.regular = S_ISREG(status->st_mode),
		.directory = S_ISDIR(status->st_mode),
		.stream = S_ISFIFO(status->st_mode) || S_ISCHR(status->st_mode),
		.modified_ns = (uint64_t)status->st_mtim.tv_sec * SECOND_NS +
		               (uint64_t)status->st_mtim.tv_nsec,
	};
}

struct error *os_file_status(int fd, struct os_status *ret)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return error_system(errno, "cannot ask for a file's status");
	status_fill(&status, ret);
	return NULL;
}

struct error *os_path_status(const char *path, struct os_status *ret)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return error_system(errno, "cannot ask for the status of %s", path);
	status_fill(&status, ret);
	return NULL;
}

struct error *os_map_file(int fd, uint64_t offset, size_t bytes, const void **ret)
{
	void *memory = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, (off_t)offset);

	if (memory == MAP_FAILED)
		return error_system(errno, "cannot map %zu bytes of a file", bytes);
	*ret = memory;
	return NULL;
}

// The decimal number that a whole name is, or -1.
static int name_number(const char *name)
{
	char *end;
	long number;

	if (name[0] < '0' || name[0] > '9')
		return -1;
	number = strtol(name, &end, 10);
	return *end || number > INT_MAX ? -1 : (int)number;
}

struct error *os_each_number(const char *directory, bool (*each)(void *context, int number),
                             void *context)
{
	DIR *entries = opendir(directory);
	struct dirent *entry;

	if (!entries)
		return error_system(errno, "cannot list %s", directory);
	while ((entry = readdir(entries))) {
		int number = name_number(entry->d_name);

		if (number >= 0 && !each(context, number))
			break;
	}
	closedir(entries);
	return NULL;
}
