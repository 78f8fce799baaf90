// SPDX-License-Identifier: MIT
// One system call for many ranges of the program's own memory (see inside.h). Guard Malloc opens
// the pages of blocks to come this way: a call and a page fault for each would cost it half its
// time.
#include "os/inside.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define GUARD_REMOVE_ADVICE \
	103                  // MADV_GUARD_REMOVE, Linux 6.13 include/uapi/asm-generic/mman-common.h
#define OWN_PROCESS (-10000) // PIDFD_SELF_THREAD, Linux 6.15 include/uapi/linux/pidfd.h

static void fill_ranges(struct iovec *ranges, void *const *starts, unsigned count, size_t bytes)
{
	for (unsigned i = 0; i < count; i++)
		ranges[i] = (struct iovec){ starts[i], bytes };
}

int inside_guard_remove_many(void *const *starts, unsigned count, size_t bytes)
{
	struct iovec ranges[INSIDE_BATCH];
	int kept = errno;
	long done;

	fill_ranges(ranges, starts, count, bytes);
	done = syscall(SYS_process_madvise, OWN_PROCESS, ranges, (size_t)count, GUARD_REMOVE_ADVICE,
	               0);
	errno = kept;
	if (done == (long)(count * bytes))
		return 0;
	for (unsigned i = 0; i < count; i++) {
		int error = inside_guard_remove(starts[i], bytes);

		if (error)
			return error;
	}
	return 0;
}

// The kernel writes a byte into each page on the program's behalf: it makes the page as a fault
// would, for half the price. Where this is not allowed, the pages come with their faults.
void inside_touch_many(void *const *starts, unsigned count)
{
	static const char zeros[INSIDE_BATCH];
	struct iovec ranges[INSIDE_BATCH];
	struct iovec source = { (void *)(uintptr_t)zeros, count };
	int kept = errno;

	fill_ranges(ranges, starts, count, 1);
	syscall(SYS_process_vm_writev, inside_process_id(), &source, 1ul, ranges, (size_t)count,
	        0ul);
	errno = kept;
}
