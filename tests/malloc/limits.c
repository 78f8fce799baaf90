// SPDX-License-Identifier: MIT
// Under a limit of the address space: malloc gives what there is, then NULL and ENOMEM, and goes on
// giving once something was freed, also to another thread than the one that freed it. The limit in MiB is
// the argument.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BLOCKS = 1 << 20 };
static void *blocks[BLOCKS];

static size_t take_all(size_t bytes)
{
	size_t count = 0;

	errno = 0;
	while (count < BLOCKS && (blocks[count] = malloc(bytes)))
		memset(blocks[count++], 1, bytes < 4096 ? bytes : 4096);
	return count;
}

static void give_all(size_t count)
{
	while (count)
		free(blocks[--count]);
}

static pthread_barrier_t freed;

// How many it gets of what the other thread freed.
static void *take_after(void *ret_count)
{
	pthread_barrier_wait(&freed);
	*(size_t *)ret_count = take_all(100);
	return NULL;
}

static int other_thread_takes(pthread_t thread, const size_t *taken)
{
	size_t count = take_all(100);

	for (size_t i = 0; count < BLOCKS && i < count; i += 2)
		free(blocks[i]);
	pthread_barrier_wait(&freed);
	pthread_join(thread, NULL);
	if (count < BLOCKS && *taken < count / 4) {
		printf("another thread gets only %zu of %zu blocks\n", *taken, count / 2);
		return 6;
	}
	return 0;
}

int main(int argc, char **argv)
{
	size_t limit = strtoul(argv[argc - 1], NULL, 10) << 20,
	       sizes[] = { 5000, 100, 60000, 9 << 20 };
	struct rlimit rlimit = { limit, limit };
	size_t taken = 0;
	pthread_t thread;

	pthread_barrier_init(&freed, NULL, 2);
	if (pthread_create(&thread, NULL, take_after, &taken) || setrlimit(RLIMIT_AS, &rlimit))
		return 2;
	for (int i = 0; i < 8; i++) {
		size_t bytes = sizes[i % 4], count = take_all(bytes);

		if (count < BLOCKS && errno != ENOMEM)
			return 3;
		// What caches and bookkeeping keep of one size is not there for the next.
		if (count * bytes < limit / 4 && count < BLOCKS) {
			printf("only %zu blocks of %zu bytes\n", count, bytes);
			return 4;
		}
		if (realloc(blocks[0], limit * 2) || errno != ENOMEM)
			return 5;
		give_all(count);
	}
	return other_thread_takes(thread, &taken);
}
