// SPDX-License-Identifier: MIT
// The processor's counter of time, for aarch64.
#if defined(__aarch64__)

#include "os/os.h"

uint64_t os_ticks(void)
{
	uint64_t ticks;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks)::"memory");
	return ticks;
}

#endif
