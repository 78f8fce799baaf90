// SPDX-License-Identifier: MIT
// Blocks with a mapping of their own and aligned ones, lost, held and freed.
#include "plant.h"

static held_pointer live[40];
static int live_count;

PLANT void lose_or_hold(void *block, int lose)
{
	plant_filled(block);
	if (lose) {
		truth_direct(block);
		return;
	}
	truth_live(block, "global");
	live[live_count++] = block;
}

PLANT void *posix_aligned(size_t alignment, size_t size)
{
	void *block = NULL;

	if (posix_memalign(&block, alignment, size))
		plant_fail("posix_memalign");
	return block;
}

PLANT void plant(int lose)
{
	lose_or_hold(malloc(200 * 1024), lose);
	lose_or_hold(malloc(1024 * 1024 + 7), lose);
	lose_or_hold(calloc(3, 1000 * 1000), lose);
	lose_or_hold(memalign(64, 1000), lose);
	lose_or_hold(memalign(4096, 100), lose);
	lose_or_hold(memalign(65536, 5000), lose);
	lose_or_hold(memalign(65536, 400 * 1024), lose);
	lose_or_hold(posix_aligned(1 << 20, 300 * 1024), lose);
	lose_or_hold(posix_aligned(32, 10), lose);
	lose_or_hold(aligned_alloc(256, 512), lose);
	lose_or_hold(aligned_alloc(8192, 8192 * 40), lose);
	lose_or_hold(valloc(500), lose);
}

// A list through mapped blocks; mremap by realloc moves one of them.
PLANT void plant_mapped_list(void)
{
	void **tail = plant_block(300 * 1024);
	void **head = plant_block(300 * 1024);

	head = plant_filled(realloc(head, 5 * 1024 * 1024));
	head[1000] = tail;
	truth_direct(head);
	truth_indirect(tail, head);
}

// Keeps the threshold for own mappings where it is: freeing a mapped block would raise it.
int main(int argc, char **argv)
{
	plant_open(argc, argv);
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	for (int i = 0; i < 3; i++) {
		plant(1);
		plant(0);
	}
	plant_mapped_list();
	truth_freed(plant_block(700 * 1024), "unmapped");
	plant_serve(NULL);
}
