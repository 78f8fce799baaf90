// SPDX-License-Identifier: MIT
/*
 * Runs a program under a preloaded library and reports what it cost, either its time or its peak of
 * memory; bench/malloc/run starts each program through it.
 *
 * The peak is exact to the page, which what the kernel reports is not: VmHWM and ru_maxrss come from
 * counters per CPU that are added up when 32 pages have come together in one of them, and are taken
 * only now and then (include/linux/mm.h, update_hiwater_rss). Of a program that gives memory back
 * before its end they miss up to half a MiB. Resident memory falls in few system calls: the program is
 * stopped at the entry of each of these, and when a thread ends, and what /proc then says (an exact
 * sum: fs/proc/task_mmu.c, task_statm) is the most since the last stop. What other threads touch while
 * one stands there is missed. The stops take time, so time is that of a run without them.
 *
 * usage: launch time|peak REPORT LIBRARY PROGRAM [ARGUMENT...]     LIBRARY may be empty
 *
 * Writes to the file REPORT: exit status, microseconds of user and of system time, peak KiB (0 with
 * time), page faults.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <stdlib.h>

#define NUMBER(name, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, skip, 0)

// Calls that can make resident memory less tell the tracer; the filter is only for that.
static int stops_install(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		NUMBER(munmap, 6),
		NUMBER(madvise, 5),
		NUMBER(brk, 4),
		NUMBER(mremap, 3),
		NUMBER(mmap, 2),
		NUMBER(shmdt, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static void program_start(int is_traced, const char *library, char **command)
{
	if (is_traced && (ptrace(PTRACE_TRACEME, 0, NULL, NULL) || raise(SIGSTOP)))
		_exit(127);
	if (library[0])
		setenv("LD_PRELOAD", library, 1);
	if (!is_traced || stops_install() == 0)
		execvp(command[0], command);
	_exit(127);
}

// As of now, seen from one of its threads. 0 for another process, which is no thread of this one.
static long resident_kib(pid_t pid, pid_t thread)
{
	char path[64], text[128];
	long pages = 0;
	ssize_t count = 0;
	int file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/statm", pid, thread);
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file >= 0) {
		count = read(file, text, sizeof(text) - 1);
		close(file);
	}
	if (count > 0) {
		text[count] = '\0';
		sscanf(text, "%*d %ld", &pages);
	}
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

// Only what follows the exec is of the program.
static void stopped(pid_t pid, pid_t thread, int status, int *is_program, long *peak)
{
	int event = status >> 16, signal = WSTOPSIG(status);
	long kib;

	if (event == PTRACE_EVENT_EXEC)
		*is_program = 1;
	if (*is_program && (event == PTRACE_EVENT_SECCOMP || event == PTRACE_EVENT_EXIT)) {
		kib = resident_kib(pid, thread);
		*peak = kib > *peak ? kib : *peak;
	}
	if (event || signal == SIGSTOP) // also the first stop of each thread
		signal = 0;
	ptrace(PTRACE_CONT, thread, NULL, (long)signal);
}

// Returns the status of the program and its peak; all processes that it starts are waited for.
static int trace(pid_t pid, long *ret_peak, struct rusage *ret_usage)
{
	int status, result = 127 << 8, is_program = 0;
	struct rusage usage;
	pid_t thread;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return status;
	ptrace(PTRACE_SETOPTIONS, pid, NULL,
	       PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL |
	               PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK);
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	while ((thread = wait4(-1, &status, __WALL, &usage)) > 0) {
		if (WIFSTOPPED(status)) {
			stopped(pid, thread, status, &is_program, ret_peak);
		} else if (thread == pid) {
			result = status;
			*ret_usage = usage;
		}
	}
	return result;
}

static long microseconds(struct timeval time)
{
	return time.tv_sec * 1000000L + time.tv_usec;
}

static int report(const char *path, int status, long peak, const struct rusage *usage)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	FILE *file = fopen(path, "w");

	if (!file)
		return 125;
	fprintf(file, "%d %ld %ld %ld %ld\n", code, microseconds(usage->ru_utime),
	        microseconds(usage->ru_stime), peak, usage->ru_minflt);
	return fclose(file) == 0 ? 0 : 125;
}

int main(int argc, char **argv)
{
	struct rusage usage = { 0 };
	int status, is_traced;
	long peak = 0;
	pid_t pid;

	if (argc < 5)
		return 64;
	is_traced = strcmp(argv[1], "peak") == 0;
	pid = fork();
	if (pid < 0)
		return 125;
	if (pid == 0)
		program_start(is_traced, argv[3], argv + 4);
	if (is_traced)
		status = trace(pid, &peak, &usage);
	else if (wait4(pid, &status, 0, &usage) != pid)
		return 125;
	return report(argv[2], status, peak, &usage);
}
