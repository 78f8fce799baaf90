// SPDX-License-Identifier: MIT
// Threads that hold a block in one register only: a general one, xmm15, the upper half of ymm14.
#include "plant.h"

#include <pthread.h>

static pthread_barrier_t planted;

#if defined(__x86_64__)

// Waits in pause(2) for ever without giving the compiler a chance to save what the register holds.
#define WAIT_FOREVER "1:\n\tmov $34, %%eax\n\tsyscall\n\tjmp 1b"

PLANT uintptr_t masked_block(const char *why)
{
	void *block = plant_block(450);

	truth_live(block, why);
	return ~(uintptr_t)block;
}

// The masked address becomes a pointer in the very register that then keeps it.
static void *general_thread(void *argument)
{
	uintptr_t masked = masked_block("register r13");

	scrub();
	pthread_barrier_wait(&planted);
	__asm__ volatile(
		"mov %0, %%r13\n\tnot %%r13\n\txor %%ebx, %%ebx\n\t" WAIT_FOREVER ::"r"(masked)
		: "rax", "rbx", "rcx", "r11", "r13", "memory");
	return argument;
}

static void *vector_thread(void *argument)
{
	uintptr_t masked = masked_block("register xmm15");

	scrub();
	pthread_barrier_wait(&planted);
	__asm__ volatile(
		"mov %0, %%rdx\n\tnot %%rdx\n\tmovq %%rdx, %%xmm15\n\txor %%edx, %%edx\n\t" WAIT_FOREVER ::
			"r"(masked)
		: "rax", "rcx", "rdx", "r11", "xmm15", "memory");
	return argument;
}

__attribute__((target("avx"))) static void *upper_thread(void *argument)
{
	uintptr_t masked = masked_block("upper half of ymm14");

	scrub();
	pthread_barrier_wait(&planted);
	__asm__ volatile(
		"mov %0, %%rdx\n\tnot %%rdx\n\tvmovq %%rdx, %%xmm14\n\txor %%edx, %%edx\n\t"
		"vperm2f128 $0x08, %%ymm14, %%ymm14, %%ymm14\n\t" WAIT_FOREVER ::"r"(masked)
		: "rax", "rcx", "rdx", "r11", "xmm14", "memory");
	return argument;
}

PLANT void start(void *(*run)(void *))
{
	pthread_t thread;

	pthread_barrier_init(&planted, NULL, 2);
	if (pthread_create(&thread, NULL, run, NULL))
		plant_fail("pthread_create");
	pthread_barrier_wait(&planted);
}

PLANT void start_all(void)
{
	start(general_thread);
	start(vector_thread);
	if (__builtin_cpu_supports("avx"))
		start(upper_thread);
}

#else

PLANT void start_all(void)
{
	(void)planted;
}

#endif

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	start_all();
	for (int i = 0; i < 5; i++)
		plant_leak(460);
	plant_serve(NULL);
}
