// SPDX-License-Identifier: MIT
// A program that notices whatever is done to it: threads that hold known values in all registers
// and in the red zone, and threads that wait in the kernel and must never see a wait end early.
// Included by the tests that look at a running process; x86-64 only.
#pragma once

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum victim_thread {
	VICTIM_REGISTERS, // the main thread
	VICTIM_REGISTERS_2,
	VICTIM_SLEEP,
	VICTIM_POLL,
	VICTIM_READ,
	VICTIM_FUTEX,
	VICTIM_SUSPEND, // sigsuspend: a mask that is put back later
	VICTIM_THREADS,
};

#define VICTIM_TEXT_BYTES 200

// Shared between the victim and the test.
struct victim {
	volatile uint64_t rounds[VICTIM_THREADS]; // grow for ever
	volatile int tids[VICTIM_THREADS];
	volatile int complaints;
	char complaint[VICTIM_TEXT_BYTES];
	volatile uint32_t futex;
	int pipe[2];
	pid_t pid;
};

static struct victim *victim_self;

static void victim_complain(const char *what, long a, long b)
{
	if (__atomic_fetch_add(&victim_self->complaints, 1, __ATOMIC_SEQ_CST) == 0)
		snprintf(victim_self->complaint, VICTIM_TEXT_BYTES, "%s: %ld %ld", what, a, b);
}

#define VICTIM_GENERAL  14
#define VICTIM_RED_ZONE 16
#define VICTIM_VECTORS  16

struct victim_values {
	uint64_t general[VICTIM_GENERAL]; // rax rbx rcx rdx rsi rbp r8-r15
	uint64_t rdi;
	uint64_t pad;
	uint64_t vectors[VICTIM_VECTORS][4];
	uint64_t red_zone[VICTIM_RED_ZONE];
};

// Loads all registers from in, counts spins down in memory, stores all registers to out.
void victim_spin(const struct victim_values *in, struct victim_values *out, uint64_t spins);
#define VICTIM_EACH_VECTOR(op)                                                                  \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) \
		op(14) op(15)
#define VICTIM_LOAD(n)  "vmovdqu 128+32*" #n "(%rdi), %ymm" #n "\n"
#define VICTIM_STORE(n) "vmovdqu %ymm" #n ", 128+32*" #n "(%rdi)\n"
#define VICTIM_TO_RED(n)                 \
	"mov 640+8*" #n "(%rdi), %rax\n" \
	"mov %rax, -128+8*" #n "(%rsp)\n"
#define VICTIM_FROM_RED(n)                \
	"mov -128+8*" #n "(%rsp), %rax\n" \
	"mov %rax, 640+8*" #n "(%rdi)\n"
_Static_assert(offsetof(struct victim_values, vectors) == 128, "as the code below has it");
_Static_assert(offsetof(struct victim_values, red_zone) == 640, "as the code below has it");
__asm__(".text\n.globl victim_spin\n.type victim_spin, @function\nvictim_spin:\n"
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
        "push %rsi; push %rdx\n" VICTIM_EACH_VECTOR(VICTIM_LOAD) VICTIM_EACH_VECTOR(
		VICTIM_TO_RED) "mov 0(%rdi), %rax; mov 8(%rdi), %rbx; mov 16(%rdi), %rcx; mov 24(%rdi), %rdx\n"
                               "mov 32(%rdi), %rsi; mov 40(%rdi), %rbp; mov 48(%rdi), %r8; mov 56(%rdi), %r9\n"
                               "mov 64(%rdi), %r10; mov 72(%rdi), %r11; mov 80(%rdi), %r12; mov 88(%rdi), %r13\n"
                               "mov 96(%rdi), %r14; mov 104(%rdi), %r15; mov 112(%rdi), %rdi\n"
                               "1: subq $1, (%rsp); jnz 1b\n"
                               "xchg %rdi, 8(%rsp)\n"
                               "mov %rax, 0(%rdi); mov %rbx, 8(%rdi); mov %rcx, 16(%rdi); mov %rdx, 24(%rdi)\n"
                               "mov %rsi, 32(%rdi); mov %rbp, 40(%rdi); mov %r8, 48(%rdi); mov %r9, 56(%rdi)\n"
                               "mov %r10, 64(%rdi); mov %r11, 72(%rdi); mov %r12, 80(%rdi); mov %r13, 88(%rdi)\n"
                               "mov %r14, 96(%rdi); mov %r15, 104(%rdi); mov 8(%rsp), %rax; mov %rax, 112(%rdi)\n" VICTIM_EACH_VECTOR(
				       VICTIM_STORE)
                                       VICTIM_EACH_VECTOR(
					       VICTIM_FROM_RED) "vzeroupper\n"
                                                                "add $16, %rsp\n"
                                                                "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
                                                                "ret\n.size victim_spin, .-victim_spin\n");

