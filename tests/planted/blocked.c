// SPDX-License-Identifier: MIT
/*
 * Threads that wait in system calls of every kind. Linux ends some of them with EINTR when a
 * tracer stops the thread, without any signal (signal(7), "Interruption of system calls by stop
 * signals"), and programs that never get signals may not expect it: `check` tells whether one
 * came back early.
 */
#include "plant.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>

static _Atomic int returned;
static _Atomic int started;

PLANT void came_back(const char *call)
{
	char line[100];
	int n = snprintf(line, sizeof(line), "%s came back: %m\n", call);

	returned++;
	if (write(2, line, n) != n)
		exit(3);
}

static void *in_epoll_wait(void *argument)
{
	struct epoll_event event;
	int epoll = epoll_create1(0);

	started++;
	epoll_wait(epoll, &event, 1, -1);
	came_back("epoll_wait");
	return argument;
}

static void *in_epoll_pwait_with_timeout(void *argument)
{
	struct epoll_event event;
	int epoll = epoll_create1(0);

	started++;
	epoll_pwait(epoll, &event, 1, 100000000, NULL);
	came_back("epoll_pwait");
	return argument;
}

static void *in_sigwaitinfo(void *argument)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	started++;
	sigwaitinfo(&set, NULL);
	came_back("sigwaitinfo");
	return argument;
}

static void *in_inotify_read(void *argument)
{
	char buffer[4096];
	int fd = inotify_init1(0);

	started++;
	if (read(fd, buffer, sizeof(buffer)) <= 0)
		came_back("read of inotify");
	return argument;
}

static void *in_receive_with_timeout(void *argument)
{
	struct timeval long_time = { .tv_sec = 100000 };
	char buffer[10];
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ||
	    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &long_time, sizeof(long_time)))
		plant_fail("socketpair");
	started++;
	recv(pair[0], buffer, sizeof(buffer), 0);
	came_back("recv with a timeout");
	return argument;
}

static void *in_poll(void *argument)
{
	struct pollfd fd = { .fd = eventfd(0, 0), .events = POLLIN };

	started++;
	poll(&fd, 1, 100000000);
	came_back("poll");
	return argument;
}

static void *in_select(void *argument)
{
	struct timeval long_time = { .tv_sec = 100000 };
	int fd = eventfd(0, 0);
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	started++;
	select(fd + 1, &set, NULL, NULL, &long_time);
	came_back("select");
	return argument;
}

static void *in_nanosleep(void *argument)
{
	struct timespec long_time = { .tv_sec = 100000 };

	started++;
	nanosleep(&long_time, NULL);
	came_back("nanosleep");
	return argument;
}

static void *in_sem_timedwait(void *argument)
{
	struct timespec end;
	sem_t semaphore;

	sem_init(&semaphore, 0, 0);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 100000;
	started++;
	sem_timedwait(&semaphore, &end);
	came_back("sem_timedwait");
	return argument;
}

static void *in_pause(void *argument)
{
	started++;
	pause();
	came_back("pause");
	return argument;
}

static void *(*const calls[])(void *) = {
	in_epoll_wait,
	in_epoll_pwait_with_timeout,
	in_sigwaitinfo,
	in_inotify_read,
	in_receive_with_timeout,
	in_poll,
	in_select,
	in_nanosleep,
	in_sem_timedwait,
	in_pause,
};
enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

static int check(void)
{
	return returned == 0;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	sigset_t set;

	plant_open(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < CALLS; i++)
		if (pthread_create(&thread, NULL, calls[i], NULL))
			plant_fail("pthread_create");
	while (started < CALLS)
		sched_yield();
	plant_leak(96);
	plant_serve(check);
}
