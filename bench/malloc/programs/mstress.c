// SPDX-License-Identifier: MIT
/*
 * Threads that keep some blocks and churn others, of mixed sizes with a long tail, and exchange
 * some with each other (in the manner of mimalloc's stress test). Each round starts new threads;
 * what was exchanged outlives them.
 *
 * usage: mstress [THREADS [ROUNDS [STEPS]]]
 */
#include <stdatomic.h>

#include "common.h"

#define TRANSFERS 1000

struct item {
	size_t words; // of the payload
	uint64_t payload[];
};

struct keeper {
	struct item **items;
	size_t count;
	uint64_t random;
};

static size_t threads, rounds, steps, round_number;
static _Atomic(struct item *) transfers[TRANSFERS];

// One in 1024 has up to 250 KiB, one in 64 up to 8 KiB, the others up to 512 bytes.
static size_t item_words(uint64_t random)
{
	uint64_t choice = random >> 40;

	if (choice % 1024 == 0)
		return 1 + random % 32000;
	return 1 + random % (choice % 64 == 0 ? 1024 : 64);
}

// Big items are written at each page only, or the writing would be all that is measured.
static size_t item_stride(const struct item *item)
{
	return item->words > 1024 ? 512 : 1;
}

static struct item *item_new(uint64_t *random)
{
	size_t words = item_words(random_next(random));
	struct item *item = allocate(sizeof(*item) + words * 8);

	item->words = words;
	for (size_t i = 0; i < words; i += item_stride(item))
		item->payload[i] = (uintptr_t)item ^ (words - i);
	return item;
}

static void item_free(struct item *item)
{
	if (!item)
		return;
	for (size_t i = 0; i < item->words; i += item_stride(item)) {
		if (item->payload[i] != ((uintptr_t)item ^ (item->words - i)))
			fail("an item was changed by another");
	}
	if (item->words == 0)
		fail("an item was given out twice");
	item->words = 0;
	free(item);
}

// Puts an item in the place of a random one, which is returned.
static struct item *keeper_swap(struct keeper *keeper, struct item *item)
{
	struct item **slot = &keeper->items[random_next(&keeper->random) % keeper->count];
	struct item *found = *slot;

	*slot = item;
	return found;
}

static void step(struct keeper *keeper)
{
	uint64_t choice = random_next(&keeper->random) >> 32;
	struct item *item = item_new(&keeper->random);

	if (keeper->count == 0 || choice % 4 == 0)
		keeper->items[keeper->count++] = item;
	else
		item_free(keeper_swap(keeper, item));
	if (choice / 4 % 8 == 0) {
		item = keeper_swap(keeper, NULL);
		item_free(atomic_exchange(&transfers[choice / 32 % TRANSFERS], item));
	}
}

static void *work(void *number)
{
	struct keeper keeper = { 0 };

	keeper.random = random_seed(round_number * THREADS_MOST + (size_t)number);
	keeper.items = allocate(steps * sizeof(struct item *));
	for (size_t i = 0; i < steps; i++)
		step(&keeper);
	while (keeper.count)
		item_free(keeper.items[--keeper.count]);
	free(keeper.items);
	return NULL;
}

int main(int argc, char **argv)
{
	threads = argument(argc, argv, 1, 2);
	rounds = argument(argc, argv, 2, 80);
	steps = argument(argc, argv, 3, 25000);
	for (round_number = 0; round_number < rounds; round_number++) {
		threads_run(threads, work);
		for (size_t i = round_number % 10; i < TRANSFERS; i += 10)
			item_free(atomic_exchange(&transfers[i], NULL));
	}
	for (size_t i = 0; i < TRANSFERS; i++)
		item_free(atomic_exchange(&transfers[i], NULL));
	return 0;
}
