// SPDX-License-Identifier: MIT
// System calls for code that runs inside the program: they leave errno alone, allocate nothing, use
// no stdio, and go past libc's own functions for them, which somebody may have replaced. Functions
// return 0 or a negated errno unless they say otherwise. All are thread-safe and may be called from
// a signal handler and between fork and exec.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/aarch64/counter.h"
#include "os/x86_64/counter.h"

// Calls that every program makes at its start lie together with the other code of that kind: the linker
// puts what is hot first, and the kernel maps files by 64 KiB around the page that is touched.
#define INSIDE_AT_START __attribute__((hot))

// Variables, zero at the start, that few programs write, or write in a place that cannot be foretold: they
// lie apart from the small ones that all programs write, which then fit a page.
#define INSIDE_RARELY __attribute__((section(".bss.rarely")))

// --- inside_memory.c ------------------------------------------------------------------------------
enum inside_protection {
	INSIDE_NO_ACCESS,
	INSIDE_READ_ONLY,
	INSIDE_READ_WRITE,
};

// Zeroed private memory at an address that is a multiple of alignment (a power of two, at least a
// page); NULL when there is none. Costs memory only where it is touched; INSIDE_NO_ACCESS does not
// count against overcommit limits until it is made accessible.
INSIDE_AT_START void *inside_map(size_t bytes, size_t alignment, enum inside_protection protection);
INSIDE_AT_START void inside_unmap(void *memory, size_t bytes);
INSIDE_AT_START int inside_protect(void *memory, size_t bytes, enum inside_protection protection);

// Moves pages: the old range is unmapped, the new one (old_bytes or more) is at new_address, which
// was mapped by inside_map. 0 or an error; on an error nothing has changed.
INSIDE_AT_START int inside_move(void *old, size_t old_bytes, void *new_address, size_t new_bytes);

// Gives the pages back at once; they read as zero afterwards. An error means that they may not.
INSIDE_AT_START int inside_discard(void *memory, size_t bytes);

// Bit 0 of ret[i]: the page is in memory. Both multiples of the page size.
int inside_residents(void *memory, size_t bytes, unsigned char *ret);

// Lets the kernel take the pages when it needs memory, until each is written to; then they read as zero.
int inside_offer(void *memory, size_t bytes);

// Pages that fault without splitting the mapping (Linux 6.13); -EINVAL on an older kernel.
int inside_guard_install(void *memory, size_t bytes);
int inside_guard_remove(void *memory, size_t bytes);

// Name in /proc/PID/maps, where the kernel supports that.
INSIDE_AT_START void inside_name(void *memory, size_t bytes, const char *name);

// --- inside_lock.c --------------------------------------------------------------------------------
// A lock of four bytes, all zero when nobody holds it. Not recursive. After fork the child sets those
// it took over to zero.
struct inside_lock {
	uint32_t state;
};

INSIDE_AT_START void inside_lock_wait(struct inside_lock *lock);
INSIDE_AT_START void inside_lock_wake(struct inside_lock *lock);

static inline bool inside_lock_try(struct inside_lock *lock)
{
	uint32_t nobody = 0;

	return __atomic_compare_exchange_n(&lock->state, &nobody, 1, false, __ATOMIC_ACQUIRE,
	                                   __ATOMIC_RELAXED);
}

static inline void inside_lock(struct inside_lock *lock)
{
	if (!inside_lock_try(lock))
		inside_lock_wait(lock);
}

static inline void inside_unlock(struct inside_lock *lock)
{
	if (__atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE) != 1)
		inside_lock_wake(lock);
}

// The process has one thread for sure, and another one would be made by this one: what libc's own malloc
// relies on. Not everywhere known; then false.
extern char __libc_single_threaded __attribute__((weak)); // of glibc 2.32

static inline bool inside_alone(void)
{
	return &__libc_single_threaded && __libc_single_threaded;
}

// --- inside_signals.c -----------------------------------------------------------------------------
// Keeps all signals but those of faults from the calling thread, until it restores the mask that the
// first call returned. Two system calls, 0.4 us.
INSIDE_AT_START uint64_t inside_signals_block(void);
INSIDE_AT_START void inside_signals_restore(uint64_t before);

