// SPDX-License-Identifier: MIT
// A system call executed by a stopped thread of another process, in such a way
// that the thread goes on as if nothing had been, whatever becomes of us. Part
// of os.h.
//
// Nothing is written but bytes below the thread's red zone: a frame as the kernel pushes one for a
// signal, which holds every register. The thread is sent to a `system call; return` of its own
// code with its stack pointer at that frame, so that a thread let go half-way (we were killed, and
// the kernel detached it) finishes the call, returns into the frame and through rt_sigreturn into
// the place and state it came from. When we live, which is the rule, we put the registers, the
// signal mask and the bytes back ourselves, and the frame is never used.
//
// Nothing here single-steps: a thread that loses its tracer with a step under way would get a
// SIGTRAP of its own.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct os_mapping;
struct os_process;
struct os_stop;
struct seccomp_data;

#define OS_INJECT_FRAME_MAX     16384
#define OS_INJECT_REGISTERS_MAX 40
#define OS_NO_CALL              (~0ull)

// Code of the target that we make use of; 0 = not found.
struct os_gadgets {
	uint64_t call_return; // a system call instruction followed by a return
	uint64_t sigreturn;   // code that calls rt_sigreturn
	uint64_t empty_text;  // a zero byte
};

// A thread in which calls are injected. Flat; owned by the caller.
struct os_injection {
	int tid;
	struct os_gadgets gadgets;
	uint64_t registers[OS_INJECT_REGISTERS_MAX]; // as they were
	size_t register_bytes;
	uint64_t call;        // the system call that it waits in: see os_inject_cpu.call
	uint64_t signal_mask; // as it was
	uint64_t base;        // lowest address of our frame
	size_t frame_bytes;
	bool armed;          // the thread stands on our frame
	bool dies_with_us;   // set by the caller: a disposable process, killed when its tracer ends
	int hand_on;         // a signal that the thread took on the way
	int child;           // of os_inject_clone, 0 before
	int64_t child_there; // its number in the target's pid namespace, or what clone failed with
	uint8_t frame[OS_INJECT_FRAME_MAX];
	uint8_t saved[OS_INJECT_FRAME_MAX]; // what was in the place of the frame
};

struct os_call {
	long number;
	uint64_t arguments[6];
	uint64_t function; // not 0: code that is called with the first argument instead
};

// What code of ours that calls a function of the program works on: see os_inject_cpu.stub.
struct os_function_block {
	uint64_t function, arguments[3];
	uint64_t result;
	uint64_t done; // 1 when the function has returned
};

// System calls as the CPU numbers them.
enum os_call_name {
	OS_CALL_WAIT4,
	OS_CALL_MMAP,
	OS_CALL_MEMFD_CREATE,
	OS_CALL_CLOSE,
	OS_CALL_CLOSE_RANGE,
	OS_CALL_MUNMAP,
	OS_CALL_COUNT,
};

// What the CPUs do differently; one per CPU, chosen by os_inject_cpu.
struct os_inject_cpu {
	bool supported;
	uint16_t elf_machine;      // of the programs it can serve (EM_*)
	uint8_t register_count;    // words of the general set
	uint8_t empty_text_offset; // in sigreturn: where a zero byte stands
	long numbers[OS_CALL_COUNT];
	const struct seccomp_data
		*calls; // every call that we inject or prepare, for filters to judge
	size_t call_count;
	// Those that loading a library and recording need beside them.
	const struct seccomp_data *loading_calls;
	size_t loading_call_count;
	// Code that calls block->function and keeps its result: void stub(struct os_function_block *).
	const uint8_t *stub;
	size_t stub_bytes;
	// The system call that a stopped thread is in, OS_NO_CALL for none. One that was interrupted before
	// has become restart_syscall; then it is the number that stands in the code, if it does.
	uint64_t (*call)(int pid, const uint64_t *registers);
	// Whether a thread may wait for long in this call, which neither malloc nor the dynamic linker ever
	// makes; and whether it may be one that they make, too, for a lock.
	bool (*waits)(uint64_t call);
	bool (*waits_for_lock)(uint64_t call);
	// Whether bytes are a frame that a signal pushed, and where the program was interrupted then.
	bool (*signal_frame)(const uint8_t *bytes, size_t n, uint64_t *ret_pc);
	// Whether the thread is about to make the call that ends a function called for us; and makes
	// it no call.
	bool (*at_return)(const struct os_injection *injection, const uint64_t *registers);
	void (*skip_call)(uint64_t *registers);
	// The first place in code where gadget code begins, or bytes when there is none.
	size_t (*find_call_return)(const uint8_t *code, size_t bytes);
	size_t (*find_sigreturn)(const uint8_t *code, size_t bytes);
	uint64_t (*stack_pointer)(const uint64_t *registers);
	uint64_t (*thread_pointer)(const uint64_t *registers);
	uint64_t (*program_counter)(const uint64_t *registers);
	// Why the thread cannot execute a call for us, or NULL.
	const char *(*refuse)(const struct os_injection *injection);
	// Whether a call that the kernel would resume with its remaining time was interrupted.
	bool (*has_restart_block)(const uint64_t *registers);
	// Fills base, frame and frame_bytes, and the registers to begin with. call NULL: a clone.
	struct error *(*build)(struct os_injection *injection, const struct os_call *call,
	                       uint64_t *ret_registers);
	int64_t (*result)(const uint64_t *registers);
	// Registers to begin a function with: entry(argument) on the stack that ends at stack.
	void (*enter)(uint64_t *registers, uint64_t entry, uint64_t argument, uint64_t stack);
	// Makes the kernel repeat a wait that failed because of our interrupt (os_cpu.begins_again); false
	// when it is none.
	bool (*undo_failed_wait)(uint64_t *registers);
};
const struct os_inject_cpu *os_inject_cpu(void);

