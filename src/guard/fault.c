// SPDX-License-Identifier: MIT
// The handler of SIGSEGV and SIGBUS: tells which block the program left, or used after it was freed,
// then puts the default action back and returns to the instruction, which faults again, so that the
// program dies and leaves a core at the very place, or a debugger stops there. Takes no lock of the
// heap: the records are read as any outside reader would. A handler that the program installs itself
// replaces this one.
#include "guard/guard_impl.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	STACK_BYTES = 64 << 10,
	FREED_PENALTY = 16 * GUARD_PAGE_BYTES, // a live block nearby explains more than a freed one
};

static struct inside_lock reporting;

void guard_format(char *buffer, size_t bytes, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	malloc_format(buffer, bytes, format, arguments);
	va_end(arguments);
}

const char *guard_place_of(uint64_t address, struct guard_place *ret)
{
	struct inside_module module;
	const char *slash;

	if (!address)
		return memcpy(ret->text, "an unknown place", 17);
	if (inside_module_at(address, &module)) {
		slash = strrchr(module.path, '/');
		guard_format(ret->text, sizeof(ret->text), "%s+0x%lx",
		             slash ? slash + 1 : module.path, module.offset);
	} else {
		guard_format(ret->text, sizeof(ret->text), "%p", (void *)address);
	}
	return ret->text;
}

// --- which block ----------------------------------------------------------------------------------

static uint64_t distance(const struct guard_record *record, uint64_t address)
{
	if (address < record->block)
		return record->block - address;
	if (address >= record->block + record->bytes)
		return address - (record->block + record->bytes) + 1;
	return 0;
}

static void weigh(const struct guard_record *record, uint64_t address,
                  const struct guard_record **best, uint64_t *best_distance)
{
	uint32_t state = record ? guard_state(record) : GUARD_UNUSED;
	uint64_t far;

	if (state != GUARD_LIVE && state != GUARD_FREED && state != GUARD_CHECKED)
		return;
	far = distance(record, address);
	if (far && state == GUARD_FREED)
		far += FREED_PENALTY;
	if (!*best || far < *best_distance) {
		*best = record;
		*best_distance = far;
	}
}

// The block at the address, or the nearest of it and its neighbours.
static const struct guard_record *nearest(uint64_t address)
{
	const struct guard_record *here = guard_record_around(address), *best = NULL;
	uint64_t best_distance = 0;

	if (!here)
		return NULL;
	weigh(here, address, &best, &best_distance);
	weigh(guard_record_around(here->run_start - 1), address, &best, &best_distance);
	weigh(guard_record_around(guard_run_end(here) + GUARD_PAGE_BYTES), address, &best,
	      &best_distance);
	return best;
}

// --- the report -----------------------------------------------------------------------------------

static void describe_position(const struct guard_record *record, uint64_t address,
                              struct guard_place *ret)
{
	uint64_t end = record->block + record->bytes;

	if (address < record->block)
		guard_format(ret->text, sizeof(ret->text), "%zu bytes before",
		             record->block - address);
	else if (address >= end && guard_state(record) != GUARD_FREED)
		guard_format(ret->text, sizeof(ret->text), "%zu bytes behind the end of",
		             address - end);
	else
		guard_format(ret->text, sizeof(ret->text), "%zu bytes into",
		             address - record->block);
}

static void report_block(const struct guard_record *record, uint64_t address, const char *access)
{
	bool freed = guard_state(record) == GUARD_FREED;
	struct guard_place position, place;

	describe_position(record, address, &position);
	malloc_message("*** GuardMalloc: invalid %s at %p: %s the %sblock %p of %zu bytes", access,
	               (void *)address, position.text, freed ? "freed " : "", (void *)record->block,
	               record->bytes);
	malloc_message("*** GuardMalloc: block %p was allocated by thread %u at %s",
	               (void *)record->block, record->allocated_by,
	               guard_place_of(record->allocated_from, &place));
	if (freed)
		malloc_message("*** GuardMalloc: block %p was freed by thread %u at %s",
		               (void *)record->block, record->freed_by,
		               guard_place_of(record->freed_from, &place));
}

static bool within_extents(uint64_t address)
{
	const struct guard_extent *extents = (const void *)guard_descriptor.extents;
	uint32_t count = __atomic_load_n(&guard_descriptor.extent_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count; i++)
		if (address >= extents[i].start && address < extents[i].end)
			return true;
	return false;
}

static void report(uint64_t address, const void *context)
{
	static const char *const accesses[] = { "access", "read", "write", "execution" };
	const char *access = accesses[inside_fault_access(context)];
	const struct guard_record *record = nearest(address);
	struct guard_place place;

	if (record)
		report_block(record, address, access);
	else
		malloc_message(
			"*** GuardMalloc: invalid %s at %p: in guarded memory, near no block",
			access, (void *)address);
	malloc_message("*** GuardMalloc: the instruction is at %s in thread %u",
	               guard_place_of(inside_fault_code(context), &place),
	               (unsigned)inside_thread_id());
}

static void handle(int number, siginfo_t *info, void *context)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	uint64_t address = (uintptr_t)info->si_addr;
	bool sent = info->si_code <= 0 || info->si_code == SI_KERNEL;

	// A second thread that faults waits until the report of the first is whole.
	inside_lock(&reporting);
	if (!sent && within_extents(address))
		report(address, context);
	sigaction(number, &action, NULL);
	inside_unlock(&reporting);
	// Nothing would raise a signal again that somebody sent.
	if (info->si_code <= 0)
		syscall(SYS_tgkill, inside_process_id(), inside_thread_id(), number);
}

static void install(int number)
{
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction before;

	sigemptyset(&action.sa_mask);
	if (!sigaction(number, NULL, &before) && before.sa_handler == SIG_DFL)
		sigaction(number, &action, NULL);
}

// The first thread gets a stack for the handler, so that a report comes even when its own has run out.
void guard_fault_start(void)
{
	stack_t stack = { .ss_size = STACK_BYTES }, before;

	if (!sigaltstack(NULL, &before) && before.ss_flags & SS_DISABLE) {
		stack.ss_sp = guard_metadata_map(STACK_BYTES);
		if (stack.ss_sp)
			sigaltstack(&stack, NULL);
	}
	install(SIGSEGV);
	install(SIGBUS);
}
