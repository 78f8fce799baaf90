// SPDX-License-Identifier: MIT
// Reading the processor's clock, for x86-64: the time stamp counter. Part of os/inside.h, which says what the
// functions are; whether the clock is steady says counter.c.
#pragma once
#if defined(__x86_64__)

#include <stdint.h>

static inline uint64_t inside_ticks(void)
{
	return __builtin_ia32_rdtsc();
}

// LFENCE waits for the loads before it, and RDTSC for it (Intel SDM, RDTSC; AMD APM 3, LFENCE).
static inline uint64_t inside_ticks_after_loads(void)
{
	__builtin_ia32_lfence();
	return __builtin_ia32_rdtsc();
}

#endif
