// SPDX-License-Identifier: MIT
// Injected system calls: finding code to borrow, judging a thread, and leading it
// through a call from stop to stop. What the frames look like is the CPU's part.
#include "os/inject_impl.h"

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "os/os.h"

// Newer than the C library's header may be.
#define TRACE_GET_SIGMASK       0x420a
#define TRACE_SET_SIGMASK       0x420b
#define TRACE_GET_RSEQ          0x420f // Linux 5.13
#define TRACE_GET_USER_DISPATCH 0x4211 // Linux 6.4

#define STOP_SYSCALL    (SIGTRAP | 0x80) // with PTRACE_O_TRACESYSGOOD
#define SCAN_BYTES      (64u << 10)
#define SCAN_LIMIT      (64u << 20) // of one mapping
#define PATTERN_LONGEST 16
#define STATUS_BYTES    8192
#define RESTARTS_MOST   100
#define FRAME_ROOM      4096 // left free below our frame

const struct os_inject_cpu *os_inject_cpu(void)
{
	return &os_inject_here;
}

// --- code to borrow ------------------------------------------------------------------------------
static uint64_t find_in_mapping(int pid, const struct os_mapping *mapping,
                                size_t (*find)(const uint8_t *, size_t))
{
	uint8_t code[SCAN_BYTES + PATTERN_LONGEST];
	uint64_t end = mapping->end - mapping->start > SCAN_LIMIT ? mapping->start + SCAN_LIMIT
	                                                          : mapping->end;

	for (uint64_t at = mapping->start; at < end; at += SCAN_BYTES) {
		size_t want = end - at < sizeof(code) ? (size_t)(end - at) : sizeof(code);
		size_t got = os_remote_read(pid, -1, at, code, want);
		size_t found = find(code, got);

		if (found < got)
			return at + found;
		if (got < want)
			break;
	}
	return 0;
}

// Libraries and the kernel's own first: what stands in a program's text may be data.
static int mapping_rank(const struct os_mapping *mapping)
{
	const char *base;

	if ((mapping->protection & (OS_READ | OS_EXEC | OS_WRITE)) != (OS_READ | OS_EXEC) ||
	    !mapping->name || mapping->name[0] != '/' || mapping->shared)
		return -1;
	base = strrchr(mapping->name, '/') + 1;
	if (!strncmp(base, "libc.", 5) || !strncmp(base, "libc-", 5) || !strncmp(base, "ld-", 3))
		return 0;
	return strstr(base, ".so") ? 2 : 1;
}

void os_inject_find_gadgets(int pid, const struct os_mapping *mappings, size_t count,
                            struct os_gadgets *ret)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();

	*ret = (struct os_gadgets){ 0 };
	for (int rank = 0; rank <= 2 && cpu->supported; rank++) {
		for (size_t i = 0; i < count; i++) {
			if (mapping_rank(&mappings[i]) != rank)
				continue;
			if (!ret->call_return)
				ret->call_return =
					find_in_mapping(pid, &mappings[i], cpu->find_call_return);
			if (!ret->sigreturn)
				ret->sigreturn =
					find_in_mapping(pid, &mappings[i], cpu->find_sigreturn);
			if (!ret->call_return || !ret->sigreturn)
				continue;
			ret->empty_text = ret->sigreturn + cpu->empty_text_offset;
			return;
		}
	}
}

// --- a thread's state ----------------------------------------------------------------------------
static struct error *get_registers(int tid, uint64_t *ret, size_t *ret_bytes)
{
	return os_trace_get_set(tid, NT_PRSTATUS, ret, OS_INJECT_REGISTERS_MAX * sizeof(*ret),
	                        ret_bytes);
}

static struct error *set_registers(int tid, const uint64_t *registers, size_t bytes)
{
	return os_trace_put_set(tid, NT_PRSTATUS, registers, bytes);
}

static struct error *set_signal_mask(int tid, uint64_t mask)
{
	if (ptrace(TRACE_SET_SIGMASK, tid, (void *)sizeof(mask), &mask) < 0)
		return error_system(errno, "cannot set the signal mask of thread %d", tid);
	return NULL;
}

struct error *os_inject_write(int pid, uint64_t address, const void *bytes, size_t n)
{
	struct iovec from = { (void *)(uintptr_t)bytes, n };
	struct iovec to = { (void *)(uintptr_t)address, n };
	ssize_t done = process_vm_writev(pid, &from, 1, &to, 1, 0);

