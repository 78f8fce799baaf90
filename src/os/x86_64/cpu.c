// SPDX-License-Identifier: MIT
// Registers of x86-64 and of 32-bit x86 programs on it. The orders are those of
// struct user_regs_struct and user_regs_struct32 (Linux arch/x86/include/asm/user_64.h, user32.h).
#include "os/cpu_impl.h"

#include <elf.h>
#include <string.h>

#define I386_GS                   10
#define I386_TLS_DESCRIPTOR_BYTES 16 // struct user_desc

static const char *const names_x86_64[] = {
	"r15",    "r14", "r13", "r12",     "rbp",     "rbx", "r11",      "r10", "r9",
	"r8",     "rax", "rcx", "rdx",     "rsi",     "rdi", "orig_rax", "rip", "cs",
	"eflags", "rsp", "ss",  "fs_base", "gs_base", "ds",  "es",       "fs",  "gs",
};

static const char *const names_i386[] = {
	"ebx", "ecx", "edx",      "esi", "edi", "ebp",    "eax", "ds", "es",
	"fs",  "gs",  "orig_eax", "eip", "cs",  "eflags", "esp", "ss",
};

// The selector in gs picks one of the thread's descriptors.
static uint64_t thread_pointer_i386(const uint64_t *registers, const void *set, size_t bytes)
{
	uint32_t entry = (uint32_t)registers[I386_GS] >> 3;
	const uint8_t *descriptor = set;

	for (; bytes >= I386_TLS_DESCRIPTOR_BYTES; bytes -= I386_TLS_DESCRIPTOR_BYTES) {
		uint32_t words[2]; // entry number, base address

		memcpy(words, descriptor, sizeof(words));
		if (words[0] == entry)
			return words[1];
		descriptor += I386_TLS_DESCRIPTOR_BYTES;
	}
	return 0;
}

// Calls that wait and, when anything disturbs them, return EINTR instead of asking the kernel to
// restart them (signal(7), "Interruption of system calls and library functions by stop signals"); those
// of sockets do so only with a timeout. All of them return something else once they did anything.
// By number (arch/x86/entry/syscalls/syscall_64.tbl), as this file is also built for other machines.
static bool begins_again_x86_64(uint64_t call)
{
	static const uint16_t calls[] = {
		0,   1,        // read, write
		19,  20,       // readv, writev
		43,  288,      // accept, accept4
		44,  46,       // sendto, sendmsg
		45,  47,  299, // recvfrom, recvmsg, recvmmsg
		65,  220,      // semop, semtimedop
		128,           // rt_sigtimedwait
		208, 333,      // io_getevents, io_pgetevents
		232, 281, 441, // epoll_wait, epoll_pwait, epoll_pwait2
		426,           // io_uring_enter
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i] == call)
			return true;
	return false;
}

const struct os_cpu os_cpu_x86_64 = {
	.name = "x86_64",
	.elf_machine = EM_X86_64,
	.word_bytes = 8,
	.register_count = 27,
	.sp = 19,
	.pc = 16,
	.tp = 21,
	.register_names = names_x86_64,
	.vector_set = OS_SET_X86_XSTATE,
	.call = 15,
	.result = 10,
	.begins_again = begins_again_x86_64,
	.control_block_names_itself = true,
};

const struct os_cpu os_cpu_i386 = {
	.name = "i386",
	.elf_machine = EM_386,
	.word_bytes = 4,
	.register_count = 17,
	.sp = 15,
	.pc = 12,
	.tp = OS_NO_REGISTER,
	.register_names = names_i386,
	.vector_set = OS_SET_X86_XSTATE,
	.thread_set = OS_SET_386_TLS,
	.thread_pointer = thread_pointer_i386,
	.control_block_names_itself = true,
};
