// SPDX-License-Identifier: MIT
// A small heap at rest: each thread has one block at a time, of many sizes. Its pages are brought into memory
// once and not again; the status is 1 when the kernel counts more page faults than that.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { PAIRS = 200000, SIZES = 1024, THREADS = 2, FAULTS_MAX = 2000 };

static void *pairs(void *unused)
{
	uint32_t seed = 1;

	for (int i = 0; i < PAIRS; i++) {
		char *block;

		seed = seed * 1103515245 + 12345;
		block = malloc(16 + (seed >> 8) % SIZES);
		*(volatile char *)block = 1;
		free(block);
	}
	return unused;
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

int main(void)
{
	pthread_t threads[THREADS];
	long before = faults();

	pairs(NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, pairs, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	if (faults() - before <= FAULTS_MAX)
		return 0;
	printf("%ld page faults\n", faults() - before);
	return 1;
}
