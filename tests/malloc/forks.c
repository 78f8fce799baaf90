// SPDX-License-Identifier: MIT
// fork while other threads allocate and free: the child must find every lock free and its heap whole.
// A library of the program has registered handlers for fork that allocate. vfork and posix_spawn too.
// Ends with status 0. The argument is the number of forks.
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { THREADS = 3 };

static volatile int stop;
static int handler_calls;
static void *kept_by_handler;

static void in_handler(void)
{
	free(kept_by_handler);
	kept_by_handler = strdup("a text of some length, so that it is a block");
	handler_calls++;
}

static void *churn(void *seed)
{
	void *blocks[256] = { 0 };
	unsigned random = (unsigned)(size_t)seed;

	while (!stop) {
		random = random * 1103515245 + 12345;
		free(blocks[random >> 24]);
		blocks[random >> 24] = malloc((random >> 8) % ((random >> 4) & 1 ? 200 : 90000));
	}
	for (int i = 0; i < 256; i++)
		free(blocks[i]);
	return NULL;
}

// Every class of size, up and down, and a thread of its own.
static int child(char *text)
{
	void *blocks[64];
	pthread_t thread;

	if (strcmp(text, "from before the fork"))
		return 1;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++)
			blocks[i] =
				memset(malloc((size_t)i * i * 31 + 1), i, (size_t)i * i * 31 + 1);
		for (int i = 0; i < 64; i++)
			free(blocks[i]);
	}
	free(text);
	stop = 1;
	return pthread_create(&thread, NULL, churn, (void *)9) || pthread_join(thread, NULL);
}

static int fork_once(void)
{
	char *text = strdup("from before the fork");
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return 1;
	if (!pid)
		_exit(child(text));
	free(text);
	return waitpid(pid, &status, 0) != pid || status;
}

static int vfork_once(void)
{
	int status;
	pid_t pid = vfork();

	if (!pid) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid || status;
}

static int spawn_once(void)
{
	char *words[] = { "true", NULL };
	pid_t pid;
	int status;

	return posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) ||
	       waitpid(pid, &status, 0) != pid || status;
}

int main(int argc, char **argv)
{
	int forks = atoi(argv[argc - 1]);
	pthread_t threads[THREADS];

	pthread_atfork(in_handler, in_handler, in_handler);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, churn, (void *)(i + 1));
	for (int i = 0; i < forks; i++)
		if (fork_once() || (i % 10 == 0 && (vfork_once() || spawn_once()))) {
			printf("fork %d failed\n", i);
			return 1;
		}
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return !forks || handler_calls != 2 * forks;
}
