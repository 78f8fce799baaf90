// SPDX-License-Identifier: MIT
// Registers of aarch64: the order of struct user_pt_regs (Linux
// arch/arm64/include/uapi/asm/ptrace.h).
#include "os/cpu_impl.h"

#include <elf.h>
#include <string.h>

static const char *const names[] = {
	"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",     "x10", "x11",
	"x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21",    "x22", "x23",
	"x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp",  "pc",  "pstate",
};

// tpidr_el0 is the set's first word.
static uint64_t thread_pointer(const uint64_t *registers, const void *set, size_t bytes)
{
	uint64_t value = 0;

	(void)registers;
	if (bytes >= sizeof(value))
		memcpy(&value, set, sizeof(value));
	return value;
}

const struct os_cpu os_cpu_aarch64 = {
	.name = "aarch64",
	.elf_machine = EM_AARCH64,
	.word_bytes = 8,
	.register_count = 34,
	.sp = 31,
	.pc = 32,
	.tp = OS_NO_REGISTER,
	.register_names = names,
	.vector_set = OS_SET_FLOATING,
	.thread_set = OS_SET_ARM_TLS,
	.thread_pointer = thread_pointer,
};
