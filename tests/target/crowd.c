// SPDX-License-Identifier: MIT
// A heap of many blocks whose owner keeps a list of them: threads fill it and then go on allocating
// and freeing without pause. Each entry of the list is the block's address and usable size; the
// address is written after malloc and cleared before free.
//
// usage: crowd MIB THREADS     prints "ready ADDRESS-OF-LIST ENTRIES" and runs until its input ends
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct entry {
	void *volatile block;
	volatile size_t bytes;
};

struct worker {
	struct entry *entries;
	size_t count, fill_bytes;
	uint64_t dice;
};

static uint64_t roll(struct worker *worker)
{
	worker->dice = worker->dice * 6364136223846793005u + 1442695040888963407u;
	return worker->dice >> 33;
}

// 94 of 100 up to 256 bytes, 6 up to 4 KiB, one of a thousand up to 200 KiB, 10 in a million 4 MiB.
static size_t some_bytes(struct worker *worker)
{
	uint64_t kind = roll(worker) % 100000;

	if (kind == 0)
		return 4 << 20;
	if (kind < 100)
		return 4096 + roll(worker) % 200000;
	if (kind < 6000)
		return 256 + roll(worker) % 3840;
	return roll(worker) % 257;
}

static size_t take(struct worker *worker, struct entry *entry)
{
	char *block = malloc(some_bytes(worker));

	if (!block)
		abort();
	entry->bytes = malloc_usable_size(block);
	if (entry->bytes)
		*(volatile char *)block = 1;
	__atomic_store_n(&entry->block, block, __ATOMIC_RELEASE);
	return entry->bytes;
}

static void give(struct entry *entry)
{
	void *block = entry->block;

	__atomic_store_n(&entry->block, NULL, __ATOMIC_RELEASE);
	free(block);
}

static pthread_barrier_t filled;

static void *work(void *argument)
{
	struct worker *worker = argument;
	size_t bytes = 0, used = 0;

	while (bytes < worker->fill_bytes && used < worker->count)
		bytes += take(worker, &worker->entries[used++]);
	for (size_t i = 0; i < used; i += 7)
		give(&worker->entries[i]);
	pthread_barrier_wait(&filled);
	for (;;) {
		struct entry *entry = &worker->entries[roll(worker) % used];

		if (entry->block)
			give(entry);
		else
			take(worker, entry);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) << 20;
	size_t threads = argc > 2 ? strtoul(argv[2], NULL, 10) : 4, each = bytes / threads / 128;
	size_t list_bytes = threads * each * sizeof(struct entry);
	struct entry *list = mmap(NULL, list_bytes, PROT_READ | PROT_WRITE,
	                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	static struct worker workers[64];
	char line[80];

	if (list == MAP_FAILED || threads > 64)
		return 3;
	pthread_barrier_init(&filled, NULL, (unsigned)threads + 1);
	for (size_t i = 0; i < threads; i++) {
		pthread_t thread;

		workers[i] = (struct worker){ list + i * each, each, bytes / threads, 42 + i };
		if (pthread_create(&thread, NULL, work, &workers[i]))
			return 3;
	}
	pthread_barrier_wait(&filled);
	int n = snprintf(line, sizeof(line), "ready 0x%zx %zu\n", (size_t)list, threads * each);
	if (write(1, line, (size_t)n) != n)
		return 3;
	while (read(0, line, sizeof(line)) > 0)
		;
	_exit(0);
}
