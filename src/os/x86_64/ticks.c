// SPDX-License-Identifier: MIT
// The processor's counter of time, for x86-64.
#if defined(__x86_64__)

#include <x86intrin.h>

#include "os/os.h"

uint64_t os_ticks(void)
{
	return __rdtsc();
}

#endif
