// SPDX-License-Identifier: MIT
// Cores as gdb's gcore, the kernel and zstd make them of a child of this test. The child is a fork, so
// the truth about its memory is our own memory. What this machine cannot make is skipped.
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "symbols/symbols.h"
#include "target/target.h"

enum { THREADS = 3, STATUS_SKIPPED = 77 };

static char folder[200];
static volatile uint64_t written[4] = { 0x1122334455667788, 2, 3, 4 };
static int ready[2];   // child to parent
static int started[2]; // within the child
static char *heap_text;

static void *wait_for_ever(void *unused)
{
	if (write(started[1], "t", 1) != 1)
		abort();
	for (;;)
		pause();
	return unused;
}

// In the child: three more threads and a fact that only it has.
static void victim(bool aborts)
{
	pthread_t thread;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	written[1] = 4711;
	for (int i = 0; i < THREADS; i++) {
		pthread_create(&thread, NULL, wait_for_ever, NULL);
		if (read(started[0], &byte, 1) != 1)
			abort();
	}
	if (aborts) {
		struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

		if (chdir(folder) || setrlimit(RLIMIT_CORE, &unlimited))
			_exit(STATUS_SKIPPED);
		prctl(PR_SET_DUMPABLE, 1);
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	if (write(ready[1], "r", 1) != 1)
		abort();
	wait_for_ever(NULL);
}

static int start_victim(bool aborts)
{
	int pid;

	if (pipe2(ready, O_CLOEXEC) || pipe2(started, O_CLOEXEC))
		abort();
	pid = fork();
	if (pid == 0)
		victim(aborts);
	return pid;
}

static bool open_core(const char *path, struct target **ret)
{
	struct target_options options = { .want = TARGET_WANT_MEMORY };
	struct error *error;

	if (access(path, R_OK))
		return false;
	error = target_open(path, &options, ret);
	if (error)
		fail_msg("%s", error->text);
	return true;
}

static void assert_same_memory(struct target *target, const void *here, size_t bytes)
{
	uint8_t buffer[512];
	struct error *error = target_read(target, (uintptr_t)here, buffer, bytes);

	if (error)
		fail_msg("%s", error->text);
	assert_memory_equal(buffer, here, bytes);
}

// A thread's stack has the function it waits in and the one that started it.
static void assert_unwinds(struct target *target)
{
	struct symbols *symbols;
	size_t waiting = 0, main_found = 0;

	assert_null(symbols_open(target, &symbols));
	for (size_t i = 0; i < target->thread_count; i++) {
		struct symbols_frame frames[64];
		struct symbols_name name;
		size_t count;

		assert_null(symbols_unwind(symbols, i, frames, 64, &count));
		assert_true(count >= 3);
		for (size_t k = 0; k < count; k++) {
			symbols_name_at(symbols, frames[k].pc - frames[k].is_return, &name);
			waiting += name.function && !strcmp(name.function, "wait_for_ever");
			main_found += name.function && !strcmp(name.function, "main");
		}
	}
	assert_in_range(waiting, THREADS, THREADS + 1);
	assert_int_equal(main_found, 1);
	symbols_close(symbols);
}

static void assert_is_victim(struct target *target, int pid)
{
	uint64_t there[4];

	for (size_t i = 0; i < target->warning_count; i++)
		print_message("warning: %s\n", target->warnings[i]);
	assert_int_equal(target->pid, pid);
	assert_string_equal(target->name, "test_core_real");
	assert_int_equal(target->thread_count, THREADS + 1);
	for (size_t i = 0; i < target->thread_count; i++) {
		const struct target_segment *stack =
			target_segment_at(target, target->threads[i].sp);

		assert_true(target->threads[i].has_registers);
		assert_true(target->threads[i].vector_bytes >= 512);
		assert_non_null(stack);
		assert_true(stack->readable);
	}
	assert_null(target_read(target, (uintptr_t)written, there, sizeof(there)));
	assert_int_equal(there[0], written[0]);
	assert_int_equal(there[1], 4711);
	assert_same_memory(target, heap_text, 6);
	// Code is not in a core; it comes from the files that this very test runs from.
	assert_same_memory(target, (const void *)(uintptr_t)qsort, 256);
	assert_same_memory(target, (const void *)(uintptr_t)start_victim, 64);
	assert_true(target->complete);
	assert_unwinds(target);
}

static int run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void reads_a_core_of_gcore(void **state)
{
	char command[600], path[300];
	struct target *target = NULL;
	char byte;
	int pid;

	(void)state;
	if (unit_under_asan() || unit_under_qemu() || run("command -v gcore >/dev/null 2>&1"))
		skip();
	pid = start_victim(false);
	if (read(ready[0], &byte, 1) != 1)
		abort();
	snprintf(command, sizeof(command), "gcore -o %s/core %d >/dev/null 2>&1", folder, pid);
	run(command);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(path, sizeof(path), "%s/core.%d", folder, pid);
	if (!open_core(path, &target))
		skip();
	assert_is_victim(target, pid);
	target_close(target);
}

static bool find_kernel_core(int pid, char *path, size_t bytes)
{
	snprintf(path, bytes, "%s/core", folder);
	if (access(path, R_OK) == 0)
		return true;
	snprintf(path, bytes, "%s/core.%d", folder, pid);
	return access(path, R_OK) == 0;
}

static void reads_a_core_of_the_kernel(void **state)
{
	char path[300], command[700];
	struct target *target = NULL;
	int pid, status;

	(void)state;
	if (unit_under_asan() || unit_under_qemu())
		skip();
	pid = start_victim(true);
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status) || !WCOREDUMP(status) ||
	    !find_kernel_core(pid, path, sizeof(path))) {
		print_message("this kernel writes no core file into the current folder\n");
		skip();
	}
	assert_true(open_core(path, &target));
	assert_is_victim(target, pid);
	assert_non_null(strstr(target->how, "signal was 6"));
	target_close(target);

	// As systemd-coredump would keep it.
	snprintf(command, sizeof(command), "zstd -q -f %s -o %s.zst 2>/dev/null", path, path);
	if (run(command))
		skip();
	strcat(path, ".zst");
	assert_true(open_core(path, &target));
	assert_is_victim(target, pid);
	target_close(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_core_of_gcore),
		cmocka_unit_test(reads_a_core_of_the_kernel),
	};
	const char *temporary = getenv("TMPDIR");
	char command[300];
	int failed;

	snprintf(folder, sizeof(folder), "%s/core-XXXXXX", temporary ? temporary : "/tmp");
	if (!mkdtemp(folder))
		return 1;
	heap_text = strdup("words");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(heap_text);
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	run(command);
	return failed;
}
