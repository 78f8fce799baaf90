// SPDX-License-Identifier: MIT
// Several arenas, one of them grown over more than one of its heaps; leaks and rings in and across.
#include "plant.h"

#include <pthread.h>

enum { THREADS = 6, BLOCKS = 100 };

static held_pointer live[THREADS][BLOCKS];
static held_pointer bulk[3000];
static struct hook {
	struct hook *volatile other;
} *volatile hooks[THREADS];
static pthread_barrier_t planted;
static pthread_barrier_t never;

PLANT void plant(long me)
{
	for (int i = 0; i < BLOCKS; i++) {
		size_t size = 16 + (size_t)(me * 400 + i * 13);

		live[me][i] = plant_block(size);
		truth_live(live[me][i], "global");
		plant_leak(size);
	}
	struct hook *hook = plant_block(sizeof(*hook));

	hook->other = NULL;
	hooks[me] = hook;
}

// More than 64 MiB in blocks below the mapping threshold: the arena takes a second heap.
PLANT void plant_bulk(void)
{
	for (int i = 0; i < 3000; i++) {
		bulk[i] = malloc(30000);
		truth_live(bulk[i], "global");
		if (i % 100 == 99)
			plant_leak(30000);
	}
}

static void *run(void *argument)
{
	long me = (long)argument;

	plant(me);
	if (me == 3)
		plant_bulk();
	scrub();
	pthread_barrier_wait(&planted);
	pthread_barrier_wait(&never);
	return NULL;
}

PLANT void close_ring(void)
{
	struct hook *first = hooks[0];

	for (int i = 0; i < THREADS; i++)
		hooks[i]->other = hooks[(i + 1) % THREADS];
	for (int i = 0; i < THREADS; i++) {
		truth_cycle(hooks[i], first);
		hooks[i] = NULL;
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;

	plant_open(argc, argv);
	mallopt(M_ARENA_MAX, THREADS + 1);
	mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
	pthread_barrier_init(&planted, NULL, THREADS + 1);
	pthread_barrier_init(&never, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, run, (void *)i))
			plant_fail("pthread_create");
	pthread_barrier_wait(&planted);
	close_ring();
	plant_serve(NULL);
}
