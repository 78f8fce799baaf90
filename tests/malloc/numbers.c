// SPDX-License-Identifier: MIT
// What the heap says of itself, and mallopt(M_PERTURB): prints malloc_info's document. The status says
// which fact is wrong.
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <malloc/malloc.h>

enum { BLOCKS = 3000, BYTES = 2000, COMPLEMENT = 0xa5, PATTERN = 0x5a };

static bool all_are(const unsigned char *block, size_t from, size_t to, unsigned char byte)
{
	for (; from < to; from++)
		if (block[from] != byte)
			return false;
	return true;
}

// Blocks in caches may count, and the heap is looked at from time to time only.
static int check_most_in_use(void)
{
	static void *blocks[BLOCKS];
	size_t most = (size_t)BLOCKS * malloc_usable_size(blocks[0] = malloc(BYTES));
	malloc_statistics_t statistics;

	for (int i = 1; i < BLOCKS; i++)
		blocks[i] = malloc(BYTES);
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	malloc_zone_statistics(NULL, &statistics);
	if (statistics.max_size_in_use < most - most / 20 ||
	    statistics.max_size_in_use > most + most / 4)
		return 10;
	blocks[0] = malloc(20 << 20);
	free(blocks[0]);
	malloc_zone_statistics(NULL, &statistics);
	return statistics.max_size_in_use < 20 << 20 || statistics.max_size_in_use > 22 << 20 ? 11
	                                                                                      : 0;
}

// The freed block is looked at on purpose.
static int check_perturb(void)
{
	size_t sizes[] = { 24, 1000, 5000, 100000 };

	if (!mallopt(M_PERTURB, PATTERN))
		return 20;
	for (int i = 0; i < 4; i++) {
		size_t bytes = sizes[i];
		unsigned char *block = malloc(bytes), *zeroed = calloc(1, bytes);
		unsigned char *aligned = memalign(256, bytes);

		if (!all_are(block, 0, bytes, COMPLEMENT) || !all_are(zeroed, 0, bytes, 0) ||
		    !all_are(aligned, 0, bytes, COMPLEMENT))
			return 21;
		memset(block, 7, bytes);
		block = realloc(block, 3 * bytes);
		if (!all_are(block, 0, bytes, 7) ||
		    !all_are(block, malloc_usable_size(zeroed), 3 * bytes, COMPLEMENT))
			return 22;
		free(block);
		if (bytes <= 5000 && !all_are(block, 0, bytes, PATTERN))
			return 23;
		free(zeroed);
		free(aligned);
	}
	mallopt(M_PERTURB, 0);
	return all_are(memset(malloc(100), 1, 100), 0, 100, 1) ? 0 : 24;
}

int main(void)
{
	int wrong = check_most_in_use();
	void *used = malloc(3 << 20);

	malloc_info(0, stdout);
	free(used);
	return wrong ? wrong : check_perturb();
}
