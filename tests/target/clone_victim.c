// SPDX-License-Identifier: MIT
// Programs that notice a copy of theirs, or would die of one. Each prints
// "ready" and goes on until it is killed; SIGTERM makes some of them tell.
//
// usage: clone_victim MODE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t ending, child_signals;

static void end(int signal)
{
	(void)signal;
	ending = 1;
}

static void count_child(int signal)
{
	(void)signal;
	child_signals++;
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

// --- seccomp: a filter that kills for making a process or waiting for one ---------------------------
#define KILL(number)                                         \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

static void install(struct sock_filter *filter, unsigned short count)
{
	struct sock_fprog program = { count, filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static void forbid(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		KILL(SYS_clone),
		KILL(SYS_wait4),
		KILL(SYS_rt_sigreturn),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(filter, sizeof(filter) / sizeof(filter[0]));
}

// As container engines do it: a clone is judged by its flags.
static void forbid_flags(unsigned flags)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		KILL(SYS_ptrace),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_IMM, SYS_clone - 6),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 6),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(filter, sizeof(filter) / sizeof(filter[0]));
}

// --- deaf: every signal is ignored or blocked --------------------------------------------------------
static void be_deaf(void)
{
	sigset_t all;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_IGN);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

// --- waits: makes children and counts what its waits and its signals tell about them ----------------
static void make_child(int code)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(code & 63);
	pid_t got = waitpid(-1, &status, 0);

	while (got < 0 && errno == EINTR)
		got = waitpid(-1, &status, 0);
	if (got != pid || !WIFEXITED(status) || WEXITSTATUS(status) != (code & 63)) {
		printf("waited for %d, got %d\n", pid, got);
		exit(1);
	}
	if (waitpid(-1, &status, WNOHANG) != -1 || errno != ECHILD) {
		printf("a child that nobody made\n");
		exit(1);
	}
}

static void waits(void)
{
	struct sigaction on_child = { .sa_handler = count_child }, on_end = { .sa_handler = end };
	int made = 0;

	sigaction(SIGCHLD, &on_child, NULL);
	sigaction(SIGTERM, &on_end, NULL);
	ready();
	while (!ending)
		make_child(made++);
	printf("%s\n", made == child_signals ? "right" : "wrong");
	exit(0);
}

// --- events: waits without a limit, which must end by what it waits for only -------------------------
static void expect_event(int epoll, int from)
{
	struct epoll_event event;
	int got = epoll_wait(epoll, &event, 1, -1);
	char byte;

	if (got != 1 && !ending) {
		printf("epoll_wait gave %d, errno %d\n", got, errno);
		exit(1);
	}
	if (got == 1 && read(from, &byte, 1) != 1)
		die("read");
}

static void events(void)
{
	struct sigaction on_end = { .sa_handler = end };
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(0), ends[2];

	if (epoll < 0 || pipe(ends) || epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event))
		die("epoll");
	sigaction(SIGTERM, &on_end, NULL);
	ready();
	while (!ending)
		expect_event(epoll, ends[0]);
	printf("right\n");
	exit(0);
}

// --- output: closes its end of a pipe when told; a copy must not keep it open -------------------------
static void hold_output(void)
{
	struct sigaction on_end = { .sa_handler = end };

	sigaction(SIGTERM, &on_end, NULL);
	ready();
	while (!ending)
		pause();
	close(STDOUT_FILENO);
	for (;;)
		pause();
}

// --- signal-stack: its only thread runs on an alternate signal stack ----------------------------------
static void idle_on(int signal)
{
	(void)signal;
	ready();
	for (;;)
		pause();
}

static void on_signal_stack(void)
{
	static char memory[1 << 20];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) };
	struct sigaction action = { .sa_handler = idle_on, .sa_flags = SA_ONSTACK };

	if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL))
		die("sigaltstack");
	raise(SIGUSR1);
}

static void idle(void)
{
	ready();
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (!strcmp(mode, "seccomp")) {
		forbid();
		idle();
	} else if (!strcmp(mode, "seccomp-mild")) {
		forbid_flags(CLONE_NEWNS | CLONE_NEWUSER);
		idle();
	} else if (!strcmp(mode, "seccomp-files")) {
		forbid_flags(CLONE_FILES);
		idle();
	} else if (!strcmp(mode, "deaf")) {
		be_deaf();
		idle();
	} else if (!strcmp(mode, "waits")) {
		waits();
	} else if (!strcmp(mode, "events")) {
		events();
	} else if (!strcmp(mode, "output")) {
		hold_output();
	} else if (!strcmp(mode, "signal-stack")) {
		on_signal_stack();
	} else if (!strcmp(mode, "idle")) {
		idle();
	}
	return 64;
}