	if (done < 0)
		return error_system(errno, "cannot write memory of thread %d", pid);
	if ((size_t)done != n)
		return error_at(ERROR_FAULT, address + (uint64_t)done,
		                "cannot write memory of thread %d", pid);
	return NULL;
}

// ptrace writes where the program itself may not (kernel/ptrace.c, FOLL_FORCE).
struct error *os_inject_poke(int tid, uint64_t address, uint64_t word)
{
	if (ptrace(PTRACE_POKEDATA, tid, (void *)(uintptr_t)address, (void *)(uintptr_t)word) < 0)
		return error_system(errno, "cannot write code of thread %d", tid);
	return NULL;
}

// A thread inside a restartable sequence must leave it through its abort handler, which the kernel
// forgets when the thread executes something else meanwhile (Linux kernel/rseq.c).
static bool in_rseq(int tid, uint64_t pc)
{
	struct {
		uint64_t area;
		uint32_t bytes, signature, flags, pad;
	} configuration = { 0 };
	struct {
		uint32_t version, flags;
		uint64_t start, length, abort;
	} section;
	uint64_t where = 0;

	if (ptrace(TRACE_GET_RSEQ, tid, (void *)sizeof(configuration), &configuration) < 0 ||
	    !configuration.area)
		return false;
	if (os_remote_read(tid, -1, configuration.area + 8, &where, sizeof(where)) !=
	            sizeof(where) ||
	    !where)
		return false;
	if (os_remote_read(tid, -1, where, &section, sizeof(section)) != sizeof(section))
		return true;
	return pc - section.start < section.length;
}

static bool has_user_dispatch(int tid)
{
	struct {
		uint64_t mode, selector, offset, bytes;
	} configuration = { 0 };

	return ptrace(TRACE_GET_USER_DISPATCH, tid, (void *)sizeof(configuration),
	              &configuration) >= 0 &&
	       configuration.mode != 0;
}

static const struct os_mapping *mapping_at(const struct os_mapping *mappings, size_t count,
                                           uint64_t address)
{
	for (size_t i = 0; i < count; i++)
		if (address >= mappings[i].start && address < mappings[i].end)
			return &mappings[i];
	return NULL;
}

// Only on the stack that the thread was born with do we know that nothing lives below the stack
// pointer: coroutines and signal stacks are small pieces of something else.
static const char *refuse_stack(const struct os_injection *injection,
                                const struct os_mapping *mappings, size_t count)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	uint64_t sp = cpu->stack_pointer(injection->registers);
	uint64_t tp = cpu->thread_pointer(injection->registers);
	const struct os_mapping *stack = mapping_at(mappings, count, sp);

	if (!stack || (stack->protection & (OS_READ | OS_WRITE)) != (OS_READ | OS_WRITE))
		return "its stack pointer lies in no stack";
	bool first = stack->name && !strcmp(stack->name, "[stack]");

	if (!first && !(sp < tp && tp < stack->end))
		return "it is not on the stack it was born with";
	if (sp - stack->start < OS_INJECT_FRAME_MAX + FRAME_ROOM)
		return "its stack is nearly full";
	return NULL;
}

// The value behind a key of a status text, or NULL.
static const char *status_value(const char *text, const char *key)
{
	const char *found = strstr(text, key);

	return found ? found + strlen(key) : NULL;
}

const char *os_inject_refuse_status(int pid, int tid, bool *ret_filtered)
{
	char path[64], text[STATUS_BYTES];
	const char *seccomp, *features;
	OS_DESCRIPTOR int fd = -1;
	size_t bytes;

	*ret_filtered = false;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	if (os_open(path, &fd))
		return "it has ended";
	bytes = os_pread(fd, text, sizeof(text) - 1, 0);
	text[bytes] = '\0';
	seccomp = status_value(text, "\nSeccomp:\t");
	*ret_filtered = seccomp && *seccomp == '2';
	// PTRACE_SECCOMP_GET_FILTER is for root only.
	if (!seccomp || *seccomp == '1' || (*ret_filtered && os_own_uid() != 0))
		return "a seccomp filter could kill it for calls it never makes itself";
	// Linux Documentation/arch/x86/shstk.rst: a return into our frame would be a violation.
	features = status_value(text, "\nx86_Thread_features:\t");
	if (features && !strncmp(features, "shstk", 5))
		return "it has a shadow stack";
	return NULL;
}

