// SPDX-License-Identifier: MIT
// Waits once, with a time limit that passes, and says what came of it and how long that took, in ms.
// usage: attach_sleep HOW MILLISECONDS
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct timespec limit;
static int limit_ms;

static int by_nanosleep(void)
{
	return nanosleep(&limit, NULL);
}

static int by_clock_nanosleep(void)
{
	return clock_nanosleep(CLOCK_MONOTONIC, 0, &limit, NULL);
}

static int by_poll(void)
{
	return poll(NULL, 0, limit_ms);
}

static int by_select(void)
{
	struct timeval time = { limit.tv_sec, limit.tv_nsec / 1000 };

	return select(0, NULL, NULL, NULL, &time);
}

// 0: the limit has passed.
static int passed(int result, int expected)
{
	return result == -1 && errno == expected ? 0 : 1;
}

static int by_futex(void)
{
	struct timespec end;
	sem_t semaphore;

	sem_init(&semaphore, 0, 0);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += limit.tv_sec;
	return passed(sem_timedwait(&semaphore, &end), ETIMEDOUT);
}

static int by_epoll(void)
{
	struct epoll_event event;

	return epoll_wait(epoll_create1(0), &event, 1, limit_ms);
}

static int by_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return passed(sigtimedwait(&set, NULL, &limit), EAGAIN);
}

static int by_receive(void)
{
	struct timeval time = { limit.tv_sec, 0 };
	int ends[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return 1;
	setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	return passed((int)recv(ends[0], &byte, 1, 0), EAGAIN);
}

static const struct way {
	const char *name;
	int (*wait)(void);
} ways[] = {
	{ "nanosleep", by_nanosleep }, { "clock_nanosleep", by_clock_nanosleep },
	{ "poll", by_poll },           { "select", by_select },
	{ "futex", by_futex },         { "epoll", by_epoll },
	{ "signal", by_signal },       { "receive", by_receive },
};

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	const struct way *way = ways;
	long start_ms;
	int result;

	if (argc < 3)
		return 64;
	while (strcmp(way->name, argv[1]) != 0)
		if (++way == ways + sizeof(ways) / sizeof(ways[0]))
			return 64;
	limit_ms = atoi(argv[2]);
	limit = (struct timespec){ limit_ms / 1000, limit_ms % 1000 * 1000000l };
	puts("ready");
	fflush(stdout);
	start_ms = now_ms();
	result = way->wait();
	printf("result %d, %s, after %ld ms\n", result, result ? strerror(errno) : "no error",
	       now_ms() - start_ms);
	return 0;
}
