// SPDX-License-Identifier: MIT
// What test-options lets a program do, by the name of the first argument.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static volatile char sink;

static void use_freed(void)
{
	volatile char *block = malloc(21);

	free((void *)block);
	sink = block[3];
}

static void use_many(void)
{
	enum { BLOCKS = 2000 };
	void *blocks[BLOCKS];

	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = memset(malloc(i + 1), i, i + 1);
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

int main(int argc, char **argv)
{
	const char *act = argc > 1 ? argv[1] : "fine";
	bool locked = !strcmp(act, "locked") && !mlockall(MCL_CURRENT | MCL_FUTURE);
	volatile char *block = malloc(21);
	void *aligned;

	if (!strcmp(act, "overread"))
		sink = block[21];
	else if (!strcmp(act, "after"))
		use_freed();
	else if (!strcmp(act, "often"))
		for (int i = 0; i < 2000; i++)
			use_freed();
	else if (!strcmp(act, "aligned"))
		for (size_t i = 8; i <= 1 << 16; i *= 2) {
			if (posix_memalign(&aligned, i, 21) || (uintptr_t)aligned % i)
				return 1;
			free(aligned);
		}
	else if (!strcmp(act, "locked"))
		puts((use_many(), locked ? "locked" : "may not lock"));
	else if (!strcmp(act, "huge"))
		puts(malloc(PTRDIFF_MAX) ? "served" : "refused");
	else if (!strcmp(act, "large") && malloc(200 << 20))
		puts("large");
	free((void *)block);
	return 0;
}
