// SPDX-License-Identifier: MIT
// Allocation at the odd times of a program: in constructors and destructors, in destructors of thread
// data after all others ran, in threads that only free, in signal handlers that interrupt malloc. The
// status is 0 and "kept" is printed last, by a destructor.
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { ROUNDS = 200, HANDED = 5000, WHOLE_PAGES = 33 << 10 };

static char *early;
static pthread_key_t key;
static int destroyed;
static volatile sig_atomic_t handled;

__attribute__((constructor(102))) static void allocate_early(void)
{
	early = strdup("from a constructor");
}

__attribute__((destructor(102))) static void free_late(void)
{
	static const char text[] = "kept\n";

	if (strcmp(early, "from a constructor"))
		_exit(2);
	free(early);
	free(malloc(1000));
	if (write(1, text, sizeof(text) - 1) < 0)
		_exit(3);
}

// Asks to be called again, so that it also runs after the library's own destructor.
static void thread_data_destroy(void *data)
{
	size_t rounds = *(size_t *)data;
	size_t *again;

	free(data);
	for (size_t i = 0; i < 50; i++)
		free(malloc(i * 40));
	again = malloc(sizeof(*again));
	*again = rounds + 1;
	if (rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
		pthread_setspecific(key, again);
	else
		free(again);
	__atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
}

static void *thread_with_data(void *unused)
{
	size_t *data = calloc(1, sizeof(*data));

	(void)unused;
	pthread_setspecific(key, data);
	for (int i = 0; i < 300; i++)
		free(malloc((size_t)i * 13));
	return strdup("result");
}

static int check_thread_data(void)
{
	pthread_key_create(&key, thread_data_destroy);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t thread;
		void *result;

		if (pthread_create(&thread, NULL, thread_with_data, NULL) ||
		    pthread_join(thread, &result) || strcmp(result, "result"))
			return 1;
		free(result);
	}
	return destroyed < ROUNDS;
}

static void *free_all(void *blocks)
{
	for (int i = 0; i < HANDED; i++)
		free(((void **)blocks)[i]);
	return NULL;
}

// Another thread frees, and never allocates.
static int check_free_only(void)
{
	static void *blocks[HANDED];

	for (int round = 0; round < 20; round++) {
		pthread_t thread;

		for (int i = 0; i < HANDED; i++)
			blocks[i] = memset(malloc((size_t)i % 700 + 1), round, (size_t)i % 700 + 1);
		if (pthread_create(&thread, NULL, free_all, blocks) || pthread_join(thread, NULL))
			return 1;
	}
	return 0;
}

static void *volatile handed;

// What the program has handed over is freed; nothing is taken.
static void handler(int signal)
{
	void *block = handed;

	(void)signal;
	handed = NULL;
	free(block);
	handled++;
}

// POSIX allows neither, and programs do it: a free in a handler must neither hang nor damage the heap. Of whole
// pages, for the short paths know nothing of handlers (src/malloc/fork.c).
static int check_signals(void)
{
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	char *blocks[512] = { 0 };
	unsigned random = 1;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; handled < 300 || i < 100000; i++) {
		size_t which = i % 512;

		random = random * 1103515245 + 12345;
		if (blocks[which] && blocks[which][0] != (char)which)
			return 1;
		free(blocks[which]);
		blocks[which] = malloc((random >> 16) % 3000 + 1);
		blocks[which][0] = (char)which;
		if (!handed)
			handed = malloc(WHOLE_PAGES + (random >> 8) % 500);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	for (int i = 0; i < 512; i++)
		free(blocks[i]);
	return 0;
}

int main(int argc, char **argv)
{
	(void)argv;
	if (check_thread_data() || check_free_only())
		return 1;
	// With an argument, no signals: with a debugging feature a lock may be held.
	if (argc < 2 && check_signals())
		return 1;
	return 0;
}
