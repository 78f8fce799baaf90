// SPDX-License-Identifier: MIT
// A command that runs under our trace from its first instruction on. Only the
// process itself and its threads are traced, not the children it makes.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

#define START_OPTIONS (PTRACE_O_TRACEEXIT | PTRACE_O_TRACECLONE)

enum { VALUE_BYTES = 4096 };

// A value that does not fit is left out: the command runs in any case.
static void set_variables(const struct os_launch_variable *variables)
{
	char value[VALUE_BYTES];
	int n;

	for (; variables && variables->name; variables++) {
		n = variables->numbered ? snprintf(value, sizeof(value), "%s%d", variables->value,
		                                   (int)getpid())
		                        : snprintf(value, sizeof(value), "%s", variables->value);
		if (n > 0 && (size_t)n < sizeof(value))
			setenv(variables->name, value, 1);
	}
}

// In the child: waits until it is traced, then becomes the command. The errno of a failing exec
// goes back through the pipe, which a working one closes.
static void become(const char *const *words, const struct os_launch_variable *variables,
                   const int go[2], const int failed[2])
{
	char byte;
	int error;

	set_variables(variables);
	close(go[1]);
	close(failed[0]);
	if (read(go[0], &byte, 1) != 1)
		_exit(127);
	execvp(words[0], (char *const *)words);
	error = errno;
	if (write(failed[1], &error, sizeof(error)) != sizeof(error))
		_exit(127);
	_exit(127);
}

struct error *os_launch(const char *const *words, const struct os_launch_variable *variables,
                        int *ret_pid, int *ret_failed)
{
	int go[2], failed[2];
	struct error *error;
	pid_t pid;

	if (pipe2(go, O_CLOEXEC) || pipe2(failed, O_CLOEXEC))
		return error_system(errno, "cannot make a pipe");
	pid = fork();
	if (pid < 0)
		return error_system(errno, "cannot start %s", words[0]);
	if (!pid)
		become(words, variables, go, failed);
	close(go[0]);
	close(failed[1]);
	error = os_trace_seize(pid, START_OPTIONS);
	if (!error && write(go[1], "", 1) != 1)
		error = error_system(errno, "cannot start %s", words[0]);
	close(go[1]);
	*ret_pid = pid;
	*ret_failed = failed[0];
	return error;
}

int os_launch_failure(int failed)
{
	int error = 0;

	if (read(failed, &error, sizeof(error)) != sizeof(error))
		error = 0;
	close(failed);
	return error;
}

struct error *os_trace_wait_any(int *ret_tid, int *ret_status)
{
	int tid;

	do
		tid = waitpid(-1, ret_status, __WALL);
	while (tid < 0 && errno == EINTR);
	if (tid < 0)
		return error_system(errno, "cannot wait for the command");
	*ret_tid = tid;
	return NULL;
}

void os_trace_resume(int tid, int signal)
{
	ptrace(PTRACE_CONT, tid, NULL, (void *)(uintptr_t)signal);
}

void os_trace_listen(int tid)
{
	ptrace(PTRACE_LISTEN, tid, NULL, NULL);
}

unsigned long os_trace_event_message(int tid)
{
	unsigned long message = 0;

	ptrace(PTRACE_GETEVENTMSG, tid, NULL, &message);
	return message;
}

bool os_thread_ends_alone(int pid, int tid)
{
	struct arena arena;
	char path[64], *text;
	size_t bytes;
	bool alone;

	arena_init(&arena, &os_page_source);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	alone = !os_read_text(&arena, path, 4096, &text, &bytes) && atol(text) == SYS_exit;
	arena_deinit(&arena);
	return alone;
}

void os_reap(int pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) == pid && !WIFEXITED(status) && !WIFSIGNALED(status))
		os_trace_resume(pid, 0);
}

const char *os_signal_name(int signal)
{
	const char *name = strsignal(signal);

	return name ? name : "unknown signal";
}

void os_ignore_interrupts(bool ignore)
{
	signal(SIGINT, ignore ? SIG_IGN : SIG_DFL);
	signal(SIGQUIT, ignore ? SIG_IGN : SIG_DFL);
}
