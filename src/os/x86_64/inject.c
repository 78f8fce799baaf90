// SPDX-License-Identifier: MIT
// The frames of an injected call on x86-64. Layout: struct rt_sigframe (Linux
// arch/x86/include/asm/sigframe.h), struct sigcontext and _fpx_sw_bytes
// (arch/x86/include/uapi/asm/sigcontext.h); what is checked when one is used:
// arch/x86/kernel/signal_64.c, fpu/signal.c. Called through os_inject_cpu.
#include "os/inject_impl.h"

#if defined(__x86_64__)

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>

#include "os/cpu_impl.h"

// Places in struct user_regs_struct.
enum {
	R15,
	R14,
	R13,
	R12,
	RBP,
	RBX,
	R11,
	R10,
	R9,
	R8,
	RAX,
	RCX,
	RDX,
	RSI,
	RDI,
	ORIG_RAX,
	RIP,
	CS,
	EFLAGS,
	RSP,
	SS,
	FS_BASE,
	GS_BASE,
	DS,
	ES,
	FS,
	GS,
	REGISTER_COUNT,
};

enum {
	CALL_MMAP = 9,
	CALL_READ = 0,
	CALL_WRITE = 1,
	CALL_CLOSE = 3,
	CALL_FSTAT = 5,
	CALL_POLL = 7,
	CALL_MPROTECT = 10,
	CALL_MUNMAP = 11,
	CALL_BRK = 12,
	CALL_PREAD64 = 17,
	CALL_READV = 19,
	CALL_WRITEV = 20,
	CALL_SELECT = 23,
	CALL_SCHED_YIELD = 24,
	CALL_MADVISE = 28,
	CALL_PAUSE = 34,
	CALL_NANOSLEEP = 35,
	CALL_CONNECT = 42,
	CALL_ACCEPT = 43,
	CALL_SENDTO = 44,
	CALL_RECVFROM = 45,
	CALL_SENDMSG = 46,
	CALL_RECVMSG = 47,
	CALL_RT_SIGRETURN = 15,
	CALL_CLONE = 56,
	CALL_WAIT4 = 61,
	CALL_SEMOP = 65,
	CALL_MSGSND = 69,
	CALL_MSGRCV = 70,
	CALL_FTRUNCATE = 77,
	CALL_RT_SIGTIMEDWAIT = 128,
	CALL_RT_SIGSUSPEND = 130,
	CALL_GETTID = 186,
	CALL_FUTEX = 202,
	CALL_IO_GETEVENTS = 208,
	CALL_SEMTIMEDOP = 220,
	CALL_CLOCK_GETTIME = 228,
	CALL_CLOCK_NANOSLEEP = 230,
	CALL_EXIT_GROUP = 231,
	CALL_EPOLL_WAIT = 232,
	CALL_WAITID = 247,
	CALL_RESTART = 219,
	CALL_OPENAT = 257,
	CALL_NEWFSTATAT = 262,
	CALL_PSELECT6 = 270,
	CALL_PPOLL = 271,
	CALL_EPOLL_PWAIT = 281,
	CALL_ACCEPT4 = 288,
	CALL_RECVMMSG = 299,
	CALL_GETRANDOM = 318,
	CALL_MEMFD_CREATE = 319,
	CALL_CLOSE_RANGE = 436,
	CALL_EPOLL_PWAIT2 = 441,
};

#define CODE_SEGMENT_64     0x33
#define RED_ZONE_BYTES      128
#define VSYSCALL_START      0xffffffffff600000ull
#define VSYSCALL_END        0xffffffffff601000ull
#define FLAGS_PLAIN         0x202ull // interrupts on, everything else clear
#define CLONE_FILES         0x400ull
#define CLONE_PARENT_SETTID 0x100000ull
#define WAIT_ALL            0x40000000ull // __WALL
#define NO_PROCESS          0x7fffffffull // above every pid_max

// Errors by which a call tells the kernel how to repeat it (Linux include/linux/errno.h).
enum {
	RESTART_SYS = 512,
	RESTART_NO_INTERRUPT = 513,
	RESTART_NO_HANDLER = 514,
	RESTART_BLOCK = 516,
};

