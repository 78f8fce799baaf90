// SPDX-License-Identifier: MIT
// Loads of the recorder's benchmark that are nothing but malloc and free.
//
// usage: blocks live|loop|deep|threads
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LIVE = 100000, REPLACED = 200000, PAIRS = 1000000, DEPTH = 30 };

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 8;
}

static void *block(uint32_t bytes)
{
	char *p = malloc(bytes);

	*(volatile char *)p = 1;
	return p;
}

static void live(void)
{
	static void *blocks[LIVE];
	uint32_t seed = 1;

	for (int i = 0; i < LIVE; i++)
		blocks[i] = block(16 + next(&seed) % 128);
	for (int i = 0; i < REPLACED; i++) {
		void **one = &blocks[next(&seed) % LIVE];

		free(*one);
		*one = block(16 + next(&seed) % 128);
	}
	for (int i = 0; i < LIVE; i++)
		free(blocks[i]);
}

static void pairs(int count)
{
	uint32_t seed = 1;

	for (int i = 0; i < count; i++)
		free(block(16 + next(&seed) % 256));
}

static __attribute__((noinline)) void deeper(int depth)
{
	if (depth)
		deeper(depth - 1);
	else
		pairs(PAIRS);
	__asm__ volatile("" ::: "memory"); // not a jump
}

static void *thread(void *unused)
{
	pairs(PAIRS / 2);
	return unused;
}

static void threads(void)
{
	pthread_t ids[2];

	for (int i = 0; i < 2; i++)
		pthread_create(&ids[i], NULL, thread, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(ids[i], NULL);
}

int main(int argc, char **argv)
{
	const char *load = argc > 1 ? argv[1] : "loop";

	if (!strcmp(load, "live"))
		live();
	else if (!strcmp(load, "loop"))
		pairs(PAIRS);
	else if (!strcmp(load, "deep"))
		deeper(DEPTH);
	else
		threads();
	return 0;
}
