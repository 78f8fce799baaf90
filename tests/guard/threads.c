// SPDX-License-Identifier: MIT
// Threads that make, pass on, resize and free blocks, while the main thread forks children that use
// the heap too. Every block carries its size and a sum, so that a block given out twice is noticed.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 4000, SHARED = 64, FORKS = 20 };

static char *shared[SHARED];

static char *make(size_t bytes)
{
	char *block = malloc(bytes);

	if (!block)
		abort();
	*(uint32_t *)block = (uint32_t)bytes;
	memset(block + 4, (char)bytes, bytes - 4);
	return block;
}

static void unmake(char *block)
{
	if (!block)
		return;
	uint32_t bytes = *(uint32_t *)block;
	for (uint32_t i = 4; i < bytes; i++)
		if (block[i] != (char)bytes)
			abort();
	free(block);
}

static void *work(void *number)
{
	uint64_t state = (uintptr_t)number * 2654435761u + 1;

	for (int i = 0; i < ROUNDS; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		size_t bytes = 8 + (state >> 40) % (i % 50 ? 600 : 20000);
		char *block = make(bytes);

		if (i % 7 == 0) {
			block = realloc(block, bytes + 100);
			if (*(uint32_t *)block != bytes || block[bytes - 1] != (char)bytes)
				abort();
		}
		unmake(__atomic_exchange_n(&shared[(state >> 33) % SHARED], block,
		                           __ATOMIC_ACQ_REL));
	}
	return NULL;
}

static void child(void)
{
	for (int i = 0; i < 200; i++)
		unmake(make(8 + i * 13 % 3000));
	_exit(0);
}

int main(void)
{
	pthread_t threads[THREADS];
	int status;

	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			child();
		if (waitpid(pid, &status, 0) != pid || status)
			return 1;
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SHARED; i++)
		unmake(shared[i]);
	puts("done");
	return 0;
}
