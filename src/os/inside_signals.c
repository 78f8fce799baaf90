// SPDX-License-Identifier: MIT
// A stretch that no signal handler interrupts, for code whose locks a handler may want as well. Signals
// that an instruction raises stay as they are: the kernel ends a process that blocks them. Called by the
// rooms of the target wing.
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/inside.h"

#define BIT(signal) (1ull << ((signal)-1))

static const uint64_t all_but_faults =
	~(BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) | BIT(SIGSYS));

static void change(int how, const uint64_t *mask, uint64_t *ret_before)
{
	int saved = errno;

	syscall(SYS_rt_sigprocmask, how, mask, ret_before, sizeof(*mask));
	errno = saved;
}

uint64_t inside_signals_block(void)
{
	uint64_t before = 0;

	change(SIG_BLOCK, &all_but_faults, &before);
	return before;
}

void inside_signals_restore(uint64_t before)
{
	change(SIG_SETMASK, &before, NULL);
}