// --- inside_process.c -----------------------------------------------------------------------------
int inside_process_id(void);
INSIDE_AT_START int inside_thread_id(void);
INSIDE_AT_START uint32_t
inside_processors(uint32_t most);                // that the thread may use, at most so many
INSIDE_AT_START uint64_t inside_coarse_ns(void); // monotonic, cheap, some ms exact
uint64_t inside_monotonic_ns(void);
uint64_t inside_wall_ns(void); // since the epoch
bool inside_process_lives(int process_id);
uint64_t inside_block_signals(void); // all; the mask before, for inside_unblock_signals
void inside_unblock_signals(uint64_t before);
bool inside_on_signal_stack(void);                          // of sigaltstack
bool inside_write(int fd, const void *bytes, size_t count); // false: only as much as goes
int inside_open_log(const char *path);                      // appending; a descriptor or an error
size_t inside_random(void *buffer, size_t bytes);
bool inside_traced(void); // a debugger traces this process
void inside_sleep_seconds(uint64_t seconds);
void inside_stop(void);            // SIGSTOP to the whole process; returns when it is continued
_Noreturn void inside_abort(void); // SIGABRT, whatever the program did with it
void inside_trap(void); // os/<cpu>/trap.c: SIGTRAP here; returns when a debugger continues

// --- inside_environment.c -------------------------------------------------------------------------
// Good before libc is set up. What is returned lies in the program's own environment.
INSIDE_AT_START char **inside_environment(void); // its block, ended by NULL; NULL: none is known
INSIDE_AT_START const char *inside_program_name(void); // its first argument; "": not known
// The value in NAME=VALUE; NULL when it is another variable.
INSIDE_AT_START char *inside_variable_value(char *entry, const char *name);
INSIDE_AT_START const char *inside_variable(const char *name); // NULL: not set
// Takes libraries out of a value of LD_PRELOAD, whose parts the loader separates by colons and spaces;
// false when nothing is left of it. Not thread-safe.
bool inside_preload_remove(char *list, bool (*is_ours)(const char *path, size_t length));

// --- inside_number.c ------------------------------------------------------------------------------
enum { INSIDE_NUMBER_BYTES = 24 }; // any number in decimal digits, and its NUL

// The digits and a NUL, the NUL right before end; returns the first digit.
char *inside_number_text(char *end, uint64_t n);
// Decimal digits, with units also k, M or G behind them, which are powers of 1,024. False when the text
// is anything else, or the number is too big.
bool inside_number_read(const char *text, size_t length, bool units, uint64_t *ret);

// --- inside_share.c -------------------------------------------------------------------------------
// A memfd, closed on exec, with a number that programs do not expect to get; or a negated errno.
int inside_share_create(const char *name);
// Gives it a length, for good, and maps it so that both processes see what either writes; costs memory
// only where it is touched.
int inside_share_map(int fd, uint64_t bytes, void **ret);
void inside_close(int fd);
// A child made by fork finds zeros there, one that shares memory does not. -EINVAL before Linux 4.14.
int inside_wipe_on_fork(void *memory, size_t bytes);
// Sleeps while the word is value, for limit_ns at most; may return early.
void inside_share_wait(uint32_t *word, uint32_t value, uint64_t limit_ns);
void inside_share_wake(uint32_t *word); // all who sleep

// --- inside_spawn.c -------------------------------------------------------------------------------
enum { INSIDE_SPAWN_DESCRIPTOR = 3 };

// Memory that no other process of ours shall keep.
struct inside_spawn_own {
	void *memory;
	size_t bytes;
};

// Starts a program that is no child of ours, in a session of its own, with our standard error, nothing
// for its other standard files, and descriptor as its number INSIDE_SPAWN_DESCRIPTOR. Words and
// environment end with NULL. The calling thread waits until the program was loaded. Its id, or a
// negated errno.
int inside_spawn(const char *path, const char *const *words, const char *const *environment,
                 int descriptor, const struct inside_spawn_own *own);

// --- os/<cpu>/counter.h, counter.c ------------------------------------------------------------------
// uint64_t inside_ticks(void), of the processor's clock, and inside_ticks_after_loads(void), when all before
// was read from memory: inline, in the header.
bool inside_ticks_steady(void); // they measure time, alike on all processors

// --- os/<cpu>/stream.c ----------------------------------------------------------------------------
// Copies or clears so many times 64 bytes without keeping them in the caches. The target is a multiple
// of 64; the ranges do not overlap.
void inside_stream_copy(void *to, const void *from, size_t lines);
void inside_stream_zero(void *to, size_t lines);

// --- inside_batch.c -------------------------------------------------------------------------------
enum { INSIDE_BATCH = 64 }; // ranges at most, in one call

// inside_guard_remove for count ranges of the same length.
int inside_guard_remove_many(void *const *starts, unsigned count, size_t bytes);

// Has the kernel make count fresh pages (the first byte of each becomes 0). Only a hint.
void inside_touch_many(void *const *starts, unsigned count);

// --- inside_limits.c ------------------------------------------------------------------------------
uint64_t inside_mapping_limit(void); // mappings that a process may have (vm.max_map_count)
uint64_t inside_address_limit(void); // bytes of address space (RLIMIT_AS); UINT64_MAX: no limit