struct x86_frame {
	uint64_t return_to; // the code that calls rt_sigreturn
	uint64_t flags, link;
	uint64_t stack_address;
	uint32_t stack_flags, stack_pad;
	uint64_t stack_bytes;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp;
	uint64_t rip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t error, trap, old_mask, cr2;
	uint64_t vector_address;
	uint64_t reserved[8];
	uint64_t mask;
};
_Static_assert(sizeof(struct x86_frame) == 8 + 304, "pretcode and struct ucontext of the kernel");
_Static_assert(offsetof(struct x86_frame, r8) == 8 + 40, "uc_mcontext");

#define UC_FLAGS 7u // FP_XSTATE | SIGCONTEXT_SS | STRICT_RESTORE_SS
// A mode that sigaltstack refuses: rt_sigreturn ignores the refusal, and the alternate stack, which
// no tracer can read, stays as it is (Linux kernel/signal.c, restore_altstack).
#define STACK_FLAGS_KEEP 4u

// struct _fpx_sw_bytes at 464 of the vector state. ptrace leaves XCR0 in its first word.
#define SOFTWARE_OFFSET    464
#define XSTATE_HEADER      512
#define VECTOR_BYTES_LEAST 576
#define VECTOR_ALIGN       64
#define FP_XSTATE_MAGIC1   0x46505853u
#define FP_XSTATE_MAGIC2   0x46505845u
// AMX tile data stand last in what ptrace gives, but not in the frames of programs that never asked
// for them (Linux arch/x86/kernel/fpu/xstate.c, XFEATURE_MASK_USER_DYNAMIC).
#define FEATURE_TILES (1ull << 18)
#define TILES_BYTES   8192

struct software_bytes {
	uint32_t magic, extended_bytes;
	uint64_t features;
	uint32_t bytes, pad[7];
};

// The frames of a call in their places; a single call uses parent and vector only.
struct x86_frames {
	struct x86_frame reap;   // wait4 of the child, should we be gone
	struct x86_frame parent; // what the thread was
	struct x86_frame child;  // exit of the child, should we be gone
};

static size_t find(const uint8_t *code, size_t bytes, const void *pattern, size_t pattern_bytes)
{
	const uint8_t *found = memmem(code, bytes, pattern, pattern_bytes);

	return found ? (size_t)(found - code) : bytes;
}

static size_t find_call_return(const uint8_t *code, size_t bytes)
{
	return find(code, bytes, "\x0f\x05\xc3", 3); // syscall; ret
}

static size_t find_sigreturn(const uint8_t *code, size_t bytes)
{
	// mov $15, %rax; syscall, as in every libc; some write %eax.
	size_t at = find(code, bytes, "\x48\xc7\xc0\x0f\0\0\0\x0f\x05", 9);

	return at < bytes ? at : find(code, bytes, "\xb8\x0f\0\0\0\x0f\x05", 7);
}

static uint64_t stack_pointer(const uint64_t *registers)
{
	return registers[RSP];
}

static uint64_t thread_pointer(const uint64_t *registers)
{
	return registers[FS_BASE];
}

static uint64_t program_counter(const uint64_t *registers)
{
	return registers[RIP];
}

static int64_t result(const uint64_t *registers)
{
	return (int64_t)registers[RAX];
}

static bool in_call(const uint64_t *registers)
{
	return (int64_t)registers[ORIG_RAX] >= 0;
}

static bool is_one_of(uint64_t call, const uint16_t *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (calls[i] == call)
			return true;
	return false;
}

// A call with a time limit that was interrupted goes on as restart_syscall, and its own number is
// known to the kernel alone (kernel/signal.c). Where libc loads it right before the call, it is read
// there: mov $number, %eax; syscall.
static uint64_t call(int pid, const uint64_t *r)
{
	static const uint16_t timed[] = { CALL_POLL, CALL_NANOSLEEP, CALL_FUTEX,
		                          CALL_CLOCK_NANOSLEEP };
	struct __attribute__((packed)) {
		uint8_t load;
		uint32_t number;
		uint16_t call;
	} code;

	if (!in_call(r))
		return OS_NO_CALL;
	if (r[ORIG_RAX] != CALL_RESTART ||
	    os_remote_read(pid, -1, r[RIP] - sizeof(code), &code, sizeof(code)) != sizeof(code) ||
	    code.load != 0xb8 || code.call != 0x050f)
		return r[ORIG_RAX];
	return is_one_of(code.number, timed, sizeof(timed) / sizeof(timed[0])) ? code.number
	                                                                       : CALL_RESTART;
}

