// SPDX-License-Identifier: MIT
// A storm of signals whose handler allocates and frees, in threads that do nothing else, start and end,
// and fork. POSIX does not allow it, programs do it: whatever the handler interrupts, no thread may wait
// for itself, and no block may be handed out twice. The status is 0; after LIMIT_S seconds an alarm ends
// a program that hangs.
//
// usage: signals MODE    "keep": handlers use blocks of all sizes and keep some from one signal to the
//                        next. "large": only of whole pages, for which there is no short path
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	WORKERS = 2,
	OWN = 256,
	KEPT = 16,
	WHOLE_PAGES = 33 << 10,
	ROUNDS = 12000,     // of a worker, at least
	HANDLED = 6000,     // signals, at least
	LIFE_ROUNDS = 4000, // until a worker's thread ends and the next one starts
	FORK_ROUNDS = 2000, // between two forks
	LIMIT_S = 300,
};

struct blocks {
	unsigned char **at;
	size_t *bytes;
	unsigned count;
	uint64_t random;
	size_t least; // bytes of a block
};

static _Atomic(pid_t) targets[WORKERS];
static atomic_uint steps[WORKERS]; // that a worker has done
static atomic_uint handled, running;
static bool keeps;

static __thread unsigned char *kept[KEPT];
static __thread size_t kept_bytes[KEPT];
static __thread unsigned handler_calls;
static __thread bool ends; // the thread's handlers use the heap no more

static void fail(const char *what)
{
	if (write(2, what, strlen(what)) < 0)
		_exit(3);
	_exit(2);
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

// Mostly small, sometimes of whole pages, rarely with a mapping of its own.
static size_t random_bytes(uint64_t *state)
{
	uint64_t kind = next_random(state) % 512, random = next_random(state);

	if (kind < 400)
		return random % 600 + 1;
	if (kind < 490)
		return random % 30000 + 1;
	if (kind < 511)
		return random % 300000 + 1;
	return (33u << 20) + random % 100000;
}

static void fill(unsigned char *block, size_t bytes, unsigned char with)
{
	size_t part = bytes < 200 ? bytes : 200;

	memset(block, with, part);
	block[bytes - 1] = with;
}

static void check(const unsigned char *block, size_t bytes, unsigned char with)
{
	size_t part = bytes < 200 ? bytes : 200;

	for (size_t i = 0; i < part; i++)
		if (block[i] != with && i != bytes - 1)
			fail("a block was handed out twice\n");
	if (block[bytes - 1] != with)
		fail("the end of a block was overwritten\n");
}

static unsigned char *take(uint64_t *random, size_t bytes)
{
	unsigned char *block;

	switch (next_random(random) % 8) {
	case 0:
		block = calloc(1, bytes);
		break;
	case 1:
		block = memalign(64, bytes);
		break;
	default:
		block = malloc(bytes);
	}
	if (!block)
		fail("no memory\n");
	return block;
}

// One step: the block of a random place is checked and freed or resized, or a new one is put there.
static void step(struct blocks *blocks, unsigned char with)
{
	unsigned i = (unsigned)(next_random(&blocks->random) % blocks->count);
	size_t bytes = random_bytes(&blocks->random) + blocks->least;

	if (blocks->at[i])
		check(blocks->at[i], blocks->bytes[i], with);
	if (blocks->at[i] && next_random(&blocks->random) % 8) {
		free(blocks->at[i]);
		blocks->at[i] = NULL;
		return;
	}
	blocks->at[i] =
		blocks->at[i] ? realloc(blocks->at[i], bytes) : take(&blocks->random, bytes);
	if (!blocks->at[i])
		fail("no memory\n");
	blocks->bytes[i] = bytes;
	fill(blocks->at[i], bytes, with);
}

static void free_all(struct blocks *blocks)
{
	for (unsigned i = 0; i < blocks->count; i++) {
		free(blocks->at[i]);
		blocks->at[i] = NULL;
	}
}

static void handler(int number)
{
	struct blocks blocks = { kept, kept_bytes, KEPT, ++handler_calls * 7919u, WHOLE_PAGES };

	(void)number;
	if (keeps)
		blocks.least = 0;
	for (int i = 0; i < 4 && !ends; i++)
		step(&blocks, 0xc3);
	atomic_fetch_add(&handled, 1);
}

// glibc's own functions for threads and processes are not made to be interrupted by themselves, but
// nothing here calls any of them in a handler.
static void fork_child(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		for (size_t i = 1; i < 2000; i += 37)
			free(malloc(i));
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0)
		;
	if (status)
		fail("a child failed\n");
}

static void *work(void *argument)
{
	unsigned char *at[OWN] = { 0 };
	size_t bytes[OWN];
	struct blocks blocks = { at, bytes, OWN, (uintptr_t)argument + 1, 0 };

	targets[(uintptr_t)argument] = (pid_t)syscall(SYS_gettid);
	for (int i = 0; i < LIFE_ROUNDS; i++) {
		step(&blocks, 0x3c);
		steps[(uintptr_t)argument]++;
		if (i % FORK_ROUNDS == 0 && argument)
			fork_child();
		if (i % 1000 == 999)
			malloc_trim(0);
	}
	ends = true;
	free_all(&blocks);
	for (unsigned i = 0; i < KEPT; i++)
		free(kept[i]);
	return NULL;
}

// The thread that works ends with the storm still over it.
static void *keep_working(void *argument)
{
	for (int rounds = 0; rounds < ROUNDS || handled < HANDLED; rounds += LIFE_ROUNDS) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, work, argument) || pthread_join(thread, NULL))
			fail("no thread\n");
	}
	running--;
	return NULL;
}

// A worker that has got no further since its last signal rarely gets another one: else it might never
// come back from its handler to what it does.
static void storm(void)
{
	static unsigned last[WORKERS], count;
	unsigned worker = ++count % WORKERS, pause = count * 2654435761u >> 21;
	unsigned now = steps[worker];

	if (targets[worker] && (now != last[worker] || count % 256 < WORKERS))
		syscall(SYS_tgkill, getpid(), targets[worker], SIGUSR1);
	last[worker] = now;
	while (pause--)
		__asm__ volatile("");
	if (count % 64 == 0)
		usleep(100);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	pthread_t threads[WORKERS];

	keeps = argc > 1 && !strcmp(argv[1], "keep");
	alarm(LIMIT_S);
	sigaction(SIGUSR1, &action, NULL);
	running = WORKERS;
	for (uintptr_t i = 0; i < WORKERS; i++)
		if (pthread_create(&threads[i], NULL, keep_working, (void *)i))
			return 1;
	while (running)
		storm();
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
