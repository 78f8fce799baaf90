// SPDX-License-Identifier: MIT
// Blocks freed by another thread than the one that allocated them, and a thread whose cache exists
// but is empty.
#include "plant.h"

#include <pthread.h>

enum { BATCH = 40 };

static held_pointer fence[BATCH + 3];
static int fence_count = 3;

// A live block after each freed one keeps the free chunks apart.
PLANT void *fenced_block(size_t size)
{
	void *block = plant_block(size);

	fence[fence_count] = plant_block(24);
	truth_live(fence[fence_count++], "fence");
	return block;
}

static void *free_elsewhere(void *argument)
{
	void **block = argument;

	for (int i = 0; i < BATCH; i++)
		truth_freed(block[i], "freed by another thread");
	free(block);
	// Stays: its tcache holds some of them.
	pthread_barrier_t *never = fence[0];
	scrub();
	pthread_barrier_wait(fence[1]);
	pthread_barrier_wait(never);
	return NULL;
}

// Its cache exists and holds nothing.
static void *take_all_back(void *argument)
{
	truth_freed(plant_block(72), "cached for a moment");
	fence[2] = plant_block(72);
	truth_live(fence[2], "global");
	scrub();
	pthread_barrier_wait(fence[1]);
	pthread_barrier_wait(fence[0]);
	return argument;
}

PLANT void *new_barrier(unsigned count)
{
	pthread_barrier_t *barrier = plant_block(sizeof(*barrier));

	pthread_barrier_init(barrier, NULL, count);
	truth_live(barrier, "global");
	return barrier;
}

PLANT void plant_other_thread(void)
{
	void **block = plant_block((BATCH + 8) * sizeof(*block)); // of another size than the leaks
	pthread_t thread;

	for (int i = 0; i < BATCH; i++)
		block[i] = fenced_block(40 + (size_t)i * 8);
	if (pthread_create(&thread, NULL, free_elsewhere, block))
		plant_fail("pthread_create");
	pthread_barrier_wait(fence[1]);
}

PLANT void plant_empty_cache(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, take_all_back, NULL))
		plant_fail("pthread_create");
	pthread_barrier_wait(fence[1]);
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	fence[0] = new_barrier(3);
	fence[1] = new_barrier(2);
	plant_other_thread();
	plant_empty_cache();
	for (int i = 0; i < 10; i++)
		plant_leak(310);
	plant_serve(NULL);
}
