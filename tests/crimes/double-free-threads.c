// SPDX-License-Identifier: MIT
// Two threads free the same block.
#include "crime.h"

#include <pthread.h>

static pthread_barrier_t barrier;
static void *blocks[2];

static void *free_one(void *block)
{
	pthread_barrier_wait(&barrier);
	free(block);
	return NULL;
}

static void run(bool guilty)
{
	pthread_t thread;

	for (int i = 0; i < 200; i++) {
		pthread_barrier_init(&barrier, NULL, 2);
		blocks[0] = malloc(40);
		blocks[1] = malloc(40);
		pthread_create(&thread, NULL, free_one, blocks[0]);
		free_one(hide(blocks[guilty ? 0 : 1]));
		pthread_join(thread, NULL);
	}
}
