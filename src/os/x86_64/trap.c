// SPDX-License-Identifier: MIT
// A breakpoint in the code of the program itself, for x86-64. int3 leaves the program counter behind
// it, so that a debugger continues after it.
#if defined(__x86_64__)

#include "os/inside.h"

void inside_trap(void)
{
	__asm__ volatile("int3");
}

#endif
