// SPDX-License-Identifier: MIT
// A process that is killed while all its threads stand traced (os/trace.c, target/stop.c): whoever
// waits for one of them learns of its end, and its parent need not wait for the tracer.
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "target/target_impl.h"

#define THREADS   3 // beside the first
#define LONG_NS   120000000000ull
#define LOOK_NS   1000000ull
#define TIDS_MOST 8
#define ENDLESS_S 1000

static _Noreturn void *sleep_for_ever(void *argument)
{
	(void)argument;
	for (;;)
		sleep(ENDLESS_S);
}

// A process with threads, which all exist when this returns.
static pid_t start_victim(void)
{
	int ready[2];
	pthread_t thread;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();

	if (pid == 0) {
		for (int i = 0; i < THREADS; i++)
			pthread_create(&thread, NULL, sleep_for_ever, NULL);
		(void)!write(ready[1], "r", 1);
		sleep_for_ever(NULL);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

struct list {
	int tids[TIDS_MOST];
	unsigned count;
};

static bool add_tid(void *context, int tid)
{
	struct list *list = context;

	list->tids[list->count++] = tid;
	return list->count < TIDS_MOST;
}

static void expect_stop(int tid, enum os_stop_kind kind)
{
	struct os_stop stop;

	assert_null(os_trace_wait(tid, os_monotonic_ns() + LONG_NS, &stop));
	assert_int_equal(stop.kind, kind);
}

static void test_end_of_the_first_thread(void **state)
{
	struct list list = { .count = 0 };
	pid_t pid = start_victim();
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	assert_null(os_each_number(path, add_tid, &list));
	assert_int_equal(list.count, THREADS + 1);
	for (unsigned i = 0; i < list.count; i++) {
		assert_null(os_trace_seize(list.tids[i], 0));
		assert_null(os_trace_interrupt(list.tids[i]));
		expect_stop(list.tids[i], OS_STOP_EVENT);
	}
	kill(pid, SIGKILL);
	// Nobody has collected the others, so the kernel does not report the first.
	expect_stop(pid, OS_STOP_ENDED);
	for (unsigned i = 0; i < list.count; i++)
		expect_stop(list.tids[i], OS_STOP_ENDED);
}

// The process ends between the stop and the release, and its tracer lives on.
static void trace_killed(pid_t pid)
{
	struct stop stop;

	stop_init(&stop, pid, NULL);
	if (stop_begin(&stop) || stop.threads.n != THREADS + 1)
		_exit(1);
	kill(pid, SIGKILL);
	stop_end(&stop);
	stop_deinit(&stop);
	sleep_for_ever(NULL);
}

static void test_parent_of_a_killed_one(void **state)
{
	pid_t pid = start_victim(), tracer = fork(), collected = 0;
	uint64_t end_ns = os_monotonic_ns() + LONG_NS;
	int status = 0;

	(void)state;
	if (tracer == 0)
		trace_killed(pid);
	while (collected == 0 && os_monotonic_ns() < end_ns) {
		collected = waitpid(pid, &status, WNOHANG);
		os_sleep_ns(LOOK_NS);
	}
	assert_int_equal(waitpid(tracer, NULL, WNOHANG), 0);
	kill(tracer, SIGKILL);
	assert_int_equal(waitpid(tracer, NULL, 0), tracer);
	assert_int_equal(collected, pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_end_of_the_first_thread),
		cmocka_unit_test(test_parent_of_a_killed_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
