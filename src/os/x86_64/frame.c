// SPDX-License-Identifier: MIT
// Frames of x86-64 for a walk through our own stack: numbers of registers (System V ABI, table 3.36),
// where a signal leaves them (Linux arch/x86/include/uapi/asm/sigcontext.h), and what the stub looks
// like to which a handler returns.
#if defined(__x86_64__)

#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include "os/inside.h"

#define SAVED(number) (offsetof(ucontext_t, uc_mcontext.gregs) + (number) * sizeof(greg_t))

const struct inside_frame inside_frame = {
	.sp = 7,
	.bp = 6,
	.pc = 16,
	.registers = 17,
	.has_records = false,
	.saved = {
		SAVED(REG_RAX), SAVED(REG_RDX), SAVED(REG_RCX), SAVED(REG_RBX), SAVED(REG_RSI),
		SAVED(REG_RDI), SAVED(REG_RBP), SAVED(REG_RSP), SAVED(REG_R8), SAVED(REG_R9),
		SAVED(REG_R10), SAVED(REG_R11), SAVED(REG_R12), SAVED(REG_R13), SAVED(REG_R14),
		SAVED(REG_R15), SAVED(REG_RIP),
	},
};

uintptr_t inside_thread_pointer(void)
{
	uintptr_t pointer;

	__asm__("mov %%fs:0, %0" : "=r"(pointer));
	return pointer;
}

bool inside_signal_stub(const void *code)
{
	static const uint8_t stub[] = {
		0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, // mov $SYS_rt_sigreturn, %rax
		0x0f, 0x05,                               // syscall
	};

	return !memcmp(code, stub, sizeof(stub));
}

// Through a register or memory, with two to seven bytes.
bool inside_follows_computed_call(const uint8_t *code)
{
	return (code[-2] == 0xff && (code[-1] & 0x38) == 0x10) ||
	       (code[-3] == 0xff && (code[-2] & 0x38) == 0x10) ||
	       (code[-4] == 0xff && (code[-3] & 0x38) == 0x10) ||
	       (code[-6] == 0xff && (code[-5] & 0x38) == 0x10) ||
	       (code[-7] == 0xff && (code[-6] & 0x38) == 0x10);
}

bool inside_follows_call(const uint8_t *code)
{
	return code[-5] == 0xe8 || inside_follows_computed_call(code);
}

__asm__(".text\n"
        ".globl inside_registers\n"
        ".hidden inside_registers\n"
        ".type inside_registers, @function\n"
        "inside_registers:\n"
        ".cfi_startproc\n"
        "mov %rbx, 24(%rdi)\n"
        "mov %rbp, 48(%rdi)\n"
        "lea 8(%rsp), %rax\n"
        "mov %rax, 56(%rdi)\n"
        "mov %r12, 96(%rdi)\n"
        "mov %r13, 104(%rdi)\n"
        "mov %r14, 112(%rdi)\n"
        "mov %r15, 120(%rdi)\n"
        "mov (%rsp), %rax\n"
        "mov %rax, 128(%rdi)\n"
        "mov $0x1f0c8, %eax\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size inside_registers, . - inside_registers\n");

#endif
