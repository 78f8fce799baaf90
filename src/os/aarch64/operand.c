// SPDX-License-Identifier: MIT
// The base register of the instruction that faulted, on AArch64: loads, stores and branches to a
// register all name it in the same bits (Arm ARM, C4.1).
#if defined(__aarch64__)

#include "os/inside.h"

#include <string.h>
#include <ucontext.h>

enum { STACK_POINTER = 31 };

void inside_fault_operands(const void *context, struct inside_operands *ret)
{
	const ucontext_t *user = context;
	uint64_t pc = user->uc_mcontext.pc;
	uint32_t instruction;
	unsigned base;

	memset(ret, 0, sizeof(*ret));
	ret->count = 1;
	if (!inside_peek(pc, &instruction, sizeof(instruction))) { // it went where no code is
		ret->values[0] = pc;
		ret->address = pc;
		ret->has_address = true;
		ret->access = INSIDE_ACCESS_EXECUTE;
		return;
	}
	base = instruction >> 5 & 31;
	ret->values[0] =
		base == STACK_POINTER ? user->uc_mcontext.sp : user->uc_mcontext.regs[base];
}

#endif
