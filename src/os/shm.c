// SPDX-License-Identifier: MIT
// Shared memory as the kernel lists it: System V segments, file systems in memory, and what a file there
// takes. The parsers are pure. Called by accounts.
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "os/scan_impl.h"

#define BLOCK_BYTES 512 // the unit of st_blocks

// --- System V ------------------------------------------------------------------------------------
// The columns of a line, ipc/shm.c, sysvipc_shm_proc_show; from resident on since Linux 2.6.34.
enum {
	SYSV_KEY,
	SYSV_ID,
	SYSV_MODE,
	SYSV_BYTES,
	SYSV_CREATOR,
	SYSV_LAST,
	SYSV_ATTACHED,
	SYSV_UID,
	SYSV_GID,
	SYSV_CREATOR_UID,
	SYSV_CREATOR_GID,
	SYSV_ATTACH_TIME,
	SYSV_DETACH_TIME,
	SYSV_CHANGE_TIME,
	SYSV_RESIDENT,
	SYSV_SWAPPED,
	SYSV_COLUMNS,
};

// Keys are printed with their sign.
static bool take_number(struct scan *line, uint64_t *ret)
{
	bool negative;

	scan_blanks(line);
	negative = scan_char(line, '-');
	if (!scan_number(line, 10, ret))
		return false;
	if (negative)
		*ret = -*ret;
	return true;
}

static bool take_segment(struct scan line, struct os_sysv_segment *ret)
{
	uint64_t v[SYSV_COLUMNS] = { 0 };
	unsigned n = 0;

	while (n < SYSV_COLUMNS && take_number(&line, &v[n]))
		n++;
	*ret = (struct os_sysv_segment){
		.key = (uint32_t)v[SYSV_KEY],
		.id = (int)v[SYSV_ID],
		.bytes = v[SYSV_BYTES],
		.creator_pid = (int)v[SYSV_CREATOR],
		.last_pid = (int)v[SYSV_LAST],
		.attached_count = v[SYSV_ATTACHED],
		.uid = (uint32_t)v[SYSV_UID],
		.changed_s = v[SYSV_CHANGE_TIME],
		.has_pages = n == SYSV_COLUMNS,
		.resident_bytes = v[SYSV_RESIDENT],
		.swapped_bytes = v[SYSV_SWAPPED],
	};
	return n > SYSV_CHANGE_TIME;
}

void os_sysv_parse(const char *text, size_t bytes,
                   void (*each)(void *context, const struct os_sysv_segment *segment),
                   void *context)
{
	struct scan all = { text, text + bytes }, line;
	struct os_sysv_segment segment;

	while (scan_line(&all, &line)) // the first is a heading
		if (take_segment(line, &segment))
			each(context, &segment);
}

// --- file systems in memory ----------------------------------------------------------------------
static bool take_word(struct scan *line, struct scan *ret)
{
	scan_blanks(line);
	ret->at = line->at;
	while (line->at < line->end && *line->at != ' ')
		line->at++;
	ret->end = line->at;
	return ret->at < ret->end;
}

// Blanks, tabs, newlines and backslashes of a path are \040 and the like.
static void unescape(struct scan word, char *ret, size_t bytes)
{
	size_t n = 0;

	while (word.at < word.end && n + 1 < bytes) {
		struct scan digits = { word.at + 1, word.at + 4 };
		uint64_t value;

		if (*word.at == '\\' && word.end - word.at >= 4 &&
		    scan_number(&digits, 8, &value) && digits.at == digits.end && value < 256) {
			ret[n++] = (char)value;
			word.at += 4;
		} else {
			ret[n++] = *word.at++;
		}
	}
	ret[n] = '\0';
}

// "ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS [TAG]... - TYPE SOURCE OPTIONS": proc_pid_mountinfo(5).
static bool take_mount(struct scan line, struct os_mount *ret)
{
	struct scan device, place, word;
	uint64_t major_number, minor_number;

	if (!take_word(&line, &word) || !take_word(&line, &word) || !take_word(&line, &device) ||
	    !take_word(&line, &word) || !take_word(&line, &place))
		return false;
	if (!scan_number(&device, 10, &major_number) || !scan_char(&device, ':') ||
	    !scan_number(&device, 10, &minor_number) || major_number > UINT32_MAX ||
	    minor_number > UINT32_MAX)
		return false;
	do
		if (!take_word(&line, &word))
			return false;
	while (word.end - word.at != 1 || *word.at != '-');
	if (!take_word(&line, &word))
		return false;
	ret->device = makedev((unsigned)major_number, (unsigned)minor_number);
	ret->in_memory = word.end - word.at == 5 && !memcmp(word.at, "tmpfs", 5);
	unescape(place, ret->place, sizeof(ret->place));
	return true;
}

void os_mounts_parse(const char *text, size_t bytes,
                     void (*each)(void *context, const struct os_mount *mount), void *context)
{
	struct scan all = { text, text + bytes }, line;
	struct os_mount mount;

	while (scan_line(&all, &line))
		if (take_mount(line, &mount))
			each(context, &mount);
}

bool os_mount_usage(const char *place, uint64_t *ret_bytes, uint64_t *ret_limit_bytes)
{
	struct statvfs status;

	if (statvfs(place, &status) < 0)
		return false;
	*ret_bytes = (status.f_blocks - status.f_bfree) * status.f_frsize;
	*ret_limit_bytes = status.f_blocks * status.f_frsize;
	return true;
}

uint64_t os_kernel_shm_device(void)
{
	int fd = memfd_create("heapwright", MFD_CLOEXEC);
	struct stat status = { 0 };

	if (fd >= 0 && fstat(fd, &status) < 0)
		status.st_dev = 0;
	os_close(fd);
	return status.st_dev;
}

// --- files ---------------------------------------------------------------------------------------
bool os_extent_of(int directory, const char *path, struct os_extent *ret)
{
	struct stat status;

	if (fstatat(directory, path, &status, 0) < 0)
		return false;
	*ret = (struct os_extent){
		.device = status.st_dev,
		.inode = status.st_ino,
		.bytes = (uint64_t)status.st_size,
		.allocated_bytes = (uint64_t)status.st_blocks * BLOCK_BYTES,
		.uid = status.st_uid,
		.regular = S_ISREG(status.st_mode),
		.links = status.st_nlink,
	};
	return true;
}

struct error *os_each_name(const char *directory, void (*each)(void *context, const char *name),
                           void *context)
{
	DIR *entries = opendir(directory);
	struct dirent *entry;

	if (!entries)
		return error_system(errno, "cannot list %s", directory);
	while ((entry = readdir(entries)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			each(context, entry->d_name);
	closedir(entries);
	return NULL;
}
