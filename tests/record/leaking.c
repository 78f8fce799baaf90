// SPDX-License-Identifier: MIT
// Leaks blocks of known size by known functions, keeps one, and either ends or waits; or frees one twice.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *volatile kept;

__attribute__((noinline)) static char *make_small(void)
{
	return memset(malloc(48), 0x11, 48);
}

__attribute__((noinline)) static void leak_small(int count)
{
	while (count--)
		make_small()[0] = 1;
}

static inline __attribute__((always_inline)) volatile char *make_inlined(void)
{
	return malloc(100000);
}

__attribute__((noinline)) static void leak_large(void)
{
	volatile char *block = make_inlined();

	block[0] = 1;
}

__attribute__((noinline)) static void free_first(char *block)
{
	free(block);
}

__attribute__((noinline)) static void free_second(char *block)
{
	free(block);
}

// What registers and the stack still hold of the calls before is overwritten.
__attribute__((noinline)) static void wipe(void)
{
	volatile char room[16384];

	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = 0;
}

int main(int argc, char **argv)
{
	char *block;

	leak_small(5);
	leak_large();
	kept = malloc(1000);
	wipe();
	if (argc > 1 && !strcmp(argv[1], "twice")) {
		block = make_small();
		free_first(block);
		free_second(block);
	}
	printf("ready\n");
	fflush(stdout);
	if (argc > 1 && !strcmp(argv[1], "wait"))
		pause();
	return 0;
}
