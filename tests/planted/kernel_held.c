// SPDX-License-Identifier: MIT
// Blocks that only the kernel refers to: data of epoll entries and values of POSIX timers.
#include "plant.h"

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

PLANT void plant_epoll(int epoll, int fd)
{
	void *block = plant_block(160);
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = block };

	truth_held(block, "epoll data");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		plant_fail("epoll_ctl");
}

// In glibc before 2.34 a timer's name is the address of a block.
static volatile timer_t timers[2];

PLANT void plant_timer(void)
{
	struct itimerspec far = { .it_value.tv_sec = 100000 };
	struct sigevent event;
	timer_t timer;
	void *block = plant_block(170);

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGUSR2;
	event.sigev_value.sival_ptr = block;
	truth_held(block, "value of a timer with a signal");
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		plant_fail("timer_create");
	timer_settime(timer, 0, &far, NULL);
	timers[0] = timer;
}

static void expired(union sigval value)
{
	(void)value;
}

// glibc keeps the value of a SIGEV_THREAD timer in a block of its own, which the kernel refers to.
PLANT void plant_thread_timer(void)
{
	struct itimerspec far = { .it_value.tv_sec = 100000 };
	struct sigevent event;
	timer_t timer;
	void *block = plant_block(180);

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_THREAD;
	event.sigev_notify_function = expired;
	event.sigev_value.sival_ptr = block;
	truth_held(block, "value of a timer with a thread");
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		plant_fail("timer_create");
	timer_settime(timer, 0, &far, NULL);
	timers[1] = timer;
}

int main(int argc, char **argv)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int pipe_fd[2];

	plant_open(argc, argv);
	if (epoll < 0 || pipe(pipe_fd))
		plant_fail("epoll or pipe");
	plant_epoll(epoll, pipe_fd[0]);
	plant_epoll(epoll, pipe_fd[1]);
	plant_timer();
	plant_thread_timer();
	for (int i = 0; i < 5; i++)
		plant_leak(190);
	plant_serve(NULL);
}