static bool gadgets_stand(int pid, const struct os_gadgets *gadgets)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	uint8_t code[PATTERN_LONGEST];

	if (os_remote_read(pid, -1, gadgets->call_return, code, sizeof(code)) != sizeof(code) ||
	    cpu->find_call_return(code, sizeof(code)) != 0)
		return false;
	return os_remote_read(pid, -1, gadgets->sigreturn, code, sizeof(code)) == sizeof(code) &&
	       cpu->find_sigreturn(code, sizeof(code)) == 0;
}

struct error *os_inject_begin(int tid, const struct os_gadgets *gadgets,
                              const struct os_mapping *mappings, size_t count,
                              struct os_injection *ret, const char **ret_refusal)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();

	*ret_refusal = NULL;
	ret->tid = tid;
	ret->gadgets = *gadgets;
	ret->armed = false;
	ret->child = 0;
	ret->child_there = 0;
	ret->hand_on = 0;
	TRY(get_registers(tid, ret->registers, &ret->register_bytes));
	ret->call = cpu->supported ? cpu->call(tid, ret->registers) : OS_NO_CALL;
	if (ptrace(TRACE_GET_SIGMASK, tid, (void *)sizeof(ret->signal_mask), &ret->signal_mask) < 0)
		return error_system(errno, "cannot read the signal mask of thread %d", tid);
	if ((*ret_refusal = cpu->refuse(ret)) ||
	    (*ret_refusal = refuse_stack(ret, mappings, count)))
		return NULL;
	if (has_user_dispatch(tid))
		*ret_refusal = "its system calls are dispatched by itself";
	else if (in_rseq(tid, cpu->program_counter(ret->registers)))
		*ret_refusal = "it is in a restartable sequence";
	else if (!gadgets_stand(tid, gadgets))
		*ret_refusal = "its code changed meanwhile";
	return NULL;
}

// --- leading it through a call -------------------------------------------------------------------
struct error *os_inject_arm(struct os_injection *injection, const struct os_call *call)
{
	uint64_t registers[OS_INJECT_REGISTERS_MAX];
	int tid = injection->tid;

	TRY(os_inject_cpu()->build(injection, call, registers));
	if (os_remote_read(tid, -1, injection->base, injection->saved, injection->frame_bytes) !=
	    injection->frame_bytes)
		return error_at(ERROR_UNSUPPORTED, injection->base, "no room on its stack");
	TRY(os_inject_write(tid, injection->base, injection->frame, injection->frame_bytes));
	if (ptrace(PTRACE_SETOPTIONS, tid, NULL,
	           PTRACE_O_TRACESYSGOOD | (call ? 0 : PTRACE_O_TRACECLONE) |
	                   (injection->dies_with_us ? PTRACE_O_EXITKILL : 0)) < 0)
		return error_system(errno, "cannot prepare thread %d", tid);
	// From here on the frame must be able to restore everything. The mask follows the registers,
	// so that it is never changed without a frame that puts it back.
	TRY(set_registers(tid, registers, injection->register_bytes));
	injection->armed = true;
	return set_signal_mask(tid, ~0ull);
}

struct error *os_inject_disarm(struct os_injection *injection)
{
	int tid = injection->tid;

	TRY(set_signal_mask(tid, injection->signal_mask));
	TRY(set_registers(tid, injection->registers, injection->register_bytes));
	injection->armed = false;
	return os_inject_write(tid, injection->base, injection->saved, injection->frame_bytes);
}

// The child stands at its birth and would leave on a frame of its own; from now on it dies with us.
static struct error *adopt_child(struct os_injection *injection, uint64_t deadline_ns)
{
	struct os_stop stop;
	unsigned long child;

	if (ptrace(PTRACE_GETEVENTMSG, injection->tid, NULL, &child) < 0)
		return error_system(errno, "cannot learn the number of the copy");
	TRY(os_trace_wait((int)child, deadline_ns, &stop));
	if (stop.kind == OS_STOP_NONE || stop.kind == OS_STOP_ENDED)
		return error_new(ERROR_SYSTEM, "the copy of process %d did not start",
		                 injection->tid);
	if (ptrace(PTRACE_SETOPTIONS, (int)child, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) <
	    0)
		return error_system(errno, "cannot bind the copy of process %d", injection->tid);
	injection->child = (int)child;
	return NULL;
}

enum progress { GOES_ON, CALL_STOP, FAULTED };

