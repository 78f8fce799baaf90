// SPDX-License-Identifier: MIT
// Threads that have ended: glibc keeps their stacks, and with them stale pointers to lost blocks.
#include "plant.h"

#include <pthread.h>

enum { THREADS = 12 };

static __thread held_pointer tls_slot;
static pthread_barrier_t all_started;

// Leaves the pointer deep in the stack which glibc will cache when the thread has ended.
PLANT void leave_behind(void)
{
	void *volatile frame[64];

	for (int i = 0; i < 64; i++)
		frame[i] = NULL;
	frame[40] = plant_block(777);
	truth_direct(frame[40]);
}

static void *ending_thread(void *argument)
{
	pthread_barrier_wait(&all_started);
	leave_behind();
	return argument;
}

// A dead thread's static TLS lies in the same kept stack; tools may or may not read it.
static void *ending_thread_with_tls(void *argument)
{
	pthread_barrier_wait(&all_started);
	tls_slot = plant_block(888);
	truth_hidden(tls_slot, "TLS of an ended thread");
	return argument;
}

// All at once, so that each one has a stack of its own.
PLANT void run_all(void)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, i % 2 ? ending_thread : ending_thread_with_tls,
		                   NULL))
			plant_fail("pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	pthread_barrier_init(&all_started, NULL, THREADS);
	run_all();
	plant_wait_for_threads(1);
	plant_serve(NULL);
}
