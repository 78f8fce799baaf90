// SPDX-License-Identifier: MIT
// A command that runs as our child while we wait, and the processes that it leaves to us (os/os.h).
// Called by the tool that records a command.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

enum { POLL_NS = 2000000 };

static volatile sig_atomic_t command;

static void forward(int signal)
{
	if (command)
		kill((pid_t)command, signal);
}

// The terminal's interrupts reach the command by themselves; what is sent to us alone is meant for it.
static void take_signals(void)
{
	struct sigaction action = { .sa_handler = forward, .sa_flags = SA_RESTART };

	os_ignore_interrupts(true);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

// Orphans that it left to us are collected as they end.
static void wait_for_command(int *ret_status)
{
	pid_t ended;
	int status;

	do
		ended = waitpid(-1, &status, 0);
	while (ended != (pid_t)command && (ended >= 0 || errno == EINTR));
	*ret_status = status;
}

struct error *os_run(int (*child)(const void *context), const void *context, int *ret_pid,
                     int *ret_status)
{
	pid_t pid;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = fork();
	if (pid < 0)
		return error_system(errno, "cannot make a process");
	if (!pid) {
		prctl(PR_SET_CHILD_SUBREAPER, 0);
		exit(child(context));
	}
	command = *ret_pid = pid;
	take_signals();
	wait_for_command(ret_status);
	command = 0;
	return NULL;
}

// Children with one thread's list of them (fs/proc/array.c); what it does not show is not waited for.
static bool has_child_named(const char *name)
{
	char path[64], found[32];
	FILE *list;
	int pid;
	bool has = false;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	list = fopen(path, "re");
	while (list && !has && fscanf(list, "%d", &pid) == 1)
		has = os_thread_name(pid, pid, found) && !strcmp(found, name);
	if (list)
		fclose(list);
	return has;
}

bool os_run_await(const char *name, uint64_t limit_ns)
{
	uint64_t end = os_monotonic_ns() + limit_ns;

	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (!has_child_named(name))
			return true;
		if (os_monotonic_ns() >= end)
			return false;
		os_sleep_ns(POLL_NS);
	}
}

void os_run_end_as(int status)
{
	if (WIFSIGNALED(status)) {
		prctl(PR_SET_DUMPABLE, 0); // the core is the command's
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
