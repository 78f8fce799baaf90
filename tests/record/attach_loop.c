// SPDX-License-Identifier: MIT
// An allocator loop in several threads, which checks every block that it holds and says
// how much it did when it is told to end (SIGTERM). usage: attach_loop [THREADS [wait|exec|fork|exit|leave|vfork]]
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS       256
#define THREADS_MAX 64

struct slot {
	unsigned char *block;
	size_t bytes;
	unsigned char mark;
};

static atomic_bool ends;
static atomic_long rounds;

static void on_term(int signal)
{
	(void)signal;
	ends = true;
}

static void wrong(const char *what)
{
	fprintf(stderr, "wrong: %s\n", what);
	_exit(1);
}

static void *allocate(unsigned kind, size_t bytes)
{
	void *block = NULL;

	switch (kind % 4) {
	case 0:
		return malloc(bytes);
	case 1:
		return calloc(1, bytes);
	case 2:
		return realloc(NULL, bytes);
	default:
		return posix_memalign(&block, 64, bytes) ? NULL : block;
	}
}

static void step(struct slot *slot, unsigned *seed)
{
	size_t bytes = (size_t)rand_r(seed) % 2000 + 1;

	if (!slot->block) {
		slot->block = allocate((unsigned)rand_r(seed), bytes);
	} else {
		if (slot->block[0] != slot->mark || slot->block[slot->bytes - 1] != slot->mark)
			wrong("a block changed");
		if (rand_r(seed) % 4) {
			free(slot->block);
			slot->block = NULL;
			return;
		}
		slot->block = realloc(slot->block, bytes);
	}
	slot->bytes = bytes;
	slot->mark = (unsigned char)rand_r(seed);
	slot->block[0] = slot->block[bytes - 1] = slot->mark;
}

static void *loop(void *argument)
{
	unsigned seed = (unsigned)(size_t)argument * 7919 + 1;
	struct slot slots[SLOTS] = { 0 };

	while (!ends) {
		step(&slots[(unsigned)rand_r(&seed) % SLOTS], &seed);
		rounds++;
	}
	for (unsigned i = 0; i < SLOTS; i++)
		free(slots[i].block);
	return NULL;
}

static void fork_once(void)
{
	int child = fork(), status = 1;

	if (child == 0) {
		free(malloc(100));
		_exit(0);
	}
	if (waitpid(child, &status, 0) == child && status != 0)
		wrong("a child failed");
}

// The kernel wakes who made a child so only when that becomes another program, or ends.
static void wait_for_exec(void)
{
	if (!vfork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

static void live(const char *mode, char **argv)
{
	while (!ends) {
		if (!strcmp(mode, "fork"))
			fork_once();
		usleep(2000);
	}
	if (!strcmp(mode, "exec"))
		execl("/proc/self/exe", argv[0], "1", (char *)NULL);
	if (!strcmp(mode, "exit"))
		_exit(3);
}

int main(int argc, char **argv)
{
	unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 4;
	pthread_t handles[THREADS_MAX];

	signal(SIGTERM, on_term);
	for (unsigned i = 0; i < threads && i < THREADS_MAX; i++)
		pthread_create(&handles[i], NULL, loop, (void *)(size_t)i);
	puts("ready");
	fflush(stdout);
	if (argc > 2 && !strcmp(argv[2], "leave"))
		pthread_exit(NULL); // the others are the process from now on
	if (argc > 2 && !strcmp(argv[2], "vfork"))
		wait_for_exec();
	live(argc > 2 ? argv[2] : "wait", argv);
	for (unsigned i = 0; i < threads && i < THREADS_MAX; i++)
		pthread_join(handles[i], NULL);
	printf("done %ld\n", (long)rounds);
	return 0;
}