static const char *refuse(const struct os_injection *injection)
{
	const uint64_t *r = injection->registers;

	if (injection->register_bytes != REGISTER_COUNT * sizeof(uint64_t) ||
	    r[CS] != CODE_SEGMENT_64)
		return "it runs 32-bit code";
	if (in_call(r) && r[ORIG_RAX] == CALL_RT_SIGRETURN)
		return "it returns from a signal handler";
	if (r[RIP] >= VSYSCALL_START && r[RIP] < VSYSCALL_END)
		return "it is in a vsyscall";
	return NULL;
}

static bool has_restart_block(const uint64_t *registers)
{
	return in_call(registers) && (int64_t)registers[RAX] == -RESTART_BLOCK;
}

// The state that the thread would be in had nobody stopped it: an interrupted call is issued again.
// For one with a time limit that means all of its time, since rt_sigreturn forgets what remained, and
// for a restart_syscall of an unknown call EINTR.
static void undo_interrupt(struct x86_frame *frame, const struct os_injection *injection)
{
	switch (-(int64_t)injection->registers[RAX]) {
	case RESTART_SYS:
	case RESTART_NO_INTERRUPT:
	case RESTART_NO_HANDLER:
	case RESTART_BLOCK:
		frame->rax = injection->call;
		frame->rip -= 2; // back onto the syscall instruction
		break;
	default:
		break;
	}
}

static void fill_frame(struct x86_frame *frame, const struct os_injection *injection,
                       uint64_t vector_address)
{
	const uint64_t *r = injection->registers;

	*frame = (struct x86_frame){
		.return_to = injection->gadgets.sigreturn,
		.flags = UC_FLAGS,
		.stack_flags = STACK_FLAGS_KEEP,
		.r8 = r[R8],
		.r9 = r[R9],
		.r10 = r[R10],
		.r11 = r[R11],
		.r12 = r[R12],
		.r13 = r[R13],
		.r14 = r[R14],
		.r15 = r[R15],
		.rdi = r[RDI],
		.rsi = r[RSI],
		.rbp = r[RBP],
		.rbx = r[RBX],
		.rdx = r[RDX],
		.rax = r[RAX],
		.rcx = r[RCX],
		.rsp = r[RSP],
		.rip = r[RIP],
		.eflags = r[EFLAGS],
		.cs = (uint16_t)r[CS],
		.gs = (uint16_t)r[GS],
		.fs = (uint16_t)r[FS],
		.ss = (uint16_t)r[SS],
		.vector_address = vector_address,
		.mask = injection->signal_mask,
	};
}

// Makes frame execute a call and then return to what lies at stack.
static void aim_frame(struct x86_frame *frame, const struct os_injection *injection,
                      uint64_t number, uint64_t stack)
{
	frame->rip = injection->gadgets.call_return;
	frame->rax = number;
	frame->rsp = stack;
	frame->rsi = 0;
	frame->rdx = 0;
	frame->r10 = 0;
	frame->rdi = 0;
	frame->eflags = FLAGS_PLAIN;
	frame->mask = ~0ull;
}

// Reads the vector state and makes it one that rt_sigreturn takes.
static struct error *read_vector(int tid, uint8_t *image, size_t room, size_t *ret_bytes)
{
	struct software_bytes software = { .magic = FP_XSTATE_MAGIC1 };
	uint32_t end = FP_XSTATE_MAGIC2;
	uint64_t in_use;
	size_t bytes;

