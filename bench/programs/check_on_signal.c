// SPDX-License-Identifier: MIT
/*
 * Makes a program that runs with LSan look for leaks when asked to: at signal 40. Each finished
 * check adds a byte to the file that CHECK_DONE names. Linked into a program or preloaded after
 * liblsan; bench/compare-leaks does both.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

void __lsan_init(void);
int __lsan_do_recoverable_leak_check(void);

static int done_fd = -1;

static void check(int signal)
{
	(void)signal;
	__lsan_do_recoverable_leak_check();
	if (write(done_fd, "+", 1) != 1)
		_exit(3);
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("CHECK_DONE");
	struct sigaction action = { .sa_handler = check, .sa_flags = SA_RESTART };

	if (!path)
		return;
	// Preloaded, it would start with the first malloc: too late for its sigaction.
	__lsan_init();
	done_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	sigaction(40, &action, NULL);
}
