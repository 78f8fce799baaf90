// SPDX-License-Identifier: MIT
// Frames of aarch64 for a walk through our own stack: numbers of registers (DWARF for the Arm 64-bit
// architecture, 4.1), where a signal leaves them (Linux arch/arm64/include/uapi/asm/sigcontext.h), and
// what the stub looks like to which a handler returns. Its calling convention wants frame records
// (x29 points to the caller's x29 and x30), so that tables are not needed.
#if defined(__aarch64__)

#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include "os/inside.h"

#define SAVED(number) (offsetof(ucontext_t, uc_mcontext.regs) + (number)*8)

// Behind siginfo_t, which lies at the stack pointer.
enum { SIGINFO_BYTES = 128 };

const struct inside_frame inside_frame = {
	.sp = 31,
	.bp = 29,
	.pc = 32,
	.registers = 33,
	.has_records = true,
	.context = SIGINFO_BYTES,
	.saved = {
		SAVED(0), SAVED(1), SAVED(2), SAVED(3), SAVED(4), SAVED(5), SAVED(6), SAVED(7),
		SAVED(8), SAVED(9), SAVED(10), SAVED(11), SAVED(12), SAVED(13), SAVED(14), SAVED(15),
		SAVED(16), SAVED(17), SAVED(18), SAVED(19), SAVED(20), SAVED(21), SAVED(22),
		SAVED(23), SAVED(24), SAVED(25), SAVED(26), SAVED(27), SAVED(28), SAVED(29),
		SAVED(30), offsetof(ucontext_t, uc_mcontext.sp),
		offsetof(ucontext_t, uc_mcontext.pc),
	},
};

uintptr_t inside_thread_pointer(void)
{
	return (uintptr_t)__builtin_thread_pointer();
}

bool inside_signal_stub(const void *code)
{
	static const uint32_t stub[] = {
		0xd2801168, // mov x8, #SYS_rt_sigreturn
		0xd4000001, // svc #0
	};

	return !memcmp(code, stub, sizeof(stub));
}

static uint32_t instruction_before(const uint8_t *code)
{
	uint32_t word;

	memcpy(&word, code - sizeof(word), sizeof(word));
	return word;
}

bool inside_follows_computed_call(const uint8_t *code)
{
	return (instruction_before(code) & 0xfffffc1f) == 0xd63f0000; // blr
}

bool inside_follows_call(const uint8_t *code)
{
	return instruction_before(code) >> 26 == 0x25 || inside_follows_computed_call(code); // bl
}

__asm__(".text\n"
        ".globl inside_registers\n"
        ".hidden inside_registers\n"
        ".type inside_registers, %function\n"
        "inside_registers:\n"
        ".cfi_startproc\n"
        "stp x19, x20, [x0, #152]\n"
        "stp x21, x22, [x0, #168]\n"
        "stp x23, x24, [x0, #184]\n"
        "stp x25, x26, [x0, #200]\n"
        "stp x27, x28, [x0, #216]\n"
        "stp x29, x30, [x0, #232]\n"
        "mov x9, sp\n"
        "stp x9, x30, [x0, #248]\n"
        "mov x0, #0xfff80000\n"
        "movk x0, #1, lsl #32\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size inside_registers, . - inside_registers\n");

#endif
