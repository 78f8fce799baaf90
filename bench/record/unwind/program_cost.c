// SPDX-License-Identifier: MIT
// A preload that walks the stack at each allocation and free, and prints at the end what a walk took in
// that program: ns per event (by the processor's clock; walks of more than 20 us were interrupted and do
// not count), frames per stack, nodes. Built and run by bench/record/unwind/run.
#include <errno.h>
#include <stdio.h>

#include "../../../tests/record/walking.h"

enum { EVENTS_MIN = 1000 };

static struct record_header *header;
static struct record_unwinder *unwinder;
static __thread int busy;
static uint64_t events, frames, ticks, limit_ticks = UINT64_MAX, start_ticks, start_ns;

static void start(void)
{
	struct record_header *made = walking_start();

	unwinder = map(sizeof(*unwinder));
	start_ticks = inside_ticks();
	start_ns = inside_monotonic_ns();
	header = made;
}

static double ns_of(uint64_t count)
{
	return (double)count * (double)(inside_monotonic_ns() - start_ns) /
	       (double)(inside_ticks() - start_ticks);
}

static void event(const struct record_position *at)
{
	uint64_t before, took;

	if (!busy++) {
		if (!header)
			start();
		before = inside_ticks();
		record_unwinder_node(unwinder, at);
		took = inside_ticks() - before;
		if (events++ == EVENTS_MIN) // the clock's rate is known by then
			limit_ticks = (uint64_t)(20000 / ns_of(1));
		ticks += took < limit_ticks ? took : 0;
		frames += unwinder->frame_count;
	}
	busy--;
}

__attribute__((destructor)) static void finish(void)
{
	busy++;
	if (events >= EVENTS_MIN)
		fprintf(stderr,
		        "%-10s %9lu events %6.0f ns per stack, %.1f frames, %u nodes, %lu truncated\n",
		        program_invocation_short_name, events, ns_of(ticks) / (double)events,
		        (double)frames / (double)events, header->node_count, unwinder->truncated);
}
