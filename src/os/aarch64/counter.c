// SPDX-License-Identifier: MIT
// The processor's clock, for aarch64: the virtual counter, which runs at one speed by the architecture
// (Arm ARM D12.2) and which Linux lets programs read.
#if defined(__aarch64__)

#include "os/inside.h"

uint64_t inside_ticks(void)
{
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
}

// The counter may be read ahead of what stands before it, up to an ISB (Arm ARM D12.2.1).
uint64_t inside_ticks_after_loads(void)
{
	__asm__ volatile("dmb ishld\n\tisb" ::: "memory");
	return inside_ticks();
}

bool inside_ticks_steady(void)
{
	return true;
}

#endif
