// SPDX-License-Identifier: MIT
/*
 * Batches of 14 sizes from 8 bytes to 768, small ones the most, of which the oldest are freed in
 * order, the newest in reverse and then every third. With "cross" every 16th block goes to another
 * thread, which may free it.
 *
 * usage: shlike [THREADS [ROUNDS [CROSS]]]
 */
#include <stdatomic.h>
#include <string.h>

#include "common.h"

#define SLOTS   60000
#define QUARTER (SLOTS / 4)
#define BOXES   1024

struct row {
	void **blocks;
	size_t count;
};

static size_t threads, rounds, cross;
static _Atomic(void *) boxes[THREADS_MOST][BOXES];

static void row_free(void *block)
{
	mark_take(block);
	free(block);
}

static void row_thin_out(struct row *row)
{
	for (size_t i = 0; i < QUARTER; i++)
		row_free(row->blocks[i]);
	row->count -= QUARTER;
	memmove(row->blocks, row->blocks + QUARTER, row->count * sizeof(void *));
	for (size_t i = 0; i < QUARTER; i++)
		row_free(row->blocks[--row->count]);
	for (size_t i = 0; i + 2 < row->count; i += 3) {
		row_free(row->blocks[i]);
		row->blocks[i] = row->blocks[--row->count];
	}
}

static void row_add(struct row *row, void *block)
{
	row->blocks[row->count++] = block;
	if (row->count == SLOTS)
		row_thin_out(row);
}

static void hand_over(void *block, uint64_t random)
{
	_Atomic(void *) *box = &boxes[(random >> 20) % threads][(random >> 32) % BOXES];
	void *found = atomic_exchange(box, block);

	if (found)
		row_free(found);
}

static void batch(struct row *row, unsigned int step, uint64_t *random)
{
	size_t base = (size_t)8 << step / 2, count = 400u >> step / 2;

	base += step % 2 ? base / 2 : 0;
	for (size_t i = 0; i < count; i++) {
		size_t size = base + (random_next(random) & 7);
		void *block = allocate(size);

		mark(block, size);
		if (cross && i % 16 == 0)
			hand_over(block, *random);
		else
			row_add(row, block);
	}
}

static void *work(void *number)
{
	struct row row = { allocate(SLOTS * sizeof(void *)), 0 };
	uint64_t random = random_seed((size_t)number);

	for (size_t round = 0; round < rounds; round++) {
		for (unsigned int step = 0; step < 14; step++)
			batch(&row, step, &random);
	}
	while (row.count)
		row_free(row.blocks[--row.count]);
	free(row.blocks);
	return NULL;
}

int main(int argc, char **argv)
{
	threads = argument(argc, argv, 1, 2);
	rounds = argument(argc, argv, 2, 2500);
	cross = argument(argc, argv, 3, 0);
	threads_run(threads, work);
	for (size_t i = 0; i < THREADS_MOST * BOXES; i++)
		free(boxes[i / BOXES][i % BOXES]);
	return 0;
}
