// SPDX-License-Identifier: MIT
/*
 * A main arena that is not one piece: the program itself moves the break between allocations, and
 * later a mapping in the way makes glibc carry on in mappings of its own.
 */
#include "plant.h"

#include <sys/mman.h>

enum { PER_STEP = 300 };

static held_pointer live[3000];
static int live_count;
static held_pointer foreign;

PLANT void plant_some(void)
{
	for (int i = 0; i < PER_STEP; i++) {
		live[live_count] = plant_block(1000);
		truth_live(live[live_count++], "global");
		if (i % 10 == 0)
			plant_leak(1000);
	}
}

// The memory in between belongs to the program, and holds the only pointer to a block.
PLANT void take_break(void)
{
	held_pointer *own = sbrk(12345 & ~15);

	if (own == (void *)-1)
		plant_fail("sbrk");
	foreign = NULL;
	own[100] = plant_block(1010);
	truth_live(own[100], "memory taken with sbrk");
}

PLANT void block_break(void)
{
	uintptr_t end = ((uintptr_t)sbrk(0) + 4095) & ~(uintptr_t)4095;
	void *obstacle = mmap((void *)(end + 8 * 4096), 4096, PROT_NONE,
	                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (obstacle == MAP_FAILED)
		plant_fail("mmap above the break");
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant_some();
	take_break();
	plant_some();
	take_break();
	plant_some();
	block_break();
	for (int i = 0; i < 5; i++)
		plant_some();
	plant_serve(NULL);
}
