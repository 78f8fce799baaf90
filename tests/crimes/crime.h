// SPDX-License-Identifier: MIT
// What every crime shares: main, which commits it, or with an argument runs its clean twin; accesses
// that the compiler must not remove or judge; and a program that goes on afterwards.
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static void run(bool guilty);

// A pointer of which the compiler knows nothing any more.
static inline void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static inline void fill(void *block, size_t bytes)
{
	volatile char *at = hide(block);

	for (size_t i = 0; i < bytes; i++)
		at[i] = 'A';
}

static inline void go_on(void)
{
	for (size_t i = 1; i < 200; i++) {
		char *block = malloc(i * 7 % 100 + 1);

		fill(block, 1);
		free(hide(block));
	}
}

int main(int argc, char **argv)
{
	(void)argv;
	run(argc == 1);
	return 0;
}