	// The kernel wants whole words.
	room = (room - sizeof(end)) & ~(size_t)7;
	TRY(os_trace_get_set(tid, OS_SET_X86_XSTATE, image, room, &bytes));
	if (bytes < VECTOR_BYTES_LEAST || bytes >= room)
		return error_new(ERROR_UNSUPPORTED, "its vector registers have an unknown layout");
	memcpy(&software.features, image + SOFTWARE_OFFSET, sizeof(software.features));
	memcpy(&in_use, image + XSTATE_HEADER, sizeof(in_use));
	if (in_use & FEATURE_TILES)
		return error_new(ERROR_UNSUPPORTED, "it uses AMX tiles");
	if (software.features & FEATURE_TILES && bytes > TILES_BYTES + VECTOR_BYTES_LEAST)
		bytes -= TILES_BYTES;
	software.features &= ~FEATURE_TILES;
	software.bytes = (uint32_t)bytes;
	software.extended_bytes = (uint32_t)(bytes + sizeof(end));
	memcpy(image + SOFTWARE_OFFSET, &software, sizeof(software));
	memcpy(image + bytes, &end, sizeof(end));
	*ret_bytes = bytes + sizeof(end);
	return NULL;
}

static void begin_registers(const struct os_injection *injection, uint64_t number, uint64_t stack,
                            uint64_t *ret)
{
	memcpy(ret, injection->registers, injection->register_bytes);
	ret[RIP] = injection->gadgets.call_return;
	ret[RSP] = stack;
	ret[RAX] = number;
	ret[ORIG_RAX] = ~0ull; // we are in no call that could be repeated
	ret[EFLAGS] = FLAGS_PLAIN;
}

static struct error *build(struct os_injection *injection, const struct os_call *call,
                           uint64_t *ret_registers)
{
	static const uint8_t places[6] = { RDI, RSI, RDX, R10, R8, R9 };
	struct x86_frames frames;
	uint8_t vector[OS_INJECT_FRAME_MAX - sizeof(frames) - VECTOR_ALIGN];
	size_t vector_bytes = 0,
	       vector_at = (sizeof(frames) + VECTOR_ALIGN - 1) & ~(size_t)(VECTOR_ALIGN - 1);

	TRY(read_vector(injection->tid, vector, sizeof(vector), &vector_bytes));
	injection->frame_bytes = vector_at + vector_bytes;
	injection->base = (injection->registers[RSP] - RED_ZONE_BYTES - injection->frame_bytes) &
	                  ~(uint64_t)(VECTOR_ALIGN - 1);

	uint64_t base = injection->base;
	uint64_t parent = base + offsetof(struct x86_frames, parent);

	fill_frame(&frames.parent, injection, base + vector_at);
	frames.reap = frames.child = frames.parent;
	if (in_call(injection->registers))
		undo_interrupt(&frames.parent, injection);
	aim_frame(&frames.reap, injection, CALL_WAIT4, parent);
	// The kernel puts the child's number here (CLONE_PARENT_SETTID).
	frames.reap.rdi = NO_PROCESS;
	frames.reap.rdx = WAIT_ALL;
	aim_frame(&frames.child, injection, CALL_EXIT_GROUP, base);

	memset(injection->frame, 0, vector_at);
	memcpy(injection->frame, &frames, sizeof(frames));
	memcpy(injection->frame + vector_at, vector, vector_bytes);
	if (call && call->function) {
		begin_registers(injection, 0, parent, ret_registers);
		ret_registers[RIP] = call->function;
		ret_registers[RDI] = call->arguments[0];
		return NULL;
	}
	if (call) {
		begin_registers(injection, (uint64_t)call->number, parent, ret_registers);
		for (unsigned i = 0; i < 6; i++)
			ret_registers[places[i]] = call->arguments[i];
		return NULL;
	}
	begin_registers(injection, CALL_CLONE, base, ret_registers);
	ret_registers[RDI] = CLONE_FILES | CLONE_PARENT_SETTID;
	ret_registers[RSI] = base + offsetof(struct x86_frames, child);
	ret_registers[RDX] = base + offsetof(struct x86_frames, reap.rdi);
	ret_registers[R10] = 0;
	ret_registers[R8] = 0;
	return NULL;
}

