// SPDX-License-Identifier: MIT
/*
 * False sharing (after Berger's cache-scratch): the first thread allocates neighbouring small blocks
 * and gives one to each worker, which frees it and from then on allocates, writes often, and frees
 * blocks of that size. An allocator that hands the freed neighbours out again makes the workers
 * write to one cache line.
 *
 * usage: cache-scratch [THREADS [ROUNDS [SIZE [WRITES]]]]
 */
#include "common.h"

static size_t threads, rounds, size, writes;
static volatile unsigned char *given[THREADS_MOST];

static void block_write(volatile unsigned char *block)
{
	for (size_t i = 0; i < size; i++)
		block[i] = 0;
	for (size_t i = 0; i < writes; i++) {
		for (size_t byte = 0; byte < size; byte++)
			block[byte]++;
	}
	for (size_t i = 0; i < size; i++) {
		if (block[i] != (unsigned char)writes)
			fail("a block was changed by another");
	}
}

static void *work(void *number)
{
	block_write(given[(size_t)number]);
	free((void *)given[(size_t)number]);
	for (size_t i = 0; i < rounds; i++) {
		volatile unsigned char *block = allocate(size);

		block_write(block);
		free((void *)block);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	threads = argument(argc, argv, 1, 2);
	rounds = argument(argc, argv, 2, 1000);
	size = argument(argc, argv, 3, 8);
	writes = argument(argc, argv, 4, 60000);
	for (size_t i = 0; i < threads && i < THREADS_MOST; i++)
		given[i] = allocate(size);
	threads_run(threads, work);
	return 0;
}
