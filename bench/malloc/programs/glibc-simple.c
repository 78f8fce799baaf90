// SPDX-License-Identifier: MIT
/*
 * One thread allocates a batch of blocks of one size and frees them in order, for batches of 25 to
 * 1600 and some small sizes (the shape of glibc's malloc-simple benchmark).
 *
 * usage: glibc-simple [PAIRS]     malloc+free pairs of each size and batch
 */
#include "common.h"

#define BATCH_MOST 1600

static const size_t sizes[] = { 16, 48, 128, 512 };
static const size_t batches[] = { 25, 100, 400, BATCH_MOST };

static void run(size_t size, size_t batch, size_t pairs)
{
	void *blocks[BATCH_MOST];

	for (size_t done = 0; done < pairs; done += batch) {
		for (size_t i = 0; i < batch; i++) {
			blocks[i] = allocate(size);
			*(size_t *)blocks[i] = i;
		}
		for (size_t i = 0; i < batch; i++) {
			if (*(size_t *)blocks[i] != i)
				fail("a block was given out twice");
			free(blocks[i]);
		}
	}
}

int main(int argc, char **argv)
{
	size_t pairs = argument(argc, argv, 1, 1600000);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (size_t k = 0; k < sizeof(batches) / sizeof(*batches); k++)
			run(sizes[i], batches[k], pairs);
	}
	return 0;
}
