// SPDX-License-Identifier: MIT
// Heap checks: the core's check of its own tables, then the edges of every live block and the filling
// of every free one. At the calls of malloc that the settings name, on demand, and at the end of the
// program. Findings are gathered while the heap stands still and told afterwards.
#include "debug/debug_impl.h"

#include "os/inside.h"

enum {
	FINDINGS = 32,     // told of one check; more are counted
	LINES_IN_FULL = 5, // passed checks, each with its line; then one line a second
	NARROWER = 10,     // into so many parts a suggestion cuts the operations in question
	NS_PER_SECOND = 1000000000,
};

struct findings {
	struct debug_damage damage[FINDINGS];
	size_t count;   // may be more than FINDINGS
	bool known_too; // something is damaged that was told before
};

static uint64_t operations;      // calls of malloc so far
static struct inside_lock check; // one at a time; guards the rest
static uint64_t last_good, checks_passed, checks_told, told_ns;
static bool ever_passed, slept;

static void add(struct findings *findings, const struct debug_block *block,
                const struct debug_damage *damage)
{
	if (block->flags & MALLOC_NOTE_REPORTED)
		findings->known_too = true;
	else if (findings->count++ < FINDINGS)
		findings->damage[findings->count - 1] = *damage;
}

static bool gather(void *context, const struct debug_block *block)
{
	struct findings *findings = context;
	struct debug_damage damage;

	if (!(block->flags & MALLOC_NOTE_LIVE)) {
		if (debug_damage_filling(block, &damage))
			add(findings, block, &damage);
		return true;
	}
	if (debug_damage_before(block, &damage))
		add(findings, block, &damage);
	if (debug_damage_behind(block, &damage))
		add(findings, block, &damage);
	return true;
}

static void tell(const struct findings *findings)
{
	size_t told = findings->count < FINDINGS ? findings->count : FINDINGS;

	for (size_t i = 0; i < told; i++)
		debug_damage_report(&findings->damage[i], false);
	if (findings->count > told)
		malloc_message("*** and %zu more damaged blocks", findings->count - told);
}

// True when the heap is sound; findings->known_too may be set all the same. A handler that interrupted a
// call that changes the heap sees nothing: its thread may hold locks that a look needs.
static bool look(struct findings *findings)
{
	bool sound;

	findings->count = 0;
	findings->known_too = false;
	if (debug_gate_inside())
		return true;
	sound = malloc_core_check(NULL);
	debug_walk(gather, findings);
	return sound && !findings->count;
}

// --- at operations --------------------------------------------------------------------------------
static void tell_passed(uint64_t operation)
{
	uint64_t now_ns = inside_coarse_ns();

	checks_passed++;
	if (checks_passed > LINES_IN_FULL && now_ns - told_ns < NS_PER_SECOND)
		return;
	if (checks_passed - checks_told > 1)
		malloc_message(
			"MallocCheckHeap: PASSED check at operation #%lu (and %lu checks before it)",
			operation, checks_passed - checks_told - 1);
	else
		malloc_message("MallocCheckHeap: PASSED check at operation #%lu", operation);
	checks_told = checks_passed;
	told_ns = now_ns;
}

static void tell_narrower(uint64_t operation)
{
	uint64_t between = operation - last_good;

	if (!ever_passed) {
		malloc_message(
			"*** No check passed before: the damage was done up to here; use a smaller "
			"MallocCheckHeapStart than %lu",
			debug_settings.check_start);
		return;
	}
	malloc_message(
		"*** The heap was last good at operation #%lu: the damage was done between then "
		"and now",
		last_good);
	if (between > 1)
		malloc_message(
			"*** To narrow it down: MallocCheckHeapStart=%lu MallocCheckHeapEach=%lu",
			last_good, between / NARROWER ? between / NARROWER : 1);
	else
		malloc_message(
			"*** That is between two calls of malloc: the second one is under way now");
}

static void stop_or_sleep(void)
{
	int64_t seconds = debug_settings.check_sleep_seconds;

	malloc_error_break();
	if (inside_traced()) {
		inside_trap();
		return;
	}
	if (debug_settings.check_abort)
		inside_abort();
	if (!seconds || (seconds < 0 && slept))
		return;
	slept = true;
	seconds = seconds < 0 ? -seconds : seconds;
	malloc_message("*** Sleeping for %ld seconds, so that a debugger can be attached", seconds);
	inside_sleep_seconds((uint64_t)seconds);
}

static void check_at(uint64_t operation)
{
	struct findings findings;
	uint64_t signals = inside_signals_block(); // a handler might check as well

	inside_lock(&check);
	if (look(&findings)) {
		if (!findings.known_too)
			tell_passed(operation);
		last_good = operation;
		ever_passed = true;
		inside_unlock(&check);
		inside_signals_restore(signals);
		return;
	}
	malloc_message("*** MallocCheckHeap: FAILED check at operation #%lu", operation);
	tell(&findings);
	tell_narrower(operation);
	inside_unlock(&check);
	inside_signals_restore(signals);
	stop_or_sleep();
}

void debug_check_operation(void)
{
	uint64_t operation;

	if (!debug_settings.check_heap)
		return;
	operation = __atomic_fetch_add(&operations, 1, __ATOMIC_RELAXED);
	if (operation >= debug_settings.check_start &&
	    (operation - debug_settings.check_start) % debug_settings.check_each == 0 &&
	    !debug_gate_inside())
		check_at(operation);
}

// --- on demand and at the end ---------------------------------------------------------------------
bool debug_check_all(void)
{
	struct findings findings;
	bool sound = look(&findings);

	tell(&findings);
	return sound && !findings.known_too;
}

// By the rules of whoever found the damage: heap checks end the program only when they are told to.
static void end_damaged(const struct findings *findings)
{
	if (debug_settings.check_heap && debug_settings.check_abort)
		inside_abort();
	if (!debug_settings.check_heap)
		malloc_fault(
			MALLOC_FAULT_CORRUPTION,
			"*** The heap is damaged at the end of the program: %zu place%s, listed "
			"above",
			findings->count, findings->count == 1 ? "" : "s");
}

void debug_finish(void)
{
	static bool finished;
	struct findings findings;

	if (__atomic_exchange_n(&finished, true, __ATOMIC_RELAXED))
		return;
	if (look(&findings))
		return;
	if (debug_settings.check_heap)
		malloc_message("*** MallocCheckHeap: FAILED check at the end, after operation #%lu",
		               operations);
	tell(&findings);
	if (debug_settings.check_heap)
		tell_narrower(operations);
	end_damaged(&findings);
}

MALLOC_AT_START __attribute__((destructor)) static void finish_at_exit(void)
{
	if (debug_wanted(&debug_settings))
		debug_finish();
}

void debug_check_child(void)
{
	check.state = 0;
}
