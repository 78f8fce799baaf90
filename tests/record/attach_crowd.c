// SPDX-License-Identifier: MIT
// Many threads that wait, each in one of four calls, and some that look at the clock each millisecond: how
// long they could not. One of these never waits, but allocates.
//
// usage: attach_crowd WAITERS CLOCKS [STACK-KIB]     prints "ready"; for each line of its input "gap MS",
// the longest time between two looks since the last line. At the end of its input what the threads wait for
// comes, and it says how many heard of it.
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS_NS 1000000u

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ending = PTHREAD_COND_INITIALIZER;
static bool ends;
static int silent[2];
static unsigned heard;
static uint64_t longest_ns;

static void wait_for_condition(void)
{
	pthread_mutex_lock(&mutex);
	while (!ends)
		pthread_cond_wait(&ending, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void *wait_for_end(void *argument)
{
	struct pollfd end = { .fd = silent[0] };
	bool well = true;
	char byte;

	switch ((uintptr_t)argument % 4) {
	case 0:
		wait_for_condition();
		break;
	case 1:
		well = poll(&end, 1, -1) == 1;
		break;
	case 2:
		well = !read(silent[0], &byte, 1);
		break;
	default:
		well = poll(&end, 1, INT_MAX) == 1; // with a limit of 24 days
	}
	if (!well || !__atomic_load_n(&ends, __ATOMIC_ACQUIRE)) {
		fputs("a wait was broken off\n", stderr);
		_exit(5);
	}
	__atomic_fetch_add(&heard, 1, __ATOMIC_RELAXED);
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void note(uint64_t ns)
{
	uint64_t before = __atomic_load_n(&longest_ns, __ATOMIC_RELAXED);

	while (ns > before && !__atomic_compare_exchange_n(&longest_ns, &before, ns, 1,
	                                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void *look_at_clock(void *argument)
{
	const struct timespec pause = { 0, MS_NS };
	uint64_t last_ns = now_ns();

	for (;;) {
		uint64_t ns;

		if (argument)
			nanosleep(&pause, NULL);
		else
			free(malloc(100));
		ns = now_ns();
		note(ns - last_ns);
		last_ns = ns;
	}
	return NULL;
}

static void start(size_t count, void *(*function)(void *), const pthread_attr_t *kind,
                  pthread_t *ret)
{
	for (size_t i = 0; i < count; i++) {
		int failed = pthread_create(&ret[i], kind, function, (void *)i);

		if (!failed)
			continue;
		fprintf(stderr, "thread %zu: %s\n", i, strerror(failed));
		exit(3);
	}
}

static void end(pthread_t *waiters, size_t count)
{
	pthread_mutex_lock(&mutex);
	__atomic_store_n(&ends, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&ending);
	pthread_mutex_unlock(&mutex);
	close(silent[1]);
	for (size_t i = 0; i < count; i++)
		pthread_join(waiters[i], NULL);
	printf("%u heard\n", heard);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	size_t stack = argc > 3 ? strtoul(argv[3], NULL, 10) << 10 : 256 << 10;
	size_t waiters = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	size_t clocks = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	pthread_t *threads = calloc(waiters + clocks, sizeof(*threads));
	pthread_attr_t kind;
	char line[16];

	pthread_attr_init(&kind);
	if (!threads || pipe(silent) || pthread_attr_setstacksize(&kind, stack))
		return 3;
	start(waiters, wait_for_end, &kind, threads);
	start(clocks, look_at_clock, &kind, threads + waiters);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t ns = __atomic_exchange_n(&longest_ns, 0, __ATOMIC_RELAXED);

		printf("gap %.3f\n", (double)ns / MS_NS);
		fflush(stdout);
	}
	end(threads, waiters);
	_exit(0);
}