static void enter(uint64_t *registers, uint64_t entry, uint64_t argument, uint64_t stack)
{
	registers[RIP] = entry;
	registers[RDI] = argument;
	registers[RSP] = (stack & ~15ull) - 8; // as behind a call
	registers[RBP] = 0;
	registers[ORIG_RAX] = ~0ull;
	registers[EFLAGS] = FLAGS_PLAIN;
}

// --- functions of the program --------------------------------------------------------------------
// The frame of a call ends in rt_sigreturn with the stack pointer behind its return address. The frame
// itself lies as the kernel aligns it, which is how a function finds the stack behind a call.
static bool at_return(const struct os_injection *injection, const uint64_t *registers)
{
	return registers[ORIG_RAX] == CALL_RT_SIGRETURN &&
	       registers[RSP] == injection->base + offsetof(struct x86_frames, parent) + 8;
}

// Should we die before all is put back, the thread makes it once more. A number of -1 leaves the result
// as it is (arch/x86/entry/syscall_64.c, do_syscall_64).
static void skip_call(uint64_t *registers)
{
	registers[ORIG_RAX] = ~0ull;
	registers[RAX] = CALL_RT_SIGRETURN;
	registers[RIP] -= 2; // back onto the syscall instruction
}

// read is the linker's, too, but for the first bytes of a file only, which are there at once.
static bool waits(uint64_t call)
{
	static const uint16_t waiting[] = {
		CALL_READ,
		CALL_WRITE,
		CALL_POLL,
		CALL_READV,
		CALL_WRITEV,
		CALL_SELECT,
		CALL_PAUSE,
		CALL_NANOSLEEP,
		CALL_CONNECT,
		CALL_ACCEPT,
		CALL_SENDTO,
		CALL_RECVFROM,
		CALL_SENDMSG,
		CALL_RECVMSG,
		CALL_WAIT4,
		CALL_SEMOP,
		CALL_MSGSND,
		CALL_MSGRCV,
		CALL_RT_SIGTIMEDWAIT,
		CALL_RT_SIGSUSPEND,
		CALL_IO_GETEVENTS,
		CALL_SEMTIMEDOP,
		CALL_CLOCK_NANOSLEEP,
		CALL_EPOLL_WAIT,
		CALL_WAITID,
		CALL_PSELECT6,
		CALL_PPOLL,
		CALL_EPOLL_PWAIT,
		CALL_ACCEPT4,
		CALL_RECVMMSG,
		CALL_EPOLL_PWAIT2,
	};

	return is_one_of(call, waiting, sizeof(waiting) / sizeof(waiting[0]));
}

static bool waits_for_lock(uint64_t call)
{
	return call == CALL_FUTEX || call == CALL_RESTART;
}

static bool signal_frame(const uint8_t *bytes, size_t n, uint64_t *ret_pc)
{
	struct x86_frame frame;

	if (n < sizeof(frame))
		return false;
	memcpy(&frame, bytes, sizeof(frame));
	*ret_pc = frame.rip;
	return frame.flags <= UC_FLAGS && frame.cs == CODE_SEGMENT_64;
}

// push %rbx; mov %rdi, %rbx; mov 8(%rbx), %rdi; mov 16(%rbx), %rsi; mov 24(%rbx), %rdx; call *(%rbx);
// mov %rax, 32(%rbx); movq $1, 40(%rbx); pop %rbx; ret
static const uint8_t stub[] = {
	0x53, 0x48, 0x89, 0xfb, 0x48, 0x8b, 0x7b, 0x08, 0x48, 0x8b, 0x73,
	0x10, 0x48, 0x8b, 0x53, 0x18, 0xff, 0x13, 0x48, 0x89, 0x43, 0x20,
	0x48, 0xc7, 0x43, 0x28, 0x01, 0x00, 0x00, 0x00, 0x5b, 0xc3,
};
_Static_assert(offsetof(struct os_function_block, result) == 32, "stub");
_Static_assert(offsetof(struct os_function_block, done) == 40, "stub");

// As stop.c of the room target does for all threads of a stop.
static bool undo_failed_wait(uint64_t *r)
{
	if (!in_call(r) || (int64_t)r[RAX] != -EINTR || !os_cpu_x86_64.begins_again(r[ORIG_RAX]))
		return false;
	r[RAX] = (uint64_t)-RESTART_NO_HANDLER;
	return true;
}

