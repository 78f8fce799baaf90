// SPDX-License-Identifier: MIT
// A command that is looked at when it exits: it runs traced, and is caught in the
// kernel at its exit, where memory and threads are still there (leaks -atExit).
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "os/os.h"
#include "target/target_impl.h"

#define MOST_HELD (sizeof(((struct target_exit *)0)->threads) / sizeof(int))

struct launch {
	struct target_exit *exit;
	size_t running; // threads that have not come to their end
	bool ending;    // the whole process has
	bool gone;      // ended without a stop (SIGKILL at the wrong moment)
};

static void exit_describe(struct target_exit *launched, int wait_status)
{
	static char text[96];

	if (WIFSIGNALED(wait_status)) {
		launched->status = 128u + (unsigned)WTERMSIG(wait_status);
		snprintf(text, sizeof(text), "was killed by signal %d (%s)", WTERMSIG(wait_status),
		         os_signal_name(WTERMSIG(wait_status)));
	} else {
		launched->status = (unsigned)WEXITSTATUS(wait_status);
		snprintf(text, sizeof(text), "exited with status %u", launched->status);
	}
	launched->text = text;
}

// A thread stands at its exit. It is held when the process ends with it, let go when it ends alone.
static void at_thread_exit(struct launch *launch, int tid)
{
	struct target_exit *launched = launch->exit;

	if (!launch->ending) {
		if (launch->running > 1 && os_thread_ends_alone(launched->pid, tid)) {
			launch->running--;
			os_trace_resume(tid, 0);
			return;
		}
		launch->ending = true;
		exit_describe(launched, (int)os_trace_event_message(tid));
	}
	launch->running--;
	if (launched->thread_count < MOST_HELD)
		launched->threads[launched->thread_count++] = tid;
	else
		os_trace_resume(tid, 0);
}

static void at_stop(struct launch *launch, int tid, int status)
{
	int event = (int)((unsigned)status >> 16);

	if (event == PTRACE_EVENT_EXIT) {
		at_thread_exit(launch, tid);
	} else if (event == PTRACE_EVENT_CLONE) {
		launch->running++;
		os_trace_resume(tid, 0);
	} else if (event == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP) {
		os_trace_listen(tid);
	} else {
		os_trace_resume(tid, event ? 0 : WSTOPSIG(status));
	}
}

// Runs until all threads of the ending process stand at their exit.
static struct error *run_to_exit(struct launch *launch)
{
	while (!launch->gone && !(launch->ending && !launch->running)) {
		int tid, status;

		TRY(os_trace_wait_any(&tid, &status));
		if (WIFSTOPPED(status))
			at_stop(launch, tid, status);
		else if (tid == launch->exit->pid) {
			exit_describe(launch->exit, status);
			launch->gone = true;
		}
	}
	return NULL;
}

struct error *target_launch(const char *const *words, size_t count,
                            const struct os_launch_variable *variables, struct target_exit *ret)
{
	struct launch launch = { .exit = ret, .running = 1 };
	const char **argv;
	struct arena arena;
	struct error *error;
	int failed, failure;

	*ret = (struct target_exit){ .pid = 0 };
	arena_init(&arena, &os_page_source);
	argv = arena_array(&arena, count + 1, sizeof(*argv));
	memcpy(argv, words, count * sizeof(*argv));
	error = os_launch(argv, variables, &ret->pid, &failed);
	arena_deinit(&arena);
	if (error)
		return error;
	os_ignore_interrupts(true);
	error = run_to_exit(&launch);
	os_ignore_interrupts(false);
	failure = os_launch_failure(failed);
	if (failure) {
		target_launch_end(ret);
		return error_system(failure, "cannot run %s", words[0]);
	}
	if (!error && launch.gone)
		return error_new(ERROR_GONE, "the command %s before it could be looked at",
		                 ret->text);
	return error;
}

void target_launch_end(struct target_exit *launched)
{
	for (size_t i = 0; i < launched->thread_count; i++)
		os_trace_detach(launched->threads[i], 0);
	os_reap(launched->pid);
}
