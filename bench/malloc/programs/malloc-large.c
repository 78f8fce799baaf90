// SPDX-License-Identifier: MIT
/*
 * Replaces random ones of some blocks of 5 to 25 MiB and touches each page of them.
 *
 * usage: malloc-large [BLOCKS [ROUNDS]]
 */
#include "common.h"

#define PAGE_BYTES  4096
#define LEAST_BYTES ((size_t)5 << 20)
#define RANGE_BYTES ((size_t)20 << 20)

struct large {
	size_t *words;
	size_t bytes;
};

static void large_fill(struct large *large, uint64_t random)
{
	large->bytes = LEAST_BYTES + random % RANGE_BYTES;
	large->words = allocate(large->bytes);
	for (size_t i = 0; i < large->bytes / 8; i += PAGE_BYTES / 8)
		large->words[i] = i + large->bytes;
}

static void large_empty(struct large *large)
{
	for (size_t i = 0; i < large->bytes / 8; i += PAGE_BYTES / 8) {
		if (large->words[i] != i + large->bytes)
			fail("a block was changed by another");
	}
	free(large->words);
}

int main(int argc, char **argv)
{
	size_t count = argument(argc, argv, 1, 20), rounds = argument(argc, argv, 2, 600);
	struct large *larges = calloc(count, sizeof(*larges));
	uint64_t random = random_seed(0);

	if (!larges)
		fail("calloc returned NULL");
	for (size_t i = 0; i < rounds; i++) {
		struct large *large = &larges[random_next(&random) % count];

		large_empty(large);
		large_fill(large, random >> 8);
	}
	for (size_t i = 0; i < count; i++)
		large_empty(&larges[i]);
	free(larges);
	return 0;
}
