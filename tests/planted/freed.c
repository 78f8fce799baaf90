// SPDX-License-Identifier: MIT
/*
 * Freed blocks in every place where glibc keeps them (tcache, fast, unsorted, small and large
 * bins, the top), and blocks that only a freed block refers to.
 */
#include "plant.h"

enum { BATCH = 40 };

static held_pointer fence[4000];
static int fence_count;

// A live block after each freed one keeps the free chunks apart.
PLANT void *fenced_block(size_t size)
{
	void *block = plant_block(size);

	fence[fence_count] = plant_block(24);
	truth_live(fence[fence_count++], "fence");
	return block;
}

PLANT void free_batch(size_t size, const char *where)
{
	void *block[BATCH];

	for (int i = 0; i < BATCH; i++)
		block[i] = fenced_block(size);
	for (int i = 0; i < BATCH; i++)
		truth_freed(block[i], where);
}

// Freed blocks still hold the only pointers, beyond the words that the allocator overwrites.
PLANT void lose_through_freed(size_t size, const char *where)
{
	void **block[BATCH];

	for (int i = 0; i < BATCH; i++) {
		block[i] = fenced_block(size);
		block[i][6] = plant_block(88);
		truth_direct(block[i][6]);
	}
	for (int i = 0; i < BATCH; i++)
		truth_freed(block[i], where);
}

PLANT void sort_bins(void)
{
	// A request that no freed block can serve sorts the unsorted ones into their bins.
	void *block = plant_block(90 * 1024);

	fence[fence_count] = block;
	truth_live(fence[fence_count++], "fence");
}

PLANT void plant(void)
{
	free_batch(2000, "small bins");
	free_batch(9000, "large bins");
	lose_through_freed(1500, "small bins");
	sort_bins();
	free_batch(1200, "unsorted bin");
	free_batch(24, "tcache and fast bins");
	free_batch(72, "tcache and fast bins");
	free_batch(120, "tcache and fast bins");
	free_batch(300, "tcache and unsorted bin");
	free_batch(1000, "tcache and unsorted bin");
	lose_through_freed(104, "tcache and fast bins");
	lose_through_freed(500, "tcache and unsorted bin");
	truth_freed(plant_block(50 * 1024), "top");
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant();
	plant_serve(NULL);
}
