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

bool inside_ticks_steady(void)
{
	unsigned a, b, c, d;
	int permission = PR_TSC_ENABLE;

	syscall(SYS_prctl, PR_GET_TSC, &permission, 0, 0, 0);
	return permission == PR_TSC_ENABLE && __get_cpuid(POWER_LEAF, &a, &b, &c, &d) &&
	       (d & INVARIANT_TSC);
}

#endif