static void *victim_registers(void *argument)
{
	struct victim_values in, out;
	uint64_t *words = (uint64_t *)&in;
	long which = (long)argument;
	int serial = 0;

	victim_self->tids[which] = (int)syscall(SYS_gettid);
	for (;;) {
		for (unsigned i = 0; i < sizeof(in) / 8; i++)
			words[i] = 0x9e3779b97f4a7c15ull * (i + 1 + (unsigned)++serial);
		out = in;
		memset(&out, 0, offsetof(struct victim_values, pad));
		memset(out.vectors, 0, sizeof(out.vectors) + sizeof(out.red_zone));
		victim_spin(&in, &out, 200000);
		if (memcmp(&in, &out, sizeof(in)))
			for (unsigned i = 0; i < sizeof(in) / 8; i++)
				if (words[i] != ((uint64_t *)&out)[i])
					victim_complain("register word changed", i, which);
		victim_self->rounds[which]++;
	}
	return NULL;
}

static void *victim_sleep(void *argument)
{
	struct timespec pause = { 0, 3000000 };

	(void)argument;
	victim_self->tids[VICTIM_SLEEP] = (int)syscall(SYS_gettid);
	for (;;) {
		if (nanosleep(&pause, NULL) != 0)
			victim_complain("nanosleep", errno, 0);
		victim_self->rounds[VICTIM_SLEEP]++;
	}
	return NULL;
}

static void *victim_poll(void *argument)
{
	(void)argument;
	victim_self->tids[VICTIM_POLL] = (int)syscall(SYS_gettid);
	for (;;) {
		int got = poll(NULL, 0, 3);

		if (got != 0)
			victim_complain("poll", got, errno);
		victim_self->rounds[VICTIM_POLL]++;
	}
	return NULL;
}

