// SPDX-License-Identifier: MIT
// A program with a thread that blocks every signal and another that ignores all that can be.
#include "plant.h"

#include <pthread.h>
#include <signal.h>

static held_pointer live[50];
static pthread_barrier_t never;

PLANT void plant(void)
{
	for (int i = 0; i < 50; i++) {
		live[i] = plant_block(150);
		truth_live(live[i], "global");
		plant_leak(150);
	}
}

static void *deaf_thread(void *argument)
{
	pthread_barrier_wait(&never);
	return argument;
}

PLANT void start_deaf_thread(void)
{
	sigset_t all;
	sigset_t before;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, deaf_thread, NULL))
		plant_fail("pthread_create");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	pthread_barrier_init(&never, NULL, 2);
	plant();
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_IGN);
	start_deaf_thread();
	plant_serve(NULL);
}
