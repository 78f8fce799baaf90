// SPDX-License-Identifier: MIT
// Four threads; one of them writes behind its block.
#include "crime.h"

#include <pthread.h>

static void *work(void *bytes)
{
	char *block = malloc(48);

	go_on();
	fill(block, (size_t)bytes);
	go_on();
	free(block);
	return NULL;
}

static void run(bool guilty)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, work, (void *)(guilty && i == 2 ? 49ul : 48ul));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
