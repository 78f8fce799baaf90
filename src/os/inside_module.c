// SPDX-License-Identifier: MIT
// Which mapped file holds an address, from /proc/self/maps, with one buffer on the stack: for
// reports out of signal handlers, where the dynamic linker may not be asked because it may be what
// was interrupted.
#include "os/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINE_BYTES 4400 // numbers, then a path of PATH_MAX

struct lines {
	int fd;
	size_t start, end; // what of the buffer is not yet given out
	char buffer[LINE_BYTES];
};

// The next line, NUL in place of its newline; NULL at the end. Longer ones than the buffer are cut.
static char *next_line(struct lines *lines)
{
	for (;;) {
		char *line = lines->buffer + lines->start;
		char *newline = memchr(line, '\n', lines->end - lines->start);
		ssize_t count;

		if (newline) {
			*newline = '\0';
			lines->start = (size_t)(newline + 1 - lines->buffer);
			return line;
		}
		memmove(lines->buffer, line, lines->end - lines->start);
		lines->end -= lines->start;
		lines->start = 0;
		if (lines->end == sizeof(lines->buffer))
			lines->end = 0;
		count = syscall(SYS_read, lines->fd, lines->buffer + lines->end,
		                sizeof(lines->buffer) - lines->end);
		if (count <= 0)
			return NULL;
		lines->end += (size_t)count;
	}
}

static uint64_t read_hex(const char **at)
{
	uint64_t value = 0;

	for (;; ++*at) {
		char c = **at;

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return value;
	}
}

// Lines of one file follow each other; the first of them is the start of the module.
static bool find_module(struct lines *lines, uintptr_t address, struct inside_module *ret)
{
	uint64_t module_start = 0;
	const char *line;

	ret->path[0] = '\0';
	while ((line = next_line(lines))) {
		uint64_t start = read_hex(&line), end;
		const char *path;

		line += *line == '-';
		end = read_hex(&line);
		path = strchr(line, '/');
		if (!path)
			path = "";
		if (!*path || strncmp(path, ret->path, sizeof(ret->path) - 1) != 0) {
			module_start = start;
			ret->path[0] = '\0';
			strncat(ret->path, path, sizeof(ret->path) - 1);
		}
		if (address < start || address >= end)
			continue;
		ret->offset = address - module_start;
		return ret->path[0] != '\0';
	}
	return false;
}

static bool find_path(struct lines *lines, const char *wanted, uintptr_t *ret_start)
{
	const char *line;

	while ((line = next_line(lines))) {
		uint64_t start = read_hex(&line);
		const char *path = strchr(line, '/');

		if (path && !strncmp(path, wanted, sizeof(((struct inside_module *)0)->path) - 1)) {
			*ret_start = start;
			return true;
		}
	}
	return false;
}

static int open_maps(const char *path)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

bool inside_module_at(uintptr_t address, struct inside_module *ret)
{
	struct lines lines = { .fd = -1 };
	int kept = errno;
	bool found;

	lines.fd = open_maps("/proc/self/maps");
	found = lines.fd >= 0 && find_module(&lines, address, ret);
	if (lines.fd >= 0)
		syscall(SYS_close, lines.fd);
	errno = kept;
	return found;
}

bool inside_module_find(int process_id, const char *path, uintptr_t *ret_start)
{
	struct lines lines = { .fd = -1 };
	char digits[INSIDE_NUMBER_BYTES], name[48] = "/proc/";
	int kept = errno;
	bool found;

	strcat(name, process_id ? inside_number_text(digits + sizeof(digits), (uint64_t)process_id)
	                        : "self");
	strcat(name, "/maps");
	lines.fd = open_maps(name);
	found = lines.fd >= 0 && find_path(&lines, path, ret_start);
	if (lines.fd >= 0)
		syscall(SYS_close, lines.fd);
	errno = kept;
	return found;
}

bool inside_program_path(char *ret, size_t bytes)
{
	int kept = errno;
	long count = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", ret, bytes);

	errno = kept;
	if (count <= 0 || (size_t)count >= bytes)
		return false;
	ret[count] = '\0';
	return true;
}

bool inside_file_identity(const char *path, uint64_t *ret_device, uint64_t *ret_inode)
{
	struct stat file;
	int kept = errno;
	bool found = !syscall(SYS_newfstatat, AT_FDCWD, path, &file, 0);

	errno = kept;
	if (!found)
		return false;
	*ret_device = file.st_dev;
	*ret_inode = file.st_ino;
	return true;
}

void inside_mappings_each(void (*each)(void *context, const struct inside_mapping *mapping),
                          void *context)
{
	struct lines lines = { .fd = -1 };
	int kept = errno;
	const char *line;

	lines.fd = open_maps("/proc/self/maps");
	while (lines.fd >= 0 && (line = next_line(&lines))) {
		struct inside_mapping mapping = { .start = read_hex(&line) };

		line += *line == '-';
		mapping.end = read_hex(&line);
		mapping.path = strchr(line, '/');
		each(context, &mapping);
	}
	if (lines.fd >= 0)
		syscall(SYS_close, lines.fd);
	errno = kept;
}
