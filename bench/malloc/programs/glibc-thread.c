// SPDX-License-Identifier: MIT
/*
 * Each thread replaces random blocks of its own row; sizes from 4 bytes to 32 KiB whose frequency
 * falls with the square of the size (the shape of glibc's malloc-thread benchmark).
 *
 * usage: glibc-thread [THREADS [OPERATIONS]]
 */
#include "common.h"

#define ROW   1024
#define DRAWS 8192 // sizes and slots, drawn before the loop
#define LEAST 4.0
#define MOST  32768.0

static size_t threads, operations;

struct draws {
	uint16_t sizes[DRAWS], slots[DRAWS];
};

// The inverse of the distribution function of the density size^-2 between LEAST and MOST.
static uint16_t size_draw(uint64_t random)
{
	double chance = (double)(random >> 11) / (double)(UINT64_C(1) << 53);

	return (uint16_t)(1 / (1 / LEAST - chance * (1 / LEAST - 1 / MOST)));
}

static struct draws *draws_new(size_t number)
{
	struct draws *draws = allocate(sizeof(*draws));
	uint64_t random = random_seed(number);

	for (size_t i = 0; i < DRAWS; i++) {
		draws->sizes[i] = size_draw(random_next(&random));
		draws->slots[i] = random_next(&random) % ROW;
	}
	return draws;
}

// The lowest bits of its slot's number stand in the first byte of each block.
static void *work(void *number)
{
	unsigned char *row[ROW] = { NULL };
	struct draws *draws = draws_new((size_t)number);

	for (size_t i = 0; i < operations; i++) {
		size_t draw = i % DRAWS, slot = (draws->slots[draw] + i / DRAWS) % ROW;

		if (row[slot] && *row[slot] != (unsigned char)slot)
			fail("a block was given out twice");
		free(row[slot]);
		row[slot] = allocate(draws->sizes[draw]);
		*row[slot] = (unsigned char)slot;
	}
	for (size_t i = 0; i < ROW; i++)
		free(row[i]);
	free(draws);
	return NULL;
}

int main(int argc, char **argv)
{
	threads = argument(argc, argv, 1, 2);
	operations = argument(argc, argv, 2, 10000000);
	threads_run(threads, work);
	return 0;
}
