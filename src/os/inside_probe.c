// SPDX-License-Identifier: MIT
// What may be read, and where libc's own heap lies (os/inside.h). Relies on system calls only.
#include <errno.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/inside.h"

static long call(long number, long a, long b, long c, long d)
{
	int saved = errno;
	long got = syscall(number, a, b, c, d);
	int error = errno;

	errno = saved;
	return got == -1 ? -error : got;
}

// rt_sigprocmask copies the set before it looks at what shall be done with it (kernel/signal.c), and no
// seccomp filter forbids it.
bool inside_readable_word(const void *address)
{
	return call(SYS_rt_sigprocmask, -1, (long)address, 0, sizeof(uint64_t)) == -EINVAL;
}

// The kernel puts the program's name at the very top, above arguments and environment
// (fs/exec.c, bprm_execve).
uintptr_t inside_stack_top(void)
{
	return getauxval(AT_EXECFN);
}

extern void *__libc_stack_end __attribute__((weak)); // of glibc's dynamic linker

uintptr_t inside_stack_first(void)
{
	return &__libc_stack_end ? (uintptr_t)__libc_stack_end : 0;
}

uintptr_t inside_break_end(void)
{
	return (uintptr_t)call(SYS_brk, 0, 0, 0, 0);
}

enum { STAT_START_BREAK = 47 }; // proc_pid_stat(5), counted from 1

// Behind the name, which may hold anything up to its last parenthesis, the fields are numbers.
static uintptr_t start_break_of(const char *text, size_t count)
{
	uintptr_t value = 0;
	size_t at = count;
	int field = 2;

	while (at && text[at - 1] != ')')
		at--;
	while (at < count && field < STAT_START_BREAK)
		field += text[at++] == ' ';
	for (; at < count && text[at] >= '0' && text[at] <= '9'; at++)
		value = value * 10 + (uintptr_t)(text[at] - '0');
	return value;
}

uintptr_t inside_break_start(void)
{
	char text[2048];
	long fd = call(SYS_openat, AT_FDCWD, (long)"/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
	long count;

	if (fd < 0)
		return 0;
	count = call(SYS_read, fd, (long)text, sizeof(text), 0);
	call(SYS_close, fd, 0, 0, 0);
	return count > 0 ? start_break_of(text, (size_t)count) : 0;
}
