// SPDX-License-Identifier: MIT
// Injected calls (os/inject.c): the thread is what it was afterwards, also when
// nobody is left to put it back, at whatever instruction that happens.
#include "unit.h"

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "os/os.h"
#include "victim.h"

#define SECOND_NS  1000000000ull
#define STEPS_MOST 40

static struct victim *victim;

static void require(struct error *error)
{
	if (error) {
		fprintf(stderr, "%s\n", error->text);
		fflush(stderr);
		_exit(2);
	}
}

static uint64_t deadline(void)
{
	return os_monotonic_ns() + 120 * SECOND_NS;
}

// In a process of its own: stops one thread and makes it ready.
static void take(int tid, struct os_injection *injection)
{
	struct arena arena;
	struct os_mapping *mappings;
	struct os_gadgets gadgets;
	struct os_stop stop;
	size_t count;
	bool stable;
	const char *refusal;

	arena_init(&arena, &os_page_source);
	require(os_mappings_read(&arena, victim->pid, false, &mappings, &count, &stable));
	os_inject_find_gadgets(victim->pid, mappings, count, &gadgets);
	if (!gadgets.call_return || !gadgets.sigreturn)
		_exit(77);
	for (int tries = 0; tries < 100; tries++) {
		require(os_trace_seize(tid, 0));
		require(os_trace_interrupt(tid));
		require(os_trace_wait(tid, deadline(), &stop));
		if (stop.kind == OS_STOP_EVENT) {
			require(os_inject_begin(tid, &gadgets, mappings, count, injection,
			                        &refusal));
			if (!refusal)
				return;
		}
		require(os_trace_detach(tid, stop.kind == OS_STOP_SIGNAL ? stop.signal : 0));
		os_sleep_ns(1000000);
	}
	fprintf(stderr, "thread %d never served: %s\n", tid, refusal);
	_exit(3);
}

// Arms a call (NULL: the clone), executes `steps` instructions and goes away. Ends with 1 when the
// thread came back to where it was before that.
static void step_and_vanish(int tid, const struct os_call *call, unsigned steps,
                            unsigned child_steps)
{
	static struct os_injection injection;
	struct user_regs_struct now;
	const struct os_cpu *cpu = os_cpu_of_machine(EM_X86_64, 8);
	int status, child = 0;
	unsigned long message;
	bool home = false;

	take(tid, &injection);
	require(os_inject_arm(&injection, call));
	for (unsigned i = 0; i < steps && !home; i++) {
		ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL);
		waitpid(tid, &status, __WALL);
		if (WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_CLONE) {
			ptrace(PTRACE_GETEVENTMSG, tid, NULL, &message);
			child = (int)message;
			waitpid(child, &status, __WALL);
			for (unsigned j = 0; j < child_steps; j++) {
				ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
				if (waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status))
					break;
			}
			if (WIFSTOPPED(status))
				ptrace(PTRACE_DETACH, child, NULL, NULL);
		}
		ptrace(PTRACE_GETREGS, tid, NULL, &now);
		home = i > 2 && now.rsp == injection.registers[cpu->sp];
	}
	ptrace(PTRACE_DETACH, tid, NULL, NULL);
	_exit(home);
}

static int in_process(int tid, const struct os_call *call, unsigned steps, unsigned child_steps)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		step_and_vanish(tid, call, steps, child_steps);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_in_range(WEXITSTATUS(status), 0, 1);
	return WEXITSTATUS(status);
}

static int start_victim(void **state)
{
	(void)state;
	victim = victim_share();
	return victim_start(victim, NULL);
}

static int stop_victim(void **state)
{
	(void)state;
	return victim_stop(victim);
}

static const char *const names[] = { "registers", "registers 2", "sleep",  "poll",
	                             "read",      "futex",       "suspend" };

static void test_call_let_go_at_each_step(void **state)
{
	struct os_call call = { SYS_getpid, { 0 } };

	(void)state;
	for (unsigned which = 0; which < VICTIM_THREADS; which++) {
		unsigned steps = 0;

		while (!in_process(victim->tids[which], &call, steps, 0)) {
			victim_expect_unharmed(victim, names[which], steps);
			assert_true(++steps < STEPS_MOST);
		}
		victim_expect_unharmed(victim, names[which], steps);
		assert_in_range(steps, 4, STEPS_MOST);
	}
}

static void test_clone_let_go_at_each_step(void **state)
{
	(void)state;
	for (unsigned which = 0; which < VICTIM_THREADS; which++) {
		unsigned steps = 0;

		while (!in_process(victim->tids[which], NULL, steps, steps)) {
			victim_expect_unharmed(victim, names[which], steps);
			assert_true(++steps < STEPS_MOST);
		}
		victim_expect_unharmed(victim, names[which], steps);
		assert_in_range(steps, 8, STEPS_MOST);
	}
}

static void test_call_put_back(void **state)
{
	struct os_call call = { SYS_getpid, { 0 } };

	(void)state;
	for (unsigned i = 0; i < 10 * VICTIM_THREADS; i++) {
		unsigned which = i % VICTIM_THREADS;
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			static struct os_injection injection;
			int64_t result;

			take(victim->tids[which], &injection);
			require(os_inject_call(&injection, &call, deadline(), &result));
			require(os_trace_detach(injection.tid, 0));
			_exit(result == victim->pid ? 0 : 4);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		victim_expect_unharmed(victim, names[which], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_put_back),
		cmocka_unit_test(test_call_let_go_at_each_step),
		cmocka_unit_test(test_clone_let_go_at_each_step),
	};

	if (!os_inject_cpu()->supported) {
		printf("injection is not supported on this CPU\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, start_victim, stop_victim);
}
