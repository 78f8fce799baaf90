// SPDX-License-Identifier: MIT
// Which pages of a file are in the page cache. mincore tells it page by page to those who own the file or
// may write to it, and says "all" to others (mm/mincore.c, can_do_mincore); cachestat counts pages of a
// range, since Linux 6.5, at first to everybody (mm/filemap.c, can_do_cachestat, is younger), but looks at
// the wrong place for a file of an overlay.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/checked.h"
#include "os/os.h"

#define WINDOW_PAGES  ((uint64_t)1 << 16)
#define OVERLAY_MAGIC 0x794c7630
// The same number for every CPU (since Linux 5.1 new calls have one).
#define CALL_CACHESTAT 451

static void add_pages(struct os_ranges *ranges, uint64_t start, uint64_t end)
{
	if (ranges->ranges.n && ranges->ranges.v[ranges->ranges.n - 1].end == start)
		ranges->ranges.v[ranges->ranges.n - 1].end = end;
	else
		vec_push(&ranges->ranges, ((struct os_range){ start, end }));
}

// --- mincore --------------------------------------------------------------------------------------
static bool mincore_is_true(int fd)
{
	char path[64];
	struct stat status;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return (fstat(fd, &status) == 0 && status.st_uid == geteuid()) ||
	       faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

static bool look_at_window(int fd, uint64_t start, uint64_t bytes, struct os_ranges *ret)
{
	uint64_t page = os_page_bytes(), pages = (bytes + page - 1) / page;
	unsigned char present[WINDOW_PAGES];
	void *window = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)start);
	bool done;

	if (window == MAP_FAILED)
		return false;
	done = mincore(window, bytes, present) == 0;
	munmap(window, bytes);
	for (uint64_t i = 0; done && i < pages; i++)
		if (present[i] & 1)
			add_pages(ret, start + i * page, start + (i + 1) * page);
	return done;
}

// Holes are not looked at: a page of them may be in the cache, but a huge empty file is told soon.
static bool by_mincore(int fd, uint64_t bytes, struct os_ranges *ret)
{
	uint64_t page = os_page_bytes(), window = WINDOW_PAGES * page, start = 0, done = 0, end;

	while (start < bytes && os_file_data(fd, start, &start, &end)) {
		end = end < bytes ? end : bytes;
		// Blocks may be smaller than pages: two ranges of data can lie on the same one.
		start = start - start % page > done ? start - start % page : done;
		for (; start < end; start += window)
			if (!look_at_window(fd, start, end - start < window ? end - start : window,
			                    ret))
				return false;
		done = round_up(end, page);
		start = end;
	}
	return true;
}

// --- cachestat ------------------------------------------------------------------------------------
struct cachestat_range {
	uint64_t offset, bytes;
};

struct cachestat_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static bool count_cached(int fd, uint64_t start, uint64_t end, uint64_t *ret)
{
	struct cachestat_range range = { start, end - start };
	struct cachestat_counts counts;

	if (syscall(CALL_CACHESTAT, fd, &range, &counts, 0) != 0)
		return false;
	*ret = counts.cached;
	return true;
}

// Halves the range until it is all there or all absent. The depth is at most that of the file's length.
static bool split_range(int fd, uint64_t start, uint64_t end, struct os_ranges *ret)
{
	uint64_t page = os_page_bytes(), pages = (end - start) / page, cached, middle;

	if (!count_cached(fd, start, end, &cached))
		return false;
	if (cached >= pages)
		add_pages(ret, start, end);
	if (!cached || cached >= pages)
		return true;
	middle = start + pages / 2 * page;
	return split_range(fd, start, middle, ret) && split_range(fd, middle, end, ret);
}

static bool is_overlay(int fd)
{
	struct statfs status;

	return fstatfs(fd, &status) != 0 || status.f_type == OVERLAY_MAGIC;
}

const char *os_cached_ranges(int fd, uint64_t bytes, struct os_ranges *ret)
{
	uint64_t page = os_page_bytes();
	size_t first = ret->ranges.n;

	if (mincore_is_true(fd) && by_mincore(fd, bytes, ret))
		return "mincore";
	ret->ranges.n = first;
	if (bytes && bytes < INT64_MAX - page && !is_overlay(fd) &&
	    split_range(fd, 0, (bytes + page - 1) / page * page, ret))
		return "cachestat";
	ret->ranges.n = first;
	return NULL;
}
