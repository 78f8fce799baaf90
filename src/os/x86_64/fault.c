// SPDX-License-Identifier: MIT
// What a signal handler can learn about the access that faulted, on x86-64. The error code of the page
// fault is what the processor pushed (Linux arch/x86/include/asm/trap_pf.h).
#if defined(__x86_64__)

#include "os/inside.h"

#include <ucontext.h>

enum {
	PAGE_FAULT_WRITE = 1 << 1,
	PAGE_FAULT_FETCH = 1 << 4,
	TRAP_PAGE_FAULT = 14,
};

enum inside_access inside_fault_access(const void *context)
{
	const ucontext_t *user = context;
	uint64_t code = (uint64_t)user->uc_mcontext.gregs[REG_ERR];

	if (user->uc_mcontext.gregs[REG_TRAPNO] != TRAP_PAGE_FAULT)
		return INSIDE_ACCESS_UNKNOWN;
	if (code & PAGE_FAULT_FETCH)
		return INSIDE_ACCESS_EXECUTE;
	return code & PAGE_FAULT_WRITE ? INSIDE_ACCESS_WRITE : INSIDE_ACCESS_READ;
}

uintptr_t inside_fault_code(const void *context)
{
	const ucontext_t *user = context;

	return (uintptr_t)user->uc_mcontext.gregs[REG_RIP];
}

#endif
