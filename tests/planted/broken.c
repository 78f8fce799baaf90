// SPDX-License-Identifier: MIT
// What malloc keeps for itself is damaged, in the way that the second argument says. test-broken
// looks at the answers.
#include "plant.h"

enum { COUNT = 200, CACHED = 5, HEAP_MAX = 64 << 20, ARENA_WORDS = 280 };

static void *live[COUNT];
static uint64_t *other_arena;

static void *thread_main(void *argument)
{
	uintptr_t block = (uintptr_t)malloc(100);

	other_arena = (uint64_t *)(block & ~(uintptr_t)(HEAP_MAX - 1));
	for (;;)
		pause();
	return argument;
}

// The thread's cache is the block before all others.
static uint64_t *cache_word(const void *block, const void *entry)
{
	uint64_t *page = (uint64_t *)((uintptr_t)block & ~(uintptr_t)4095);

	for (size_t i = 0; i < 512; i++)
		if (page[i] == (uint64_t)(uintptr_t)entry)
			return &page[i];
	abort();
}

// Of the words of an arena only the link to the next one leads out of its heap.
static uint64_t *ring_word(void)
{
	for (uint64_t *at = other_arena + 16; at < other_arena + ARENA_WORDS; at++)
		if (*at > 1 << 20 && (*at ^ (uint64_t)(uintptr_t)other_arena) >= HEAP_MAX)
			return at;
	abort();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	void *first, *last = NULL;
	pthread_t thread;

	for (int i = 0; i < COUNT; i++)
		live[i] = malloc(200);
	first = live[0];
	pthread_create(&thread, NULL, thread_main, NULL);
	while (!*(void *volatile *)&other_arena)
		usleep(1000);
	for (int i = 0; i < CACHED; i++) {
		free(live[i * 3]);
		last = live[i * 3];
		live[i * 3] = NULL;
	}
	if (!strcmp(what, "cut"))
		*cache_word(first, last) = 0;
	else if (!strcmp(what, "cache"))
		*cache_word(first, last) = 16;
	else if (!strcmp(what, "odd"))
		*cache_word(first, last) = ~0ull;
	else if (!strcmp(what, "ring"))
		*ring_word() = 0;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
