// SPDX-License-Identifier: MIT
/*
 * Four threads allocate, grow and free without pause; every block carries its own checksum, so
 * that a look which changes one bit, or stops a thread for ever, is noticed by `check`.
 */
#include "plant.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, SLOTS = 3000 };

struct cell {
	size_t size_bytes;
	uint64_t sum;
	unsigned char data[];
};

static struct cell *volatile cells[THREADS][SLOTS];
static _Atomic uint64_t rounds[THREADS];
static _Atomic int damaged;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static uint64_t sum_of(const struct cell *cell)
{
	uint64_t sum = cell->size_bytes;

	for (size_t i = 0; i < cell->size_bytes; i++)
		sum = sum * 31 + cell->data[i];
	return sum;
}

static void verify(const struct cell *cell)
{
	if (cell->sum != sum_of(cell))
		damaged = 1;
}

static void fill(struct cell *cell, size_t size, uint64_t *state)
{
	cell->size_bytes = size;
	// Odd bytes with the top bit set: the data never looks like an address.
	for (size_t i = 0; i < size; i++)
		cell->data[i] = 0x81 | (unsigned char)next_random(state);
	cell->sum = sum_of(cell);
}

static size_t random_size(uint64_t *state)
{
	uint64_t dice = next_random(state);

	return dice % 50 == 0 ? dice / 64 % 9000 : dice / 64 % 300;
}

static void step(struct cell *volatile *slot, uint64_t *state)
{
	size_t size = random_size(state);
	struct cell *cell = *slot;

	if (cell)
		verify(cell);
	if (cell && next_random(state) % 3) {
		*slot = NULL;
		free(cell);
		return;
	}
	cell = realloc(cell, sizeof(*cell) + size);
	*slot = cell;
	fill(cell, size, state);
}

__attribute__((noreturn)) static void *run(void *argument)
{
	long me = (long)argument;
	uint64_t state = 0x9e3779b97f4a7c15u * (uint64_t)(me + 1);

	for (;;) {
		step(&cells[me][next_random(&state) % SLOTS], &state);
		rounds[me]++;
	}
}

// Every thread still moves, and none has met a block that changed by itself.
static int check(void)
{
	uint64_t before[THREADS];

	for (int i = 0; i < THREADS; i++)
		before[i] = rounds[i];
	for (int i = 0; i < THREADS; i++)
		while (rounds[i] == before[i])
			usleep(1000);
	return !damaged;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	plant_open(argc, argv);
	for (int i = 0; i < 20; i++)
		plant_leak(1234);
	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, run, (void *)i))
			plant_fail("pthread_create");
	plant_serve(check);
}
