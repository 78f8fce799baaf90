// SPDX-License-Identifier: MIT
// Loads of the recorder's benchmark that are nothing but malloc and free.
//
// usage: blocks live|loop|deep|threads|nothing [TIMES]
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

static void loop(void)
{
	pairs(PAIRS);
}

static __attribute__((noinline)) void deeper(int depth)
{
	if (depth)
		deeper(depth - 1);
	else
		pairs(PAIRS);
	__asm__ volatile("" ::: "memory"); // not a jump
}

static void deep(void)
{
	deeper(DEPTH);
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
	static const struct {
		const char *name;
		void (*run)(void);
	} loads[] = {
		{ "live", live }, { "loop", loop }, { "deep", deep }, { "threads", threads }
	};
	int times = argc > 2 ? atoi(argv[2]) : 1;

	free(block(1));
	for (size_t i = 0; argc > 1 && i < sizeof(loads) / sizeof(loads[0]); i++)
		for (int n = 0; !strcmp(argv[1], loads[i].name) && n < times; n++)
			loads[i].run();
	return 0;
}
