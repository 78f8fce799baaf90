// SPDX-License-Identifier: MIT
// The processor's clock, for x86-64: the time stamp counter, where it runs at one speed whatever the
// processor does (CPUID 0x80000007, EDX bit 8; Intel SDM 18.17.1) and the process may read it.
#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/inside.h"

enum { POWER_LEAF = 0x80000007, INVARIANT_TSC = 1 << 8 };

// The dynamic linker of glibc 2.33 and later has asked the processor already (sys/platform/x86.h); under a
// hypervisor each such question is an exit to it, of tens of microseconds.
enum { LEAF_80000007 = 4, EDX = 3 };

struct leaf {
	unsigned present[4], active[4];
};

const struct leaf *linker_leaf(unsigned number) __asm__("__x86_get_cpuid_feature_leaf")
	__attribute__((weak));

static unsigned power_bits(void)
{
	unsigned a, b, c, d;

	if (linker_leaf)
		return linker_leaf(LEAF_80000007)->present[EDX];
	return __get_cpuid(POWER_LEAF, &a, &b, &c, &d) ? d : 0;
}

bool inside_ticks_steady(void)
{
	int permission = PR_TSC_ENABLE;

	syscall(SYS_prctl, PR_GET_TSC, &permission, 0, 0, 0);
	return permission == PR_TSC_ENABLE && power_bits() & INVARIANT_TSC;
}

#endif