// --- inside_module.c ------------------------------------------------------------------------------
struct inside_module {
	uint64_t offset; // of the address from the first mapping of the file
	char path[256];  // cut to fit, NUL at the end
};

// Which mapped file holds the address; false when it is in none or the maps cannot be read. Cost grows
// with the number of mappings.
bool inside_module_at(uintptr_t address, struct inside_module *ret);

struct inside_mapping {
	uintptr_t start, end;
	const char *path; // of the mapped file, as the kernel prints it; NULL: none
};

// All mappings of this process, while they may change.
void inside_mappings_each(void (*each)(void *context, const struct inside_mapping *mapping),
                          void *context);

// Where a file is mapped first in a process (0: this one), whose path is as inside_module_at gives it.
bool inside_module_find(int process_id, const char *path, uintptr_t *ret_start);

// The file of this program. False when it cannot be known or does not fit, with its NUL.
bool inside_program_path(char *ret, size_t bytes);

// Device and inode of the file that has this path now.
bool inside_file_identity(const char *path, uint64_t *ret_device, uint64_t *ret_inode);

// --- inside_probe.c -------------------------------------------------------------------------------
// Whether the 8 bytes at address can be read.
bool inside_readable_word(const void *address);

// The ends of the heap that sbrk moves; 0 when they cannot be known.
uintptr_t inside_break_start(void);
uintptr_t inside_break_end(void);

// --- os/<cpu>/fault.c -----------------------------------------------------------------------------
enum inside_access {
	INSIDE_ACCESS_UNKNOWN,
	INSIDE_ACCESS_READ,
	INSIDE_ACCESS_WRITE,
	INSIDE_ACCESS_EXECUTE,
};

// From the third argument of a handler of SIGSEGV or SIGBUS: what the access was, and the address of
// the instruction that made it.
enum inside_access inside_fault_access(const void *context);
uintptr_t inside_fault_code(const void *context);

// --- inside_crash.c -------------------------------------------------------------------------------
// The second argument points to the siginfo_t, the third to the ucontext_t.
typedef void inside_crash_handler(int signal, void *info, void *context);

// Installs a handler where the action is still the default; false otherwise.
bool inside_crash_catch(int signal, inside_crash_handler *handler);
// From the handler: the action is the default again, and the signal comes again when it returns.
void inside_crash_let(int signal, const void *info);
// Gives the calling thread a stack for handlers, of memory that map returns, unless it has one.
void inside_crash_stack(void *(*map)(size_t bytes), size_t bytes);
// The address that the processor could not use; false when it names none (x86-64 names none that is
// not canonical).
bool inside_crash_address(const void *info, uintptr_t *ret);

// Reads memory of this process that may not be there; all or nothing.
bool inside_peek(uintptr_t address, void *buffer, size_t bytes);
INSIDE_AT_START void inside_yield(void); // lets other threads run

// --- os/<cpu>/operand.c ---------------------------------------------------------------------------
enum { INSIDE_OPERANDS = 6 };

// What the faulting instruction made its address of.
struct inside_operands {
	uint64_t address; // of the memory it uses, or where it goes to
	bool has_address;
	enum inside_access access; // where the instruction tells
	unsigned count;
	uint64_t values[INSIDE_OPERANDS]; // of registers, or the target that was read from memory
};

void inside_fault_operands(const void *context, struct inside_operands *ret);

// --- os/<cpu>/frame.c -----------------------------------------------------------------------------
enum { INSIDE_REGISTERS = 33 }; // at most, with the program counter

// What a walk through the stack must know of the processor. Registers have their DWARF numbers.
struct inside_frame {
	uint8_t sp, bp, pc; // bp: what frame records or large frames use
	uint8_t registers;
	bool has_records; // all code can be trusted to keep frame records
	uint16_t context; // from the stack pointer at the signal stub to the ucontext_t
	uint16_t saved[INSIDE_REGISTERS]; // offsets in ucontext_t
};

extern const struct inside_frame inside_frame;

// glibc and musl: top of the stack of all threads but the main
INSIDE_AT_START uintptr_t inside_thread_pointer(void);
// Whether the code (16 bytes that can be read) returns from a signal handler; and whether a call may end
// right before it (8 bytes).
bool inside_signal_stub(const void *code);
bool inside_follows_call(const uint8_t *code);
bool inside_follows_computed_call(const uint8_t *code); // one whose target is no constant
// Stores the caller's registers that outlive calls, as they are after the return. Gives a bit for each.
uint64_t inside_registers(uint64_t registers[INSIDE_REGISTERS]);
uintptr_t inside_stack_top(void);   // of the main thread; 0: unknown
uintptr_t inside_stack_first(void); // its stack pointer when the process began; 0: unknown
