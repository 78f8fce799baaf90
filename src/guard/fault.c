// SPDX-License-Identifier: MIT
// The handler of SIGSEGV and SIGBUS: tells which block the program left, or used after it was
// freed, then puts the default action back and returns to the instruction, which faults again, so
// that the program dies and leaves a core at the very place, or a debugger stops there. Takes no
// lock of the heap: the records are read as any outside reader would. A handler that the program
// installs itself replaces this one.
#include "guard/guard_impl.h"

#include <signal.h>

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

static void on_crash(int number, void *info, void *context)
{
	uintptr_t address;

	// A second thread that faults waits until the report of the first is whole.
	inside_lock(&reporting);
	if (inside_crash_address(info, &address) && guard_record_covers(address))
		report(address, context);
	inside_crash_let(number, info);
	inside_unlock(&reporting);
}

// The first thread gets a stack for the handler, so that a report comes even when its own has run
// out.
void guard_fault_start(void)
{
	inside_crash_stack(guard_metadata_map, STACK_BYTES);
	inside_crash_catch(SIGSEGV, on_crash);
	inside_crash_catch(SIGBUS, on_crash);
}
