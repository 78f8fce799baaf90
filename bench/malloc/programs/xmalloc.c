// SPDX-License-Identifier: MIT
/*
 * Producers allocate batches of blocks, consumers free them: no block is freed by the thread that
 * allocated it (after Lever and Boreham's xmalloc). The queue between them holds at least 8 and at
 * most 16 batches, so that neither memory in use nor how cold a block is depends on who is faster.
 *
 * usage: xmalloc [PRODUCERS [CONSUMERS [BATCHES [SIZE]]]]
 */
#include "common.h"

#define BATCH_BLOCKS 2048
#define QUEUE_LEAST  8
#define QUEUE_MOST   16

struct batch {
	struct batch *next;
	void *blocks[BATCH_BLOCKS];
};

static size_t producers, consumers, batches, size;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct batch *queue, **queue_end = &queue;
static size_t queued;   // or being filled
static size_t ready;    // in the queue
static size_t produced; // or being filled
static size_t consumed;

// Whether the caller may make one more batch.
static int produce_claim(void)
{
	int more;

	pthread_mutex_lock(&lock);
	while (queued >= QUEUE_MOST)
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
	batch->next = NULL;
	*queue_end = batch;
	queue_end = &batch->next;
	ready++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

// Whether a consumer has to wait: not once the last batches are in the queue.
static int must_wait(void)
{
	return ready < QUEUE_LEAST && ready < batches - consumed;
}

// NULL when every batch has been consumed.
static struct batch *queue_take(void)
{
	struct batch *batch;

	pthread_mutex_lock(&lock);
	while (must_wait())
		pthread_cond_wait(&changed, &lock);
	batch = queue;
	if (batch) {
		queue = batch->next;
		if (!queue)
			queue_end = &queue;
		consumed++;
		ready--;
		queued--;
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&lock);
	return batch;
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
			mark_take(batch->blocks[i]);
			free(batch->blocks[i]);
		}
		free(batch);
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
