// SPDX-License-Identifier: MIT
/*
 * A server whose workers come and go (after Larson and Krishnan): each worker replaces random blocks
 * of its row by new ones of random size, then starts its successor, hands over the row, and ends.
 * So most blocks are freed by a thread that did not allocate them. Prints the operations done.
 *
 * usage: larson [LANES [BLOCKS [GENERATIONS [OPERATIONS [LEAST MOST]]]]]
 */
#include "common.h"

struct lane {
	void **blocks;
	size_t generation;
	uint64_t random;
};

static size_t lanes, blocks, generations, operations, least, most, done;
static struct lane lane_list[THREADS_MOST];
static pthread_mutex_t end_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t end_signal = PTHREAD_COND_INITIALIZER;

static void *block_new(uint64_t *random)
{
	size_t size = least + random_next(random) % (most - least + 1);
	void *block = allocate(size);

	mark(block, size);
	return block;
}

static void lane_end(void)
{
	pthread_mutex_lock(&end_lock);
	done++;
	pthread_cond_signal(&end_signal);
	pthread_mutex_unlock(&end_lock);
}

static void *work(void *argument)
{
	struct lane *lane = argument;
	pthread_t successor;

	for (size_t i = 0; i < operations; i++) {
		void **slot = &lane->blocks[random_next(&lane->random) % blocks];

		mark_take(*slot);
		free(*slot);
		*slot = block_new(&lane->random);
	}
	if (++lane->generation == generations)
		lane_end();
	else if (pthread_create(&successor, NULL, work, lane) || pthread_detach(successor))
		fail("no thread");
	return NULL;
}

static void lane_start(size_t number)
{
	struct lane *lane = &lane_list[number];
	pthread_t first;

	lane->random = random_seed(number);
	lane->blocks = allocate(blocks * sizeof(void *));
	for (size_t i = 0; i < blocks; i++)
		lane->blocks[i] = block_new(&lane->random);
	if (pthread_create(&first, NULL, work, lane) || pthread_detach(first))
		fail("no thread");
}

int main(int argc, char **argv)
{
	lanes = argument(argc, argv, 1, 2);
	blocks = argument(argc, argv, 2, 5000);
	generations = argument(argc, argv, 3, 100);
	operations = argument(argc, argv, 4, 40000);
	least = argument(argc, argv, 5, 8);
	most = argument(argc, argv, 6, 1000);
	if (lanes > THREADS_MOST)
		fail("too many lanes");
	for (size_t i = 0; i < lanes; i++)
		lane_start(i);
	pthread_mutex_lock(&end_lock);
	while (done < lanes)
		pthread_cond_wait(&end_signal, &end_lock);
	pthread_mutex_unlock(&end_lock);
	printf("%zu\n", lanes * generations * operations);
	return 0;
}
