// SPDX-License-Identifier: MIT
// Waiting for several descriptors with a limit. Called by report and tools.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

#define SECOND_NS 1000000000ull

bool os_await(struct os_awaited *list, size_t count, uint64_t limit_ns)
{
	struct pollfd looks[OS_AWAITED_MAX];
	struct timespec limit = { (time_t)(limit_ns / SECOND_NS), (long)(limit_ns % SECOND_NS) };
	int ready;

	if (count > OS_AWAITED_MAX)
		count = OS_AWAITED_MAX;
	for (size_t i = 0; i < count; i++)
		looks[i] = (struct pollfd){ .fd = list[i].fd,
			                    .events = list[i].urgent ? POLLPRI : POLLIN };
	ready = ppoll(looks, count, limit_ns == UINT64_MAX ? NULL : &limit, NULL);
	for (size_t i = 0; i < count; i++)
		list[i].ready = ready > 0 && looks[i].revents;
	return ready > 0;
}

void os_interrupts_return(int fd)
{
	struct signalfd_siginfo taken;
	sigset_t set;

	if (fd < 0)
		return;
	// What came already was heard, and is not to end the program now.
	while (read(fd, &taken, sizeof(taken)) > 0)
		;
	os_close(fd);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}
