// SPDX-License-Identifier: MIT
/*
 * Live threads that hold blocks in every place a thread has: stack, static TLS, dynamic TLS of a
 * library loaded later (argv[2], optional), pthread keys of both levels, argument; joinable,
 * detached, and one that has ended but was not joined, whose result is still to be had.
 */
#include "plant.h"

#include <dlfcn.h>
#include <pthread.h>

enum { THREADS = 8, KEYS = 40 };

static __thread held_pointer tls_slot;
static __thread held_pointer tls_array[20];
static pthread_key_t keys[KEYS];
static pthread_barrier_t planted;
static pthread_barrier_t never;
static pthread_barrier_t ending;
static void *(*library_slot)(void);

PLANT void fill_tls(void)
{
	tls_slot = plant_block(100);
	truth_live(tls_slot, "static TLS");
	tls_array[13] = plant_block(200);
	truth_live(tls_array[13], "static TLS array");
}

PLANT void fill_library_tls(void)
{
	if (!library_slot)
		return;
	held_pointer *slot = library_slot();

	*slot = plant_block(300);
	truth_live(*slot, "dynamic TLS");
}

PLANT void fill_keys(void)
{
	for (int i = 0; i < KEYS; i++) {
		void *block = plant_block(50 + (size_t)i);

		truth_live(block,
		           i < 32 ? "pthread key, first level" : "pthread key, second level");
		if (pthread_setspecific(keys[i], block))
			plant_fail("pthread_setspecific");
	}
}

PLANT void fill_slot(void **slot)
{
	*slot = plant_block(400);
	truth_live(*slot, "thread stack");
}

static void *live_thread(void *argument)
{
	void *volatile slot;

	fill_tls();
	fill_library_tls();
	fill_keys();
	fill_slot((void **)&slot);
	plant_leak(123);
	scrub();
	pthread_barrier_wait(&planted);
	pthread_barrier_wait(&never);
	return slot ? argument : NULL;
}

static void *ended_thread(void *argument)
{
	(void)argument;
	void *result = plant_block(600);

	truth_live(result, "result of a thread not joined");
	pthread_barrier_wait(&ending);
	return result;
}

PLANT void start(void *(*run)(void *), void *argument, int detached)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	if (detached)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, run, argument))
		plant_fail("pthread_create");
	pthread_attr_destroy(&attr);
}

PLANT void start_live(int detached)
{
	void *argument = plant_block(500);

	truth_live(argument, "argument of a live thread");
	start(live_thread, argument, detached);
}

PLANT void open_library(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);

	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(3);
	}
	library_slot = (void *(*)(void))dlsym(library, "tls_library_slot");
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	pthread_barrier_init(&planted, NULL, THREADS + 1);
	pthread_barrier_init(&never, NULL, THREADS + 1);
	pthread_barrier_init(&ending, NULL, 2);
	for (int i = 0; i < KEYS; i++)
		pthread_key_create(&keys[i], NULL);
#ifndef PLANT_STATIC
	if (argc > 2)
		open_library(argv[2]);
#endif
	for (int i = 0; i < THREADS; i++)
		start_live(i % 2);
	pthread_barrier_wait(&planted);
	start(ended_thread, NULL, 0);
	pthread_barrier_wait(&ending);
	plant_wait_for_threads(THREADS + 1);
	fill_tls();
	fill_library_tls();
	fill_keys();
	plant_serve(NULL);
}
