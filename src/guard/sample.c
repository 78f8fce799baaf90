// SPDX-License-Identifier: MIT
// The sampled mode, for programs in production: one in so many allocations gets guarded pages,
// within a bound of slots and of memory, and the rest costs a count per call. How far away the next
// one is, is random per thread, so that no pattern of the program hides a call from it. A signal handler
// may lose a count, which is why it is read once and written once.
#include "guard/guard_impl.h"

enum {
	AT_START_PERCENT = 10
}; // of the sampled blocks lie at the start of their pages, for underruns

static __thread uint32_t calls_left;
static __thread uint64_t random_state;

// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled".
static uint32_t random_number(void)
{
	if (!random_state && inside_random(&random_state, sizeof(random_state)) == 0)
		random_state = (uintptr_t)&random_state ^ (uint64_t)guard_thread_id() << 32;
	random_state |= !random_state;
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)(random_state * 0x2545f4914f6cdd1dULL >> 32);
}

// On average sample_every.
static uint32_t next_distance(void)
{
	return 1 + random_number() % (2 * guard_settings.sample_every - 1);
}

static bool within_bounds(const struct guard_request *request)
{
	uint64_t open = __atomic_load_n(&guard_descriptor.open_bytes, __ATOMIC_RELAXED);

	return request->bytes <= GUARD_SLOT_PAGES * GUARD_PAGE_BYTES &&
	       request->alignment <= GUARD_PAGE_BYTES &&
	       open + request->bytes + GUARD_PAGE_BYTES <= guard_settings.sample_budget_bytes;
}

bool guard_sample_skip(void)
{
	uint32_t left = calls_left;

	if (left < 2)
		return false;
	calls_left = left - 1;
	return true;
}

bool guard_sample_take(struct guard_request *request)
{
	uint32_t left;

	if (!guard_settings.sample_every)
		return true;
	left = calls_left ? calls_left : next_distance();
	calls_left = left - 1;
	if (left > 1 || !within_bounds(request))
		return false;
	if (random_number() % 100 < AT_START_PERCENT)
		request->at_start = true;
	return true;
}
