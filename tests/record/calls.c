// SPDX-License-Identifier: MIT
// Makes calls of malloc and its family and counts them: "KIND COUNT" lines, kinds as layout/record.h has
// them. Its blocks are of sizes that nobody else asks for and begin with a word that nobody else
// writes, so that the counter of test-counts knows them.
//
// usage: calls SCENARIO [ARGUMENT]
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "marked.h"

static unsigned long counts[64];

static void count(int kind)
{
	__atomic_fetch_add(&counts[kind], 1, __ATOMIC_RELAXED);
}

static void show(void)
{
	for (int i = 0; i < 64; i++)
		if (counts[i])
			printf("%d %lu\n", i, counts[i]);
	fflush(stdout);
}

static size_t marked_bytes(unsigned n)
{
	return MARKED_REST + MARKED_STEP * (n % 4);
}

static void *marked(void *block, int kind)
{
	if (!block)
		abort();
	count(kind);
	*(volatile uint64_t *)block = MARKED_WORD;
	return block;
}

static void release(void *block)
{
	count(RECORD_FREE);
	free(block);
}

static void *resized(void *old, void *block)
{
	if (!block)
		abort();
	if (old)
		count(RECORD_REALLOC_FREE);
	return marked(block, old ? RECORD_REALLOC : RECORD_MALLOC);
}

static void all_kinds(unsigned n)
{
	void *aligned, *block = resized(NULL, realloc(NULL, marked_bytes(n)));

	block = resized(block, realloc(block, marked_bytes(n + 1)));
	block = resized(block, reallocarray(block, 1, marked_bytes(n + 2)));
	release(block);
	release(marked(malloc(marked_bytes(n)), RECORD_MALLOC));
	release(marked(calloc(1, marked_bytes(n)), RECORD_CALLOC));
	release(marked(memalign(64, marked_bytes(n)), RECORD_ALIGNED));
	release(marked(aligned_alloc(64, marked_bytes(n)), RECORD_ALIGNED));
	if (posix_memalign(&aligned, 256, marked_bytes(n)))
		abort();
	release(marked(aligned, RECORD_ALIGNED));
	release(marked(valloc(marked_bytes(n)), RECORD_ALIGNED));
	free(NULL);
}

// The block stays, told of as freed and allocated again.
static void failing_realloc(void)
{
	void *block = marked(malloc(marked_bytes(0)), RECORD_MALLOC);

	if (realloc(block, SIZE_MAX / 4) || errno != ENOMEM)
		abort();
	count(RECORD_REALLOC_FREE);
	if (malloc_usable_size(block) % MARKED_STEP == MARKED_REST)
		count(RECORD_REALLOC);
	release(block);
}

static void single(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++)
		all_kinds(i);
	failing_realloc();
}

// --- threads --------------------------------------------------------------------------------------
static void *mailbox[64];

// Blocks go from thread to thread.
static void *pass_on(void *argument)
{
	unsigned seed = (unsigned)(uintptr_t)argument;

	for (unsigned i = 0; i < 20000; i++) {
		void *mine = marked(malloc(marked_bytes(i)), RECORD_MALLOC), *theirs;

		seed = seed * 1103515245 + 12345;
		theirs = __atomic_exchange_n(&mailbox[seed >> 16 & 63], mine, __ATOMIC_ACQ_REL);
		if (theirs)
			release(theirs);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t ids[4];

	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&ids[i], NULL, pass_on, (void *)(i + 1));
	for (int i = 0; i < 4; i++)
		pthread_join(ids[i], NULL);
}

static pthread_key_t key;

static void late_free(void *block)
{
	release(block);
}

static void *short_life(void *unused)
{
	for (unsigned i = 0; i < 10; i++)
		release(marked(malloc(marked_bytes(i)), RECORD_MALLOC));
	pthread_setspecific(key, marked(malloc(marked_bytes(1)), RECORD_MALLOC));
	return unused;
}

static void churn(void)
{
	pthread_t ids[16];

	pthread_key_create(&key, late_free);
	for (int i = 0; i < 100; i++) {
		for (int j = 0; j < 16; j++)
			pthread_create(&ids[j], NULL, short_life, NULL);
		for (int j = 0; j < 16; j++)
			pthread_join(ids[j], NULL);
	}
}

// Frees in every round of destructors, and in the one after the recorder's own last.
static pthread_key_t later_key;

static void free_in_each_round(void *block)
{
	static __thread int rounds;

	release(block);
	if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
		pthread_setspecific(later_key, marked(malloc(marked_bytes(0)), RECORD_MALLOC));
}

