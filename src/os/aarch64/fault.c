// SPDX-License-Identifier: MIT
// What a signal handler can learn about the access that faulted, on aarch64. The kernel puts the
// syndrome register into a record behind the registers (struct esr_context of Linux
// arch/arm64/include/uapi/asm/sigcontext.h); its fields are those of ESR_EL1 in the Arm manual.
#if defined(__aarch64__)

#include "os/inside.h"

#include <ucontext.h>

enum {
	RECORD_ESR = 0x45535201,
	CLASS_SHIFT = 26,
	CLASS_INSTRUCTION_ABORT = 0x20, // from user mode
	CLASS_DATA_ABORT = 0x24,
	DATA_ABORT_WRITE = 1 << 6,
};

struct record {
	uint32_t magic, bytes;
};

static uint64_t syndrome(const mcontext_t *machine)
{
	const uint8_t *at = (const uint8_t *)machine->__reserved;
	const uint8_t *end = at + sizeof(machine->__reserved);

	while (at + sizeof(struct record) + sizeof(uint64_t) <= end) {
		const struct record *record = (const void *)at;

		if (record->magic == RECORD_ESR)
			return *(const uint64_t *)(record + 1);
		if (record->bytes < sizeof(*record))
			return 0;
		at += record->bytes;
	}
	return 0;
}

enum inside_access inside_fault_access(const void *context)
{
	uint64_t value = syndrome(&((const ucontext_t *)context)->uc_mcontext);

	switch (value >> CLASS_SHIFT & 0x3f) {
	case CLASS_INSTRUCTION_ABORT:
		return INSIDE_ACCESS_EXECUTE;
	case CLASS_DATA_ABORT:
		return value & DATA_ABORT_WRITE ? INSIDE_ACCESS_WRITE : INSIDE_ACCESS_READ;
	default:
		return INSIDE_ACCESS_UNKNOWN;
	}
}

uintptr_t inside_fault_code(const void *context)
{
	return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc;
}

#endif