#define CALL(number, ...)                       \
	{                                       \
		(number), AUDIT_ARCH_X86_64, 0, \
		{                               \
			__VA_ARGS__             \
		}                               \
	}

static const struct seccomp_data calls[] = {
	CALL(CALL_CLONE, CLONE_FILES | CLONE_PARENT_SETTID),
	CALL(CALL_WAIT4, 1, 0, WAIT_ALL),
	CALL(CALL_RT_SIGRETURN, 0),
	CALL(CALL_EXIT_GROUP, 0),
	CALL(CALL_CLOSE_RANGE, 0, ~0u, 2),
	CALL(CALL_MEMFD_CREATE, 0, 1),
	CALL(CALL_MMAP, 0, 4096, 7, 1, 0, 0),
	CALL(CALL_CLOSE, 0),
};

static const struct seccomp_data loading_calls[] = {
	CALL(CALL_READ, 3, 0, 832),
	CALL(CALL_PREAD64, 3, 0, 832, 64),
	CALL(CALL_OPENAT, ~99ull, 0, 0x80000),
	CALL(CALL_FSTAT, 3),
	CALL(CALL_NEWFSTATAT, 3, 0, 0, 0x1000),
	CALL(CALL_MMAP, 0, 4096, 3, 0x22, ~0ull, 0),
	CALL(CALL_MMAP, 0, 4096, 1, 0x802, 3, 0),
	CALL(CALL_MMAP, 0, 4096, 5, 0x812, 3, 4096),
	CALL(CALL_MMAP, 0, 4096, 3, 1, 3, 0),
	CALL(CALL_MPROTECT, 0, 4096, 1),
	CALL(CALL_MUNMAP, 0, 4096),
	CALL(CALL_BRK, 0),
	CALL(CALL_MADVISE, 0, 4096, 4),
	CALL(CALL_MADVISE, 0, 4096, 18),
	CALL(CALL_FUTEX, 0, 0x80, 0),
	CALL(CALL_FUTEX, 0, 0, 0),
	CALL(CALL_FUTEX, 0, 1, 1),
	CALL(CALL_FTRUNCATE, 3, 4096),
	CALL(CALL_GETTID, 0),
	CALL(CALL_SCHED_YIELD, 0),
	CALL(CALL_CLOCK_GETTIME, 1),
	CALL(CALL_GETRANDOM, 0, 8, 1),
};

const struct os_inject_cpu os_inject_here = {
	.supported = true,
	.elf_machine = 62, // EM_X86_64
	.register_count = REGISTER_COUNT,
	.empty_text_offset = 4, // in the 15 of both forms
	.numbers = {
		[OS_CALL_WAIT4] = CALL_WAIT4,
		[OS_CALL_MMAP] = CALL_MMAP,
		[OS_CALL_MEMFD_CREATE] = CALL_MEMFD_CREATE,
		[OS_CALL_CLOSE] = CALL_CLOSE,
		[OS_CALL_CLOSE_RANGE] = CALL_CLOSE_RANGE,
		[OS_CALL_MUNMAP] = CALL_MUNMAP,
	},
	.calls = calls,
	.call_count = sizeof(calls) / sizeof(calls[0]),
	.loading_calls = loading_calls,
	.loading_call_count = sizeof(loading_calls) / sizeof(loading_calls[0]),
	.stub = stub,
	.stub_bytes = sizeof(stub),
	.call = call,
	.waits = waits,
	.waits_for_lock = waits_for_lock,
	.signal_frame = signal_frame,
	.at_return = at_return,
	.skip_call = skip_call,
	.find_call_return = find_call_return,
	.find_sigreturn = find_sigreturn,
	.stack_pointer = stack_pointer,
	.thread_pointer = thread_pointer,
	.program_counter = program_counter,
	.refuse = refuse,
	.has_restart_block = has_restart_block,
	.build = build,
	.result = result,
	.enter = enter,
	.undo_failed_wait = undo_failed_wait,
};

#endif
