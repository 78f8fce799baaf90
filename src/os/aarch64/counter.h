// SPDX-License-Identifier: MIT
// Reading the processor's clock, for aarch64: the virtual counter. Part of os/inside.h, which says what the
// functions are; whether the clock is steady says counter.c.
#pragma once
#if defined(__aarch64__)

#include <stdint.h>

static inline uint64_t inside_ticks(void)
{
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
}

// The counter may be read ahead of what stands before it, up to an ISB (Arm ARM D12.2.1).
static inline uint64_t inside_ticks_after_loads(void)
{
	__asm__ volatile("dmb ishld\n\tisb" ::: "memory");
	return inside_ticks();
}

#endif
