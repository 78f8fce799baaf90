// SPDX-License-Identifier: MIT
/*
 * Stacks that are not where the kernel put them: coroutines on malloc'ed and mapped stacks
 * (suspended, and one running), and a signal handler that waits on an alternate stack.
 */
#include "plant.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK = 64 * 1024 };

static ucontext_t here;
static ucontext_t suspended[2];
static ucontext_t running;
static pthread_barrier_t planted;
static pthread_barrier_t never;

PLANT void fill_slot(void **slot, const char *why)
{
	*slot = plant_block(350);
	truth_live(*slot, why);
}

static void suspended_coroutine(void)
{
	void *volatile slot;

	fill_slot((void **)&slot, "frame of a suspended coroutine");
	scrub();
	swapcontext(slot ? &suspended[0] : NULL, &here);
	exit(slot == NULL);
}

static void mapped_coroutine(void)
{
	void *volatile slot;

	fill_slot((void **)&slot, "frame of a suspended coroutine on a mapped stack");
	scrub();
	swapcontext(slot ? &suspended[1] : NULL, &here);
	exit(slot == NULL);
}

PLANT void make(ucontext_t *context, void *stack, void (*run)(void))
{
	getcontext(context);
	context->uc_stack.ss_sp = stack;
	context->uc_stack.ss_size = STACK;
	context->uc_link = NULL;
	makecontext(context, run, 0);
}

PLANT void plant_suspended(void)
{
	void *stack = plant_block(STACK);
	void *mapped =
		mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	truth_live(stack, "stack of a coroutine");
	make(&suspended[0], stack, suspended_coroutine);
	swapcontext(&here, &suspended[0]);
	make(&suspended[1], mapped, mapped_coroutine);
	swapcontext(&here, &suspended[1]);
}

static void running_coroutine(void)
{
	void *volatile slot;

	fill_slot((void **)&slot, "frame of a running coroutine");
	scrub();
	pthread_barrier_wait(&planted);
	pthread_barrier_wait(&never);
	exit(slot == NULL);
}

// Runs on a malloc'ed stack that only its own stack pointer refers to; its first stack sleeps.
static void *thread_in_coroutine(void *argument)
{
	void *volatile slot;
	ucontext_t own;
	char *stack = plant_block(STACK);

	truth_live(stack, "stack of a running coroutine");
	fill_slot((void **)&slot, "left stack of a thread that runs a coroutine");
	make(&running, stack, running_coroutine);
	swapcontext(&own, &running);
	return slot ? argument : NULL;
}

static void waiting_handler(int signal)
{
	void *volatile slot;

	(void)signal;
	fill_slot((void **)&slot, "frame of a handler on an alternate stack");
	scrub();
	pthread_barrier_wait(&planted);
	pthread_barrier_wait(&never);
	exit(slot == NULL);
}

static void *thread_in_handler(void *argument)
{
	void *volatile slot;
	stack_t stack = { .ss_sp = plant_block(STACK), .ss_size = STACK };
	struct sigaction action = { .sa_handler = waiting_handler, .sa_flags = SA_ONSTACK };

	truth_live(stack.ss_sp, "alternate signal stack");
	fill_slot((void **)&slot, "frame interrupted by a signal");
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	pthread_kill(pthread_self(), SIGUSR1);
	return slot ? argument : NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	plant_open(argc, argv);
	pthread_barrier_init(&planted, NULL, 3);
	pthread_barrier_init(&never, NULL, 3);
	plant_suspended();
	if (pthread_create(&thread, NULL, thread_in_coroutine, NULL) ||
	    pthread_create(&thread, NULL, thread_in_handler, NULL))
		plant_fail("pthread_create");
	pthread_barrier_wait(&planted);
	for (int i = 0; i < 10; i++)
		plant_leak(360);
	plant_serve(NULL);
}
