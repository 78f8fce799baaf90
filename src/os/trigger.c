// SPDX-License-Identifier: MIT
// Triggers of pressure stall information: the kernel says when tasks wait for memory.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "os/os.h"

struct error *os_trigger_open(const char *path, bool full, uint64_t stall_us, uint64_t window_us,
                              int *ret)
{
	char text[64];
	int length = snprintf(text, sizeof(text), "%s %" PRIu64 " %" PRIu64, full ? "full" : "some",
	                      stall_us, window_us);
	int failure;

	*ret = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (*ret < 0)
		return error_system(errno, "cannot open %s", path);
	// The kernel wants the NUL, too (kernel/sched/psi.c, psi_write).
	if (write(*ret, text, (size_t)length + 1) > 0)
		return NULL;
	failure = errno;
	os_close(*ret);
	*ret = -1;
	return error_system(failure, "cannot set a trigger in %s", path);
}
