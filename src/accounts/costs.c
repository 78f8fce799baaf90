// SPDX-License-Identifier: MIT
// What one process, thread, mapping, pipe, socket, file and library costs the kernel, on this machine as
// it runs: many are made at once, several times, and the median is taken. Called by report/wired.c.
#include <stdlib.h>

#include "accounts/accounts_impl.h"

#define ROUNDS 7

// Enough of each for many slabs, and not too many for a busy machine.
static const struct {
	const char *name;
	unsigned count;
} things[OS_COST_THINGS] = {
	[OS_COST_PROCESS] = { "process", 100 },
	[OS_COST_THREAD] = { "thread", 400 },
	[OS_COST_RUNNING] = { "thread, running", 200 },
	[OS_COST_MAPPING] = { "mapping", 20000 },
	[OS_COST_PIPE] = { "pipe, empty", 4000 },
	[OS_COST_FILE] = { "open file", 4000 },
	[OS_COST_LOCAL_SOCKET] = { "socket, local", 4000 },
	[OS_COST_TCP_SOCKET] = { "socket, TCP", 4000 },
	[OS_COST_UDP_SOCKET] = { "socket, UDP", 4000 },
	[OS_COST_LIBRARY] = { "library, once", 2000 },
	[OS_COST_LIBRARY_USE] = { "library, each process", 6000 },
};

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

// Of something that cannot be negative; a machine that frees meanwhile may make it so.
static uint64_t median(int64_t values[ROUNDS], unsigned count)
{
	qsort(values, count, sizeof(values[0]), compare);
	return values[count / 2] > 0 ? (uint64_t)values[count / 2] : 0;
}

static void measure_one(enum os_cost_thing thing, struct wired_cost *ret)
{
	int64_t sums[ROUNDS], parts[OS_COST_COUNTS][ROUNDS];

	*ret = (struct wired_cost){ .name = things[thing].name };
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct os_cost cost;

		if (os_cost_measure(thing, things[thing].count, &cost))
			continue;
		sums[ret->rounds] = 0;
		for (unsigned i = 0; i < OS_COST_COUNTS; i++) {
			parts[i][ret->rounds] = cost.bytes[i] / (int64_t)cost.count;
			sums[ret->rounds] += cost.bytes[i];
		}
		sums[ret->rounds] /= (int64_t)cost.count;
		ret->count = cost.count;
		ret->rounds++;
	}
	ret->known = ret->rounds;
	if (!ret->known)
		return;
	ret->bytes = median(sums, ret->rounds);
	ret->least_bytes = sums[0] > 0 ? (uint64_t)sums[0] : 0;
	ret->most_bytes = sums[ret->rounds - 1] > 0 ? (uint64_t)sums[ret->rounds - 1] : 0;
	for (unsigned i = 0; i < OS_COST_COUNTS; i++)
		ret->parts[i] = median(parts[i], ret->rounds);
}

void wired_costs_measure(struct wired_cost *costs)
{
	for (enum os_cost_thing i = 0; i < OS_COST_THINGS; i++)
		measure_one(i, &costs[i]);
}