// SIGSTOP cannot be blocked: it may arrive on our way, and has to be handed on. Every other signal
// that can be here is a fault of the borrowed code itself; handing nothing on makes it undone.
static enum progress take_signal(struct os_injection *injection, int signal)
{
	if (signal == STOP_SYSCALL)
		return CALL_STOP;
	if (signal != SIGSTOP)
		return FAULTED;
	injection->hand_on = signal;
	return GOES_ON;
}

static struct error *next_stop(struct os_injection *injection, int request, uint64_t deadline_ns,
                               struct os_stop *stop, enum progress *ret)
{
	int tid = injection->tid;

	if (ptrace(request, tid, NULL, (void *)(uintptr_t)injection->hand_on) < 0)
		return error_system(errno, "cannot continue thread %d", tid);
	injection->hand_on = 0;
	TRY(os_trace_wait(tid, deadline_ns, stop));
	*ret = GOES_ON;
	if (stop->kind == OS_STOP_ENDED)
		return error_new(ERROR_GONE, "thread %d ended meanwhile", tid);
	if (stop->kind == OS_STOP_NONE)
		return error_new(ERROR_SYSTEM, "thread %d did not come back from a call", tid);
	if (stop->kind == OS_STOP_OTHER && stop->event == PTRACE_EVENT_CLONE)
		return adopt_child(injection, deadline_ns);
	if (stop->kind == OS_STOP_SIGNAL)
		*ret = take_signal(injection, stop->signal);
	return NULL;
}

// From the armed state through entry and exit of the call.
static struct error *through_call(struct os_injection *injection, uint64_t deadline_ns,
                                  bool *ret_failed)
{
	unsigned call_stops = 0;

	while (call_stops < 2) {
		struct os_stop stop;
		enum progress progress;

		TRY(next_stop(injection, PTRACE_SYSCALL, deadline_ns, &stop, &progress));
		if (progress == FAULTED) {
			*ret_failed = true;
			return NULL;
		}
		call_stops += progress == CALL_STOP;
	}
	return NULL;
}

// Back to the kind of stop we began with, where the kernel still looks whether the call that the
// thread was in has to be repeated once it has its own registers again.
static struct error *to_interrupt(struct os_injection *injection, uint64_t deadline_ns)
{
	struct os_stop stop;
	enum progress progress;

	TRY(os_trace_interrupt(injection->tid));
	do {
		TRY(next_stop(injection, PTRACE_CONT, deadline_ns, &stop, &progress));
	} while (stop.kind != OS_STOP_EVENT && stop.kind != OS_STOP_GROUP);
	return NULL;
}

static bool wants_repeat(int64_t result)
{
	return result <= -512 && result >= -516; // ERESTARTSYS to ERESTART_RESTARTBLOCK
}

static struct error *execute(struct os_injection *injection, const struct os_call *call,
                             uint64_t deadline_ns, int64_t *ret_result)
{
	uint64_t registers[OS_INJECT_REGISTERS_MAX];
	bool failed = false;
	size_t bytes;

	for (unsigned i = 0; i < RESTARTS_MOST; i++) {
		TRY(os_inject_arm(injection, call));
		TRY(through_call(injection, deadline_ns, &failed));
		TRY(get_registers(injection->tid, registers, &bytes));
		*ret_result = os_inject_cpu()->result(registers);
		TRY(to_interrupt(injection, deadline_ns));
		TRY(os_inject_disarm(injection));
		if (failed)
			return error_new(ERROR_UNSUPPORTED, "thread %d could not execute a call",
			                 injection->tid);
		if (!wants_repeat(*ret_result))
			return NULL;
	}
	return error_new(ERROR_UNSUPPORTED, "thread %d was interrupted again and again",
	                 injection->tid);
}

struct error *os_inject_call(struct os_injection *injection, const struct os_call *call,
                             uint64_t deadline_ns, int64_t *ret_result)
{
	return execute(injection, call, deadline_ns, ret_result);
}

// Through all calls of the function up to the one that would put the thread back, which we make none:
// putting back is our part.
static struct error *through_function(struct os_injection *injection, uint64_t deadline_ns,
                                      bool *ret_failed)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	uint64_t registers[OS_INJECT_REGISTERS_MAX];
	struct os_stop stop;
	enum progress progress;
	size_t bytes;

	for (;;) {
		TRY(next_stop(injection, PTRACE_SYSCALL, deadline_ns, &stop, &progress));
		*ret_failed = progress == FAULTED;
		if (*ret_failed)
			return NULL;
		if (progress != CALL_STOP)
			continue;
		TRY(get_registers(injection->tid, registers, &bytes));
		if (cpu->at_return(injection, registers))
			break;
	}
	cpu->skip_call(registers);
	TRY(set_registers(injection->tid, registers, bytes));
	do
		TRY(next_stop(injection, PTRACE_SYSCALL, deadline_ns, &stop, &progress));
	while (progress == GOES_ON);
	*ret_failed = progress == FAULTED;
	return NULL;
}