static void *destructors_thread(void *unused)
{
	pthread_setspecific(later_key, marked(malloc(marked_bytes(0)), RECORD_MALLOC));
	return unused;
}

static void destructors(void)
{
	pthread_t id;

	pthread_key_create(&later_key, free_in_each_round);
	for (int i = 0; i < 20; i++) {
		pthread_create(&id, NULL, destructors_thread, NULL);
		pthread_join(id, NULL);
	}
}

// --- processes ------------------------------------------------------------------------------------
static void child_calls(void)
{
	for (unsigned i = 0; i < 1000; i++)
		free(malloc(marked_bytes(i)));
	_exit(0);
}

static void await(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child || status)
		abort();
}

static void forks(void)
{
	for (int i = 0; i < 5; i++) {
		pid_t child = fork();

		if (!child)
			child_calls();
		count(RECORD_FORK);
		await(child);
		single(10);
	}
}

static void forks_behind_libc(void)
{
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!child)
		child_calls();
	await(child);
	single(10);
}

static void vforks(void)
{
	for (int i = 0; i < 5; i++) {
		pid_t child = vfork();

		if (!child) {
			release(marked(malloc(marked_bytes(0)), RECORD_MALLOC));
			_exit(0);
		}
		await(child);
	}
}

// Each tells of its own calls.
static void follow(void)
{
	pid_t child;

	single(50);
	child = fork();
	if (!child) {
		memset(counts, 0, sizeof(counts));
		single(70);
		show();
		printf("parent\n");
		fflush(stdout);
		_exit(0);
	}
	count(RECORD_FORK);
	await(child);
}

static void no_one_waits(void)
{
	if (wait(NULL) != -1 || errno != ECHILD)
		abort(); // the recorder's processes are none of ours
}

// --- signals --------------------------------------------------------------------------------------
static volatile unsigned long handled;

static void handle(int signal)
{
	(void)signal;
	release(marked(malloc(marked_bytes(1)), RECORD_MALLOC));
	handled++;
}

// Needs a malloc that may be interrupted.
static void storm(int flags, unsigned long wanted)
{
	struct sigaction action = { .sa_handler = handle, .sa_flags = flags };
	struct itimerval often = { { 0, 50 }, { 0, 50 } };
	stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };

	sigaltstack(&stack, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned i = 0; handled < wanted; i++)
		release(marked(malloc(marked_bytes(i)), RECORD_MALLOC));
	often = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &often, NULL);
}

static sigjmp_buf back;

static void jump(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

// Leaves the recorder by a jump again and again; afterwards it must still work, from the first call on
// that is made where the one was that was left.
static void jumps(void)
{
	struct itimerval often = { { 0, 0 }, { 0, 97 } };
	volatile int jumped = 0;

	signal(SIGALRM, jump);
	while (jumped < 300) {
		if (sigsetjmp(back, 1)) {
			jumped++;
			continue;
		}
		setitimer(ITIMER_REAL, &often, NULL);
		for (;;)
			free(malloc(100));
	}
	free(malloc(100));
	single(100);
}

// --- ends -----------------------------------------------------------------------------------------
static void end(const char *how)
{
	single(1000);
	show();
	if (!strcmp(how, "_exit"))
		_exit(3);
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	if (!strcmp(how, "quick_exit"))
		quick_exit(3);
}

static void run(const char *scenario, char **argv)
{
	if (!strcmp(scenario, "single"))
		single(2000);
	else if (!strcmp(scenario, "threads"))
		threads();
	else if (!strcmp(scenario, "churn"))
		churn();
	else if (!strcmp(scenario, "destructors"))
		destructors();
	else if (!strcmp(scenario, "fork"))
		forks();
	else if (!strcmp(scenario, "clone"))
		forks_behind_libc();
	else if (!strcmp(scenario, "vfork"))
		vforks();
	else if (!strcmp(scenario, "follow"))
		follow();
	else if (!strcmp(scenario, "wait"))
		no_one_waits();
	else if (!strcmp(scenario, "storm"))
		storm(SA_RESTART, 2000);
	else if (!strcmp(scenario, "altstack"))
		storm(SA_RESTART | SA_ONSTACK, 2000);
	else if (!strcmp(scenario, "jumps"))
		jumps();
	else if (!strcmp(scenario, "end"))
		end(argv[2]);
	else
		exit(64);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 64;
	if (!strcmp(argv[1], "exec")) {
		single(100);
		count(RECORD_EXEC);
		show();
		execl("/proc/self/exe", "calls", "single", (char *)NULL);
		return 1;
	}
	run(argv[1], argv);
	show();
	return 0;
}
