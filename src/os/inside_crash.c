// SPDX-License-Identifier: MIT
// Signals that a fault raises, and memory that may not be there. Called by the rooms of the target
// wing, in handlers too.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/inside.h"

bool inside_crash_catch(int signal, inside_crash_handler *handler)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction old;

	if (sigaction(signal, NULL, &old) || old.sa_flags & SA_SIGINFO || old.sa_handler != SIG_DFL)
		return false;
	action.sa_sigaction = (void (*)(int, siginfo_t *, void *))handler;
	return !sigaction(signal, &action, NULL);
}

void inside_crash_let(int signal, const void *info)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	sigaction(signal, &action, NULL);
	// What nobody's instruction raised does not come back by itself.
	if (((const siginfo_t *)info)->si_code <= 0)
		syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
}

void inside_crash_stack(void *(*map)(size_t bytes), size_t bytes)
{
	stack_t stack = { .ss_size = bytes }, old;

	if (sigaltstack(NULL, &old) || !(old.ss_flags & SS_DISABLE))
		return;
	stack.ss_sp = map(bytes);
	if (stack.ss_sp)
		sigaltstack(&stack, NULL);
}

bool inside_crash_address(const void *info, uintptr_t *ret)
{
	const siginfo_t *from = info;

	*ret = (uintptr_t)from->si_addr;
	return from->si_code > 0 && from->si_code != SI_KERNEL;
}

bool inside_peek(uintptr_t address, void *buffer, size_t bytes)
{
	struct iovec own = { .iov_base = buffer, .iov_len = bytes };
	struct iovec there = { .iov_base = (void *)address, .iov_len = bytes };
	int saved = errno;
	// Whole words: of an int the kernel would see what else is in its word.
	long got = syscall(SYS_process_vm_readv, getpid(), &own, 1ul, &there, 1ul, 0ul);

	errno = saved;
	return got == (long)bytes;
}

void inside_yield(void)
{
	sched_yield();
}
