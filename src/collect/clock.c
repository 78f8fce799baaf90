// SPDX-License-Identifier: MIT
// The clock of the stamps. The processor's counter and CLOCK_MONOTONIC are read together at each round;
// between two readings time is interpolated, so that it goes on without a jump and needs no knowledge
// of the counter's frequency. Called by stream.c and drain.c.
#include "collect/collect_impl.h"

enum {
	// A stamp was taken after its ring was made busy; that store is visible to us when the
	// processor's store buffer is empty, at the latest: some dozen misses of all caches.
	SETTLE_NS = 100000,
	GUESSED_TICKS_PER_NS = 4, // before the first reading; only too long is a matter
	READ_TRIES = 4,
};

#define ONE (UINT64_C(1) << 32)

static uint64_t ticks_now(const struct collect_clock *clock)
{
	return clock->kind == RECORD_CLOCK_TSC ? os_ticks() : os_monotonic_ns();
}

uint64_t collect_clock_ticks(const struct collect_clock *clock)
{
	return ticks_now(clock) - clock->start_ticks;
}

// Both clocks at one moment: of a few tries the one that was interrupted least.
static void read_both(const struct collect_clock *clock, uint64_t *ret_ticks, uint64_t *ret_ns)
{
	uint64_t best = UINT64_MAX; // above any distance

	for (int i = 0; i < READ_TRIES; i++) {
		uint64_t before = ticks_now(clock), ns = os_monotonic_ns();
		uint64_t after = ticks_now(clock);

		if (after - before >= best)
			continue;
		best = after - before;
		*ret_ticks = before + best / 2 - clock->start_ticks;
		*ret_ns = ns - clock->start_ns;
	}
}

void collect_clock_init(struct collect_clock *clock, const struct collect_share *share)
{
	*clock = (struct collect_clock){
		.kind = share->clock,
		.start_ticks = share->clock_start,
		.start_ns = share->start_ns,
		.scale = ONE,
		.settle_ticks = SETTLE_NS,
	};
	if (clock->kind == RECORD_CLOCK_TSC)
		clock->settle_ticks = SETTLE_NS * GUESSED_TICKS_PER_NS;
}

void collect_clock_settle(struct collect_clock *clock, uint64_t until_ticks)
{
	uint64_t ticks = 0, ns = 0;

	if (clock->kind == RECORD_CLOCK_MONOTONIC)
		return;
	// Everything up to until_ticks has its time; the next piece begins there.
	clock->base_ns = collect_clock_ns(clock, until_ticks);
	if (until_ticks > clock->base_ticks)
		clock->base_ticks = until_ticks;
	read_both(clock, &ticks, &ns);
	if (ticks <= clock->base_ticks)
		return;
	clock->scale = ns > clock->base_ns
	                       ? (uint64_t)(((unsigned __int128)(ns - clock->base_ns) << 32) /
	                                    (ticks - clock->base_ticks))
	                       : 0;
}
