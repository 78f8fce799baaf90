// SPDX-License-Identifier: MIT
// Time: monotonic for durations, wall for what people read.
#include "os/os.h"

#include <errno.h>
#include <time.h>

#define SECOND_NS 1000000000ull

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now = { 0 };

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

uint64_t os_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t os_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t os_since_boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

void os_sleep_ns(uint64_t ns)
{
	struct timespec left = { (time_t)(ns / SECOND_NS), (long)(ns % SECOND_NS) };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}
