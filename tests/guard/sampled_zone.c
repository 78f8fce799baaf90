// SPDX-License-Identifier: MIT
// Prints how many blocks the default zone lists, and how many it counts, after a thousand calls of
// malloc. Used by test-options.
#include <malloc/malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 1000 };

static void *blocks[BLOCKS];
static unsigned listed;

// Counts the program's own blocks: others of the library or of libc may be in the zone as well.
static void record(task_t task, void *context, unsigned type, vm_range_t *ranges, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < BLOCKS; j++)
			listed += ranges[i].address == (vm_address_t)blocks[j];
}

int main(void)
{
	malloc_statistics_t statistics;
	vm_address_t *zones;
	malloc_zone_t *zone;
	unsigned count;

	for (unsigned i = 0; i < BLOCKS; i++)
		blocks[i] = malloc(40);
	if (malloc_get_all_zones(0, NULL, &zones, &count))
		return 1;
	zone = (malloc_zone_t *)zones[0];
	if (zone->introspect->enumerator(0, NULL, MALLOC_PTR_IN_USE_RANGE_TYPE, zones[0], NULL,
	                                 record))
		return 1;
	malloc_zone_statistics(zone, &statistics);
	printf("%u listed, counted: %s\n", listed,
	       statistics.blocks_in_use >= BLOCKS && statistics.size_in_use >= BLOCKS * (size_t)40
	               ? "yes"
	               : "no");
	return 0;
}
