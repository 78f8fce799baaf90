// SPDX-License-Identifier: MIT
// The processor's clock, for aarch64: the virtual counter, which runs at one speed by the architecture
// (Arm ARM D12.2) and which Linux lets programs read.
#if defined(__aarch64__)

#include "os/inside.h"

bool inside_ticks_steady(void)
{
	return true;
}

#endif