// Reads what victim_futex writes; both count.
static void *victim_read(void *argument)
{
	uint64_t expected = 0, got;

	(void)argument;
	victim_self->tids[VICTIM_READ] = (int)syscall(SYS_gettid);
	for (;;) {
		ssize_t n = read(victim_self->pipe[0], &got, sizeof(got));

		if (n != sizeof(got) || got != expected++)
			victim_complain("read", n, errno);
		victim_self->rounds[VICTIM_READ]++;
		victim_self->futex++;
		syscall(SYS_futex, &victim_self->futex, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	return NULL;
}

static void *victim_futex(void *argument)
{
	struct timespec pause = { 0, 2000000 };

	(void)argument;
	victim_self->tids[VICTIM_FUTEX] = (int)syscall(SYS_gettid);
	for (uint64_t n = 0;; n++) {
		uint32_t before = victim_self->futex;

		nanosleep(&pause, NULL);
		if (write(victim_self->pipe[1], &n, sizeof(n)) != sizeof(n))
			victim_complain("write", 0, errno);
		while (victim_self->futex == before)
			if (syscall(SYS_futex, &victim_self->futex, FUTEX_WAIT, before, NULL, NULL,
			            0) &&
			    errno != EAGAIN)
				victim_complain("futex", 0, errno);
		victim_self->rounds[VICTIM_FUTEX]++;
	}
	return NULL;
}

static volatile int victim_handled;

static void victim_on_signal(int signal)
{
	(void)signal;
	victim_handled++;
}

// Only this thread takes SIGUSR1, and only inside sigsuspend; victim_sleep's twin sends it.
static void *victim_suspend(void *argument)
{
	sigset_t usual, inside;

	(void)argument;
	pthread_sigmask(SIG_SETMASK, NULL, &inside);
	sigdelset(&inside, SIGUSR1);
	victim_self->tids[VICTIM_SUSPEND] = (int)syscall(SYS_gettid);
	for (;;) {
		int before = victim_handled;

		if (sigsuspend(&inside) != -1 || errno != EINTR || victim_handled == before)
			victim_complain("sigsuspend", errno, victim_handled - before);
		pthread_sigmask(SIG_SETMASK, NULL, &usual);
		if (!sigismember(&usual, SIGUSR1))
			victim_complain("signal mask", 0, 0);
		victim_self->rounds[VICTIM_SUSPEND]++;
	}
	return NULL;
}

static void *victim_sender(void *argument)
{
	struct timespec pause = { 0, 5000000 };

	(void)argument;
	for (;;) {
		nanosleep(&pause, NULL);
		if (victim_self->tids[VICTIM_SUSPEND])
			syscall(SYS_tgkill, getpid(), victim_self->tids[VICTIM_SUSPEND], SIGUSR1);
	}
	return NULL;
}

static __attribute__((unused)) void victim_main(struct victim *shared)
{
	static void *(*const bodies[])(void *) = { victim_sleep, victim_poll,    victim_read,
		                                   victim_futex, victim_suspend, victim_sender };
	pthread_t thread;
	sigset_t blocked;

	victim_self = shared;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGUSR1, victim_on_signal);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	if (pipe(shared->pipe))
		abort();
	shared->pid = getpid();
	for (unsigned i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		pthread_create(&thread, NULL, bodies[i], NULL);
	pthread_create(&thread, NULL, victim_registers, (void *)VICTIM_REGISTERS_2);
	victim_registers((void *)VICTIM_REGISTERS);
}

static struct victim *victim_share(void)
{
	void *shared = mmap(NULL, sizeof(struct victim), PROT_READ | PROT_WRITE,
	                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		abort();
	return shared;
}

// Waits until every thread got further by some rounds; false when one does not for a minute, which
// no load of the machine explains.
static bool victim_goes_on(const struct victim *victim)
{
	uint64_t before[VICTIM_THREADS];
	struct timespec pause = { 0, 1000000 };

	for (unsigned i = 0; i < VICTIM_THREADS; i++)
		before[i] = victim->rounds[i];
	for (unsigned waited = 0; waited < 60000; waited++) {
		unsigned done = 0;

		for (unsigned i = 0; i < VICTIM_THREADS; i++)
			done += victim->rounds[i] >= before[i] + 3;
		if (done == VICTIM_THREADS)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

// How many children, dead or alive, a process has.
static unsigned victim_children(pid_t pid)
{
	char path[64];
	unsigned count = 0;
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	FILE *file = fopen(path, "r");

	while (file && fscanf(file, "%d", &child) == 1)
		count++;
	if (file)
		fclose(file);
	return count;
}

// Forks the victim, which calls prepare first (NULL: nothing); 0 when it goes on, as a setup function gives.
static int victim_start(struct victim *victim, void (*prepare)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		if (prepare)
			prepare();
		victim_main(victim);
	}
	victim->pid = pid;
	return !victim_goes_on(victim);
}

static int victim_stop(const struct victim *victim)
{
	kill(victim->pid, SIGKILL);
	waitpid(victim->pid, NULL, 0);
	return 0;
}

// Fails unless the victim runs on as if nothing had been done to it, soon without a child.
static void victim_expect_unharmed(const struct victim *victim, const char *what, unsigned number)
{
	struct timespec pause = { 0, 1000000 };
	int status;

	if (waitpid(victim->pid, &status, WNOHANG) != 0)
		fail_msg("%s %u: the victim ended, status %x", what, number, status);
	if (!victim_goes_on(victim))
		fail_msg("%s %u: the victim hangs", what, number);
	if (victim->complaints)
		fail_msg("%s %u: %s", what, number, victim->complaint);
	for (int i = 0; victim_children(victim->pid) && i < 60000; i++)
		nanosleep(&pause, NULL);
	if (victim_children(victim->pid))
		fail_msg("%s %u: a process is left", what, number);
}
