// SPDX-License-Identifier: MIT
// The constants that the folders of the CPUs define.
#pragma once

#include "os/os.h"

extern const struct os_cpu os_cpu_x86_64;
extern const struct os_cpu os_cpu_i386;
extern const struct os_cpu os_cpu_aarch64;

// Register set numbers that the C library's elf.h of older systems lacks (linux/elf.h).
#define OS_SET_X86_XSTATE 0x202
#define OS_SET_386_TLS    0x200
#define OS_SET_FLOATING   2
#define OS_SET_ARM_TLS    0x401
