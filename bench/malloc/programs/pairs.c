// SPDX-License-Identifier: MIT
/*
 * Pairs of free and malloc with a window of live blocks of mixed small sizes, first and last byte of
 * each written; prints nanoseconds of CPU per pair, and how many mappings the process then has.
 * Made for malloc libraries that give each block pages of its own.
 *
 * usage: pairs PAIRS LIVE
 */
#include "common.h"

#include <stdio.h>
#include <sys/resource.h>

static double cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return 1e9 * (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       1e3 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static char *make(size_t i)
{
	size_t bytes = 16 + i * 37 % 400;
	char *block = allocate(bytes);

	block[0] = block[bytes - 1] = (char)i;
	return block;
}

static size_t count_mappings(void)
{
	static char text[1 << 16];
	FILE *maps = fopen("/proc/self/maps", "r");
	size_t lines = 0, got;

	setvbuf(maps, NULL, _IONBF, 0);
	while ((got = fread(text, 1, sizeof(text), maps)))
		for (size_t i = 0; i < got; i++)
			lines += text[i] == '\n';
	fclose(maps);
	return lines;
}

int main(int argc, char **argv)
{
	size_t pairs = argument(argc, argv, 1, 20000), live = argument(argc, argv, 2, 100);
	char **blocks = allocate(live * sizeof(*blocks));
	double started;

	for (size_t i = 0; i < live; i++)
		blocks[i] = make(i);
	started = cpu_ns();
	for (size_t i = 0; i < pairs; i++) {
		free(blocks[i % live]);
		blocks[i % live] = make(i);
	}
	printf("%.0f %zu\n", (cpu_ns() - started) / (double)(pairs ? pairs : 1), count_mappings());
	return 0;
}
