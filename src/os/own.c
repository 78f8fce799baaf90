// SPDX-License-Identifier: MIT
// What a tool sets right in its own process before it begins, whatever it was started with (os/os.h).
// Called by main of the tools. A command that a tool becomes or starts gets what the tool was given:
// handlers and these descriptors end with exec.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "os/os.h"

#define EXIT_NO_START 2

static void take_file_limit(int number)
{
	(void)number;
}

// A write beyond RLIMIT_FSIZE shall fail, as on a full disk, and not end the tool in the middle.
static void limit_is_error(void)
{
	struct sigaction action = { .sa_handler = take_file_limit, .sa_flags = SA_RESTART }, before;

	if (!sigaction(SIGXFSZ, NULL, &before) && before.sa_handler == SIG_DFL)
		sigaction(SIGXFSZ, &action, NULL);
}

// Else a file that is opened next would be standard output. They are open for what is not done with
// them, so that it still fails with EBADF.
static void close_gaps(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC) != fd)
			_exit(EXIT_NO_START);
}

void os_own_prepare(void)
{
	close_gaps();
	limit_is_error();
}
