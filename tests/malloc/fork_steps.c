// SPDX-License-Identifier: MIT
// fork at each instruction of another thread's first malloc, its first free and its end: the heap of the child
// is whole. A tracer makes one step in that thread at a time and has a fork made after it; where the
// thread holds a lock that fork waits for, it goes on until the fork is done. Status 0; 77 without the
// right to trace.
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 48, SIZES = 64, WAIT_MS = 20, LIMIT_MS = 60000 };

static int orders[2], answers[2], start[2];
static volatile int stepped; // thread id

static void *watched(void *ignored)
{
	void *volatile block;
	char order;

	stepped = (int)syscall(SYS_gettid);
	if (read(start[0], &order, 1) != 1)
		return ignored;
	block = malloc(BYTES);
	free(block);
	return NULL;
}

static void use_all_sizes(void)
{
	unsigned char *blocks[SIZES];

	for (int i = 0; i < SIZES; i++)
		blocks[i] = memset(malloc((size_t)(i + 1) * 16), i, (size_t)(i + 1) * 16);
	for (int i = 0; i < SIZES; i++) {
		if (blocks[i][0] != i || blocks[i][i * 16 + 15] != i)
			_exit(3);
		free(blocks[i]);
	}
}

static void child(void)
{
	use_all_sizes();
	_exit(0);
}

// One fork for each order, until there are no more.
static int serve(void)
{
	char order;

	while (read(orders[0], &order, 1) == 1) {
		int status = -1;
		pid_t pid = fork();

		if (!pid)
			child();
		waitpid(pid, &status, 0);
		if (write(answers[1], &status, sizeof(status)) != sizeof(status))
			return 1;
	}
	return 0;
}

static int traced(int told)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, watched, NULL))
		return 1;
	while (!stepped)
		sched_yield();
	if (write(told, (void *)&stepped, sizeof(stepped)) != sizeof(stepped))
		return 1;
	return serve();
}

// False when the thread has ended.
static int step(int tid)
{
	int status;

	return !ptrace(PTRACE_SINGLESTEP, tid, 0, 0) && waitpid(tid, &status, __WALL) == tid &&
	       WIFSTOPPED(status);
}

// Asks for a fork and lets the thread go on as far as that needs. Returns what became of the child, -1 when
// it does not end.
static int fork_here(int tid, int *alive)
{
	struct pollfd answer = { .fd = answers[0], .events = POLLIN };
	int status = -1;

	if (write(orders[1], "f", 1) != 1)
		return -1;
	for (int limit_ms = WAIT_MS; !poll(&answer, 1, *alive ? limit_ms : LIMIT_MS);
	     limit_ms = 1) {
		if (!*alive)
			return -1;
		*alive = step(tid);
	}
	return read(answers[0], &status, sizeof(status)) == sizeof(status) ? status : -1;
}

static int trace(int tid)
{
	int alive, status, forks = 0;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		return 77;
	waitpid(tid, &status, __WALL);
	if (write(start[1], "s", 1) != 1)
		return 1;
	for (alive = 1; alive; forks++) {
		alive = step(tid);
		status = fork_here(tid, &alive);
		if (status) {
			printf("the child of fork %d ended with status %#x\n", forks, status);
			return 1;
		}
	}
	printf("%d forks\n", forks);
	return 0;
}

int main(void)
{
	int told[2], tid, status;
	pid_t pid;

	if (pipe(orders) || pipe(answers) || pipe(start) || pipe(told))
		return 1;
	pid = fork();
	if (!pid) {
		setpgid(0, 0); // with its children, for one that hangs
		close(orders[1]);
		_exit(traced(told[1]));
	}
	close(orders[0]);
	if (read(told[0], &tid, sizeof(tid)) != sizeof(tid))
		return 1;
	status = trace(tid);
	kill(-pid, SIGKILL);
	return status;
}
