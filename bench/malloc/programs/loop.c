// SPDX-License-Identifier: MIT
/*
 * Pairs of malloc and free of one size and nothing else, for counting instructions: the difference
 * of two runs divided by the difference of their pairs is the cost of one pair.
 *
 * usage: loop PAIRS SIZE BATCH     a batch is allocated, then freed
 */
#include "common.h"

int main(int argc, char **argv)
{
	size_t pairs = argument(argc, argv, 1, 0), size = argument(argc, argv, 2, 64);
	size_t batch = argument(argc, argv, 3, 1);
	void **blocks = allocate(batch * sizeof(*blocks));

	for (size_t done = 0; done < pairs; done += batch) {
		for (size_t i = 0; i < batch; i++)
			blocks[i] = malloc(size);
		for (size_t i = 0; i < batch; i++)
			free(blocks[i]);
	}
	free(blocks);
	return 0;
}
