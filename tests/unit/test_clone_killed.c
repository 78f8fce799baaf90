// SPDX-License-Identifier: MIT
// A look through a clone that is killed: the tool or its guardian, before each
// system call that can matter. The program looked at goes on and nothing is left.
//
// The test traces both: what they do to the target they do in system calls, so killing before each
// of them in turn meets every state there is. HEAPWRIGHT_TEST_ALL=1 takes every one; else every
// seventh is taken, by turns, as far as a minute reaches on a busy machine.
#include "unit.h"

#include <sys/ptrace.h>
#include <sys/resource.h>

#include "os/os.h"
#include "target/target.h"
#include "victim.h"

#define STOP_SYSCALL (SIGTRAP | 0x80)
#define OPTIONS                                                                                 \
	(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | \
	 PTRACE_O_TRACECLONE)
#define CALLS_MOST   4000
#define STRIDE_USUAL 7
#define USUAL_NS     60000000000ull
#define PRIORITY     (-10)
#define SHARED_BYTES 8192
#define TRACED_MOST  64

enum who { TOOL, GUARDIAN };

static struct victim *victim;

// The tool: everything one can do with a clone.
static void look(void)
{
	static const struct target_options options = {
		.want = TARGET_WANT_MEMORY,
		.force_clone = true,
		.accepts = "a pid",
	};
	struct target_shared shared;
	struct target *target;
	char text[16];

	snprintf(text, sizeof(text), "%d", victim->pid);
	if (target_open(text, &options, &target))
		_exit(1);
	if (target->kind == TARGET_CLONE && !target_share(target, SHARED_BYTES, &shared)) {
		memset(shared.here, 0xcc, SHARED_BYTES); // breakpoints
		(void)target_run(target, shared.there, 0, shared.there + SHARED_BYTES);
	}
	target_close(target);
	_exit(0);
}

// Waiting repeats as often as it likes, so it does not count.
static bool counts(int tid)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	switch (info.entry.nr) {
	case SYS_wait4:
	case SYS_clock_nanosleep:
	case SYS_nanosleep:
	case SYS_poll:
	case SYS_read:
	case SYS_pread64:
	case SYS_fstat:
	case SYS_newfstatat:
	case SYS_brk:
	case SYS_getdents64:
	case SYS_ioctl:
	case SYS_process_vm_readv:
	case SYS_openat:
	case SYS_close:
		return false;
	default:
		return true;
	}
}

// What the test traces in one run: the tool, its threads, its guardian. The kernel reports a new one's
// first stop at any time after the call that made it, so it is known from that call on: a run is over
// when all have ended, and no stopped guardian is forgotten, in whose hands the victim stands.
struct traced {
	pid_t tool, guardian;
	pid_t tids[TRACED_MOST];
	unsigned count;
};

static void traced_add(struct traced *traced, pid_t tid)
{
	for (unsigned i = 0; i < traced->count; i++)
		if (traced->tids[i] == tid)
			return;
	assert_true(traced->count < TRACED_MOST);
	traced->tids[traced->count++] = tid;
}

static void traced_drop(struct traced *traced, pid_t tid)
{
	for (unsigned i = 0; i < traced->count; i++)
		if (traced->tids[i] == tid)
			traced->tids[i] = traced->tids[--traced->count];
}

// Takes note of what the stop is about; returns the signal to hand on.
static int take_stop(struct traced *traced, pid_t tid, int status)
{
	int event = status >> 16;
	unsigned long made;

	traced_add(traced, tid);
	if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
	    event == PTRACE_EVENT_CLONE) {
		assert_int_equal(ptrace(PTRACE_GETEVENTMSG, tid, NULL, &made), 0);
		traced_add(traced, (pid_t)made);
		if (event == PTRACE_EVENT_FORK)
			traced->guardian = (pid_t)made;
	}
	return event || WSTOPSIG(status) == STOP_SYSCALL ? 0 : WSTOPSIG(status);
}

static pid_t start_tool(void)
{
	pid_t tool = fork();
	int status;

	if (tool == 0) {
		raise(SIGSTOP);
		look();
	}
	assert_int_equal(waitpid(tool, &status, WUNTRACED), tool);
	assert_int_equal(ptrace(PTRACE_SEIZE, tool, NULL, OPTIONS), 0);
	kill(tool, SIGCONT);
	return tool;
}

// Ends `who` before its k-th call that counts and waits for the end of all. False when it made
// fewer calls.
static bool run_and_kill(enum who who, unsigned k)
{
	struct traced traced = { .tool = start_tool() };
	unsigned made = 0;
	bool killed = false;
	int status;

	traced_add(&traced, traced.tool);
	while (traced.count) {
		pid_t tid = waitpid(-1, &status, __WALL);

		if (tid == victim->pid)
			fail_msg("the victim ended, status %x", status);
		if (!WIFSTOPPED(status)) {
			traced_drop(&traced, tid);
			continue;
		}
		int signal = take_stop(&traced, tid, status);
		bool is_it = tid == (who == TOOL ? traced.tool : traced.guardian);

		if (is_it && !killed && WSTOPSIG(status) == STOP_SYSCALL && counts(tid) &&
		    made++ == k) {
			kill(tid, SIGKILL);
			killed = true;
			continue;
		}
		// A stop costs a turn of the scheduler on a busy machine.
		ptrace(is_it && !killed ? PTRACE_SYSCALL : PTRACE_CONT, tid, NULL,
		       (void *)(uintptr_t)signal);
	}
	return killed;
}

static void kill_each(enum who who, const char *name)
{
	bool all = getenv("HEAPWRIGHT_TEST_ALL");
	unsigned stride = all ? 1 : STRIDE_USUAL;
	unsigned k = (unsigned)getpid() % stride;
	uint64_t end_ns = os_monotonic_ns() + USUAL_NS;

	while (run_and_kill(who, k)) {
		victim_expect_unharmed(victim, name, k);
		k += stride;
		assert_true(k < CALLS_MOST);
		if (!all && os_monotonic_ns() > end_ns) {
			print_message("%s: busy machine, killed at calls up to %u\n", name, k);
			return;
		}
	}
	victim_expect_unharmed(victim, name, k);
	print_message("%s: about %u calls\n", name, k);
	assert_true(k > 20);
}

static void test_tool_killed(void **state)
{
	(void)state;
	kill_each(TOOL, "tool");
}

static void test_guardian_killed(void **state)
{
	(void)state;
	kill_each(GUARDIAN, "guardian");
}

static int start_victim(void **state)
{
	(void)state;
	victim = victim_share();
	int failed = victim_start(victim, NULL);

	// Threads of the victim never rest, and who traces needs a turn for each stop. Without the
	// right to it the usual priority has to do.
	setpriority(PRIO_PROCESS, 0, PRIORITY);
	return failed;
}

static int stop_victim(void **state)
{
	(void)state;
	return victim_stop(victim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tool_killed),
		cmocka_unit_test(test_guardian_killed),
	};

	if (!os_inject_cpu()->supported) {
		printf("injection is not supported on this CPU\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, start_victim, stop_victim);
}