// Unlike the kernel's calls, functions use the vector registers.
struct error *os_inject_function(struct os_injection *injection, uint64_t code, uint64_t argument,
                                 uint64_t deadline_ns)
{
	const struct os_call call = { .function = code, .arguments = { argument } };
	const uint32_t set =
		os_cpu_of_machine(os_inject_cpu()->elf_machine, sizeof(code))->vector_set;
	uint64_t vector[OS_INJECT_FRAME_MAX / sizeof(uint64_t)];
	size_t vector_bytes;
	bool failed = false;

	TRY(os_trace_get_set(injection->tid, set, vector, sizeof(vector), &vector_bytes));
	TRY(os_inject_arm(injection, &call));
	TRY(through_function(injection, deadline_ns, &failed));
	TRY(to_interrupt(injection, deadline_ns));
	// The frame puts them back, too, as long as it is there.
	TRY(os_trace_put_set(injection->tid, set, vector, vector_bytes));
	TRY(os_inject_disarm(injection));
	if (failed)
		return error_new(ERROR_UNSUPPORTED, "code that thread %d executed for us failed",
		                 injection->tid);
	return NULL;
}

struct error *os_inject_clone(struct os_injection *injection, uint64_t deadline_ns, int *ret_errno)
{
	int64_t *result = &injection->child_there;

	injection->child = 0;
	*result = 0;
	TRY(execute(injection, NULL, deadline_ns, result));
	*ret_errno = *result < 0 ? (int)-*result : 0;
	if (*result < 0 || !injection->child)
		return NULL;
	TRY(set_registers(injection->child, injection->registers, injection->register_bytes));
	return os_inject_write(injection->child, injection->base, injection->saved,
	                       injection->frame_bytes);
}

void os_inject_undo_interrupt(int tid, const uint64_t *registers, size_t count)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	uint64_t changed[OS_INJECT_REGISTERS_MAX] = { 0 };

	if (!cpu->supported || count != cpu->register_count)
		return;
	memcpy(changed, registers, count * sizeof(*registers));
	// It fails for a thread that was killed meanwhile only.
	if (cpu->undo_failed_wait(changed))
		(void)set_registers(tid, changed, count * sizeof(*registers));
}

// --- code in a disposable process ----------------------------------------------------------------
struct error *os_inject_start(const struct os_injection *injection, uint64_t entry,
                              uint64_t argument, uint64_t stack)
{
	uint64_t registers[OS_INJECT_REGISTERS_MAX];

	memcpy(registers, injection->registers, sizeof(registers));
	os_inject_cpu()->enter(registers, entry, argument, stack);
	TRY(set_registers(injection->tid, registers, injection->register_bytes));
	if (ptrace(PTRACE_CONT, injection->tid, NULL, NULL) < 0)
		return error_system(errno, "cannot start code in process %d", injection->tid);
	return NULL;
}

struct error *os_inject_stopped(int tid, const struct os_stop *stop, bool *ret_again)
{
	siginfo_t info = { 0 };

	*ret_again = false;
	if (stop->kind == OS_STOP_ENDED)
		return error_new(ERROR_GONE, "the copy ended while code ran in it");
	if (stop->kind != OS_STOP_SIGNAL) {
		*ret_again = true;
		if (stop->kind != OS_STOP_NONE && ptrace(PTRACE_CONT, tid, NULL, NULL) < 0)
			return error_system(errno, "cannot continue the copy");
		return NULL;
	}
	if (stop->signal == SIGTRAP)
		return NULL;
	if (ptrace(PTRACE_GETSIGINFO, tid, NULL, &info) < 0)
		return error_system(errno, "cannot read a signal of the copy");
	if (stop->signal == SIGSEGV || stop->signal == SIGBUS)
		return error_at(ERROR_FAULT, (uint64_t)(uintptr_t)info.si_addr,
		                "code in the copy touched memory that cannot be read");
	return error_new(ERROR_SYSTEM, "code in the copy was ended by signal %d", stop->signal);
}