// --- inject.c ------------------------------------------------------------------------------------
// Looks for the two pieces of code in the executable mappings of a process, libraries first. A
// member of *ret stays 0 when there is none.
void os_inject_find_gadgets(int pid, const struct os_mapping *mappings, size_t count,
                            struct os_gadgets *ret);

// Why a thread should make no calls for us, by what its status says (a sentence part), or NULL.
// *ret_filtered: it has seccomp filters that os_inject_refuse_filters must judge once it stands.
const char *os_inject_refuse_status(int pid, int tid, bool *ret_filtered);

// The same by the filters themselves, of a stopped thread. Not thread-safe.
const char *os_inject_refuse_filters(int tid);
const char *os_inject_refuse_filters_loading(int tid); // for calls of the loading_calls, too

// Reads the state of a stopped thread. *ret_refusal says in a sentence part ("it runs 32-bit code")
// why it cannot serve, or is NULL. mappings may be some moments old: what they say is checked when
// the frame is written.
struct error *os_inject_begin(int tid, const struct os_gadgets *gadgets,
                              const struct os_mapping *mappings, size_t count,
                              struct os_injection *ret, const char **ret_refusal);

// Executes one call in the stopped thread and puts everything back; the thread stays stopped.
// ERROR_GONE when it ended meanwhile. After any other error but ERROR_UNSUPPORTED the thread may
// run: the caller ends its process, and the thread then restores itself.
struct error *os_inject_call(struct os_injection *injection, const struct os_call *call,
                             uint64_t deadline_ns, int64_t *ret_result);

// Has the stopped thread call code(argument) of the program and puts everything back, the result too.
// Other threads may run meanwhile. When the deadline passes or we end, the thread comes back alone.
// Errors as above.
struct error *os_inject_function(struct os_injection *injection, uint64_t code, uint64_t argument,
                                 uint64_t deadline_ns);

// Writes memory of a process, and a word of it where it may not be written, for which the calling
// thread must trace tid. A word is written whole or not at all.
struct error *os_inject_write(int pid, uint64_t address, const void *bytes, size_t n);
struct error *os_inject_poke(int tid, uint64_t address, uint64_t word);

// Makes a copy of the process by clone, which we trace from its birth and which is killed when we
// end. It shares no memory but what the target shares with others, tells its parent nothing when it
// ends, and stands stopped in the state of the thread. *ret_errno is that of a clone that failed,
// else 0 with injection->child set. Errors as above.
struct error *os_inject_clone(struct os_injection *injection, uint64_t deadline_ns, int *ret_errno);

// The two halves of a call, for tests that end in between. call NULL: the clone.
struct error *os_inject_arm(struct os_injection *injection, const struct os_call *call);
struct error *os_inject_disarm(struct os_injection *injection);

// Makes a stopped thread wait again, if that is a wait which our interrupt ended with EINTR (epoll_wait
// and some others). A signal of its own still ends it.
void os_inject_undo_interrupt(int tid, const uint64_t *registers, size_t count);

// Runs entry(argument) in a stopped disposable process until it executes a breakpoint instruction.
// os_inject_start lets it run; os_inject_stopped judges the stop that a wait reported: *ret_again is
// set when it goes on and has to be waited for again. ERROR_FAULT names the address that the code touched.
struct error *os_inject_start(const struct os_injection *injection, uint64_t entry,
                              uint64_t argument, uint64_t stack);
struct error *os_inject_stopped(int tid, const struct os_stop *stop, bool *ret_again);

// --- inject_guardian.c ---------------------------------------------------------------------------
// Forks a process with a session and name of its own, without our descriptors, deaf to the terminal's
// signals. *ret_pid is 0 in it. Each side gets its end of a channel that reports the other's death.
struct error *os_guardian_fork(const char *name, int *ret_pid, int *ret_channel);
void os_guardian_exit(int status) __attribute__((noreturn));

// Takes a name that one process of this machine can have at a time, until it ends. False when it is
// taken.
bool os_claim(const char *name);

// Whole messages; false when the other side is gone.
bool os_channel_send(int channel, const void *message, size_t bytes);
bool os_channel_receive(int channel, void *message, size_t bytes);
bool os_channel_closed(int channel);
// Whether a message, or the end of the other side, is there by deadline_ns (monotonic).
bool os_channel_await(int channel, uint64_t deadline_ns);

// Waits for the end of a child or tracee and gives the status as waitpid does, -1 for none.
int os_process_collect(int pid);
void os_process_kill(int pid);

// Makes a process the first victim when memory runs out, and takes real-time rights from it.
void os_process_humble(int pid);

// Zeroed memory shared with processes that we fork, which costs only where it is touched; NULL when
// there is no room. os_release gives it back.
void *os_share(size_t bytes);

// Gives memory behind a descriptor of another process a size and maps it.
struct error *os_share_descriptor(int pid, int descriptor, size_t bytes, void **ret);

// --- inject_room.c -------------------------------------------------------------------------------
// Why there is no room for a copy of a process beside it (a sentence part), or NULL: its control
// groups, its user's limit. process is what os_process_read gave.
const char *os_inject_refuse_room(int pid, const struct os_process *process);
