// SPDX-License-Identifier: MIT
// A thousand live threads; each holds one block on its stack and has lost another.
#include "plant.h"

#include <pthread.h>

enum { THREADS = 1000 };

static pthread_barrier_t planted;
static pthread_barrier_t never;

PLANT void fill_slot(void **slot)
{
	*slot = plant_block(64);
	truth_live(*slot, "thread stack");
	plant_leak(48);
}

static void *run(void *argument)
{
	void *volatile slot;

	fill_slot((void **)&slot);
	scrub();
	pthread_barrier_wait(&planted);
	pthread_barrier_wait(&never);
	return slot ? argument : NULL;
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	pthread_t thread;

	plant_open(argc, argv);
	pthread_barrier_init(&planted, NULL, THREADS + 1);
	pthread_barrier_init(&never, NULL, THREADS + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread, &attr, run, NULL))
			plant_fail("pthread_create");
	pthread_barrier_wait(&planted);
	plant_serve(NULL);
}
