// SPDX-License-Identifier: MIT
// A breakpoint in the code of the program itself, for aarch64. gdb knows brk 0 as its own kind and
// steps over it when it continues.
#if defined(__aarch64__)

#include "os/inside.h"

void inside_trap(void)
{
	__asm__ volatile("brk #0");
}

#endif
