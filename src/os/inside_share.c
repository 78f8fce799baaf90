// SPDX-License-Identifier: MIT
// Memory that another process has, too: a memfd, its mapping, and sleeping on its words. Relies on
// system calls only; called by the recorder inside the program.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/inside.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

enum { NS_PER_S = 1000000000, HIGH_DESCRIPTOR = 900 };

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	int saved = errno;
	long got = syscall(number, a, b, c, d, e, f);
	int error = errno;

	errno = saved;
	return got == -1 ? -error : got;
}

// Programs expect low numbers for their own files.
static int raise_descriptor(int low)
{
	int high = (int)call(SYS_fcntl, low, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR, 0, 0, 0);

	if (high < 0)
		return low;
	inside_close(low);
	return high;
}

// A length above the limit of file sizes is refused with a signal (fs/attr.c, inode_newsize_ok), so the
// soft limit stands aside meanwhile.
static int set_length(int fd, uint64_t bytes)
{
	struct rlimit limit, wide;
	int error;

	if (call(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0, 0))
		return -EPERM;
	if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < bytes)
		return -EFBIG;
	wide = (struct rlimit){ .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
	call(SYS_prlimit64, 0, RLIMIT_FSIZE, (long)&wide, 0, 0, 0);
	error = (int)call(SYS_ftruncate, fd, (long)bytes, 0, 0, 0, 0);
	call(SYS_prlimit64, 0, RLIMIT_FSIZE, (long)&limit, 0, 0, 0);
	return error;
}

int inside_share_create(const char *name)
{
	int fd = (int)call(SYS_memfd_create, (long)name, MFD_CLOEXEC | MFD_ALLOW_SEALING, 0, 0, 0,
	                   0);

	return fd < 0 ? fd : raise_descriptor(fd);
}

// In a program that locks its memory (mlockall(MCL_FUTURE)) all of it would be made at once. The kernel
// makes none that nobody may touch (mm/gup.c, populate_vma_page_range), so it is unlocked before.
static long map_untouched(int fd, uint64_t bytes)
{
	long got = call(SYS_mmap, 0, (long)bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (got < 0 && got > -4096)
		return got;
	call(SYS_munlock, got, (long)bytes, 0, 0, 0, 0);
	if (!call(SYS_mprotect, got, (long)bytes, PROT_READ | PROT_WRITE, 0, 0, 0))
		return got;
	call(SYS_munmap, got, (long)bytes, 0, 0, 0, 0);
	return -ENOMEM;
}

int inside_share_map(int fd, uint64_t bytes, void **ret)
{
	int error = set_length(fd, bytes);
	long got;

	if (error)
		return error;
	got = map_untouched(fd, bytes);
	if (got < 0 && got > -4096)
		return (int)got;
	call(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK, 0, 0, 0);
	*ret = (void *)got;
	return 0;
}

void inside_close(int fd)
{
	call(SYS_close, fd, 0, 0, 0, 0, 0);
}

int inside_wipe_on_fork(void *memory, size_t bytes)
{
	return (int)call(SYS_madvise, (long)memory, (long)bytes, MADV_WIPEONFORK, 0, 0, 0);
}

// Not the private kind: the word's other reader is another process.
void inside_share_wait(uint32_t *word, uint32_t value, uint64_t limit_ns)
{
	struct timespec limit = { .tv_sec = (time_t)(limit_ns / NS_PER_S),
		                  .tv_nsec = (long)(limit_ns % NS_PER_S) };

	call(SYS_futex, (long)word, FUTEX_WAIT, value, (long)&limit, 0, 0);
}

void inside_share_wake(uint32_t *word)
{
	call(SYS_futex, (long)word, FUTEX_WAKE, 1 << 30, 0, 0, 0);
}
