// SPDX-License-Identifier: MIT
/*
 * Runs a program under a preloaded library and reports what it cost. The kernel counts the memory
 * of a process before its exec in its peak, so this must be small: it is linked statically, and
 * bench/malloc/run starts each program through it.
 *
 * The kernel keeps resident pages in counters per CPU and takes the peak from an inexact sum (up to
 * 32 pages a counter and CPU, mm/memory.c), but VmHWM of /proc is at least the exact number of the
 * moment. So the program is traced, and looked at when it is about to end.
 *
 * usage: launch REPORT LIBRARY PROGRAM [ARGUMENT...]     LIBRARY may be empty
 *
 * Writes to the file REPORT: exit status, microseconds of user and of system time, peak KiB, page
 * faults.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void program_start(const char *library, char **command)
{
	if (library[0])
		setenv("LD_PRELOAD", library, 1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
		execvp(command[0], command);
	_exit(127);
}

static long peak_kib(pid_t pid)
{
	char line[256];
	long peak = 0;
	FILE *status;

	snprintf(line, sizeof(line), "/proc/%d/status", pid);
	status = fopen(line, "r");
	while (status && peak == 0 && fgets(line, sizeof(line), status))
		sscanf(line, "VmHWM: %ld", &peak);
	if (status)
		fclose(status);
	return peak;
}

// Waits for the end of the program. Returns its status and the peak at that moment.
static int program_end(pid_t pid, long *ret_peak, struct rusage *ret_usage)
{
	int status;

	// The first stop is that of the exec.
	if (wait4(pid, &status, 0, ret_usage) != pid || !WIFSTOPPED(status))
		return status;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	while (wait4(pid, &status, 0, ret_usage) == pid && WIFSTOPPED(status)) {
		int is_exit = status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8);

		if (is_exit)
			*ret_peak = peak_kib(pid);
		ptrace(PTRACE_CONT, pid, NULL, is_exit ? 0L : (long)WSTOPSIG(status));
	}
	return status;
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
	        microseconds(usage->ru_stime), peak > usage->ru_maxrss ? peak : usage->ru_maxrss,
	        usage->ru_minflt);
	return fclose(file) == 0 ? 0 : 125;
}

int main(int argc, char **argv)
{
	struct rusage usage = { 0 };
	long peak = 0;
	int status;
	pid_t pid;

	if (argc < 4)
		return 64;
	pid = fork();
	if (pid < 0)
		return 125;
	if (pid == 0)
		program_start(argv[2], argv + 3);
	status = program_end(pid, &peak, &usage);
	return report(argv[1], status, peak, &usage);
}
