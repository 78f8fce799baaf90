// SPDX-License-Identifier: MIT
/*
 * Producers allocate batches of blocks, consumers free them: no block is freed by the thread that
 * allocated it (after Lever and Boreham's xmalloc). The queue between them is bounded, so that the
 * most memory in use depends on the arguments only.
 *
 * usage: xmalloc [PRODUCERS [CONSUMERS [BATCHES [SIZE]]]]
 */
#include "common.h"

#define BATCH_BLOCKS  2048
#define QUEUE_BATCHES 16

struct batch {
	struct batch *next;
	void *blocks[BATCH_BLOCKS];
};

static size_t producers, consumers, batches, size;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct batch *queue;
static size_t queued, produced, consumed;

// Whether the caller may make one more batch.
static int produce_claim(void)
{
	int more;

	pthread_mutex_lock(&lock);
	while (queued >= QUEUE_BATCHES)
		pthread_cond_wait(&changed, &lock);
	more = produced < batches;
	produced += more;
	queued += more;
	pthread_mutex_unlock(&lock);
	return more;
}

static void queue_put(struct batch *batch)
{
	pthread_mutex_lock(&lock);
	batch->next = queue;
	queue = batch;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

// NULL when every batch has been consumed.
static struct batch *queue_take(void)
{
	struct batch *batch;

	pthread_mutex_lock(&lock);
	while (!queue && consumed < batches)
		pthread_cond_wait(&changed, &lock);
	batch = queue;
	if (batch) {
		queue = batch->next;
		consumed++;
	}
	if (consumed == batches)
		pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return batch;
}

static void queue_shrink(void)
{
	pthread_mutex_lock(&lock);
	queued--;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void produce(void)
{
	while (produce_claim()) {
		struct batch *batch = allocate(sizeof(*batch));

		for (size_t i = 0; i < BATCH_BLOCKS; i++) {
			batch->blocks[i] = allocate(size);
			mark(batch->blocks[i], size);
		}
		queue_put(batch);
	}
}

static void consume(void)
{
	for (struct batch *batch = queue_take(); batch; batch = queue_take()) {
		for (size_t i = 0; i < BATCH_BLOCKS; i++) {
			mark_check(batch->blocks[i]);
			free(batch->blocks[i]);
		}
		free(batch);
		queue_shrink();
	}
}

static void *work(void *number)
{
	if ((size_t)number < producers)
		produce();
	else
		consume();
	return NULL;
}

int main(int argc, char **argv)
{
	producers = argument(argc, argv, 1, 2);
	consumers = argument(argc, argv, 2, 2);
	batches = argument(argc, argv, 3, 6000);
	size = argument(argc, argv, 4, 64);
	threads_run(producers + consumers, work);
	return 0;
}
