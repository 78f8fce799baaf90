// SPDX-License-Identifier: MIT
// The handler of SIGSEGV and SIGBUS: tells which block the program left, or used after it was
// freed, then puts the default action back and returns to the instruction, which faults again, so
// that the program dies and leaves a core at the very place, or a debugger stops there. Takes no
// lock of the heap: the records are read as any outside reader would. A handler that the program
// installs itself replaces this one.
#include "guard/guard_impl.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	STACK_BYTES = 64 << 10,
	NEAR_BYTES = 64,                       // a block so near is the one that was meant
	FREED_PENALTY = 16 * GUARD_PAGE_BYTES, // a live block nearby explains more than a freed one
};

static struct inside_lock reporting;

// --- which block ---------------------------------------------------------------------------------

static uint64_t distance(const struct guard_record *record, uint64_t address)
{
	if (address < record->block)
		return record->block - address;
	if (address >= record->block + record->bytes)
		return address - (record->block + record->bytes) + 1;
	return 0;
}

static uint64_t weight(const struct guard_record *record, uint64_t address)
{
	uint32_t state = record ? guard_state(record) : GUARD_UNUSED;
	uint64_t far;

	if (state != GUARD_LIVE && state != GUARD_FREED && state != GUARD_CHECKED)
		return UINT64_MAX;
	far = distance(record, address);
	return far && state == GUARD_FREED ? far + FREED_PENALTY : far;
}

// The block at the address or the nearest of it and its neighbours, and the second nearest when it
// may have been meant as well. Blocks lie at one end of their pages: so an access to the page
// between two of them may come from either.
static void find_nearest(uint64_t address, const struct guard_record *ret[2])
{
	const struct guard_record *here = guard_record_around(address), *found[3];
	uint64_t weights[2] = { UINT64_MAX, UINT64_MAX };

	ret[0] = ret[1] = NULL;
	if (!here) // the page before the first run of an extent
		here = guard_record_around(address + GUARD_PAGE_BYTES);
	if (!here)
		return;
	found[0] = here;
	found[1] = guard_record_around(here->run_start - 1);
	found[2] = guard_record_around(guard_run_end(here) + GUARD_PAGE_BYTES);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t own = weight(found[i], address);
		bool first = own < weights[0];

		if (own >= weights[1])
			continue;
		ret[1] = first ? ret[0] : found[i];
		weights[1] = first ? weights[0] : own;
		ret[0] = first ? found[i] : ret[0];
		weights[0] = first ? own : weights[0];
	}
	if (weights[0] < NEAR_BYTES || weights[1] > 2 * GUARD_PAGE_BYTES)
		ret[1] = NULL;
}

static void report(uint64_t address, const void *context)
{
	const struct guard_record *near[2];

	find_nearest(address, near);
	guard_report_fault(near[0], near[1], address, context);
}

static void handle(int number, siginfo_t *info, void *context)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	uint64_t address = (uintptr_t)info->si_addr;
	bool sent = info->si_code <= 0 || info->si_code == SI_KERNEL;

	// A second thread that faults waits until the report of the first is whole.
	inside_lock(&reporting);
	if (!sent && guard_record_covers(address))
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

// The first thread gets a stack for the handler, so that a report comes even when its own has run
// out.
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
