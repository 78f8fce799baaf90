// SPDX-License-Identifier: MIT
// A process that outlives whoever started it, threads without signals, and commands whose output is
// wanted. Called by collect.
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t end_asked, mark_asked;

static void take_signal(int signal)
{
	if (signal == SIGTERM)
		end_asked = 1;
	else
		mark_asked = 1;
}

struct os_asked os_background_asked(void)
{
	struct os_asked asked = { end_asked != 0, mark_asked != 0 };

	if (asked.end)
		end_asked = 0;
	if (asked.mark)
		mark_asked = 0;
	return asked;
}

// SIGXFSZ and SIGPIPE come back as errors of the call.
static void choose_signals(void)
{
	static const int deaf[] = { SIGINT,  SIGQUIT, SIGHUP,  SIGTSTP,
		                    SIGTTIN, SIGTTOU, SIGPIPE, SIGXFSZ };
	struct sigaction action = { .sa_handler = SIG_IGN };
	sigset_t none;

	for (size_t i = 0; i < sizeof(deaf) / sizeof(deaf[0]); i++)
		sigaction(deaf[i], &action, NULL);
	action.sa_handler = SIG_DFL;
	sigaction(SIGCHLD, &action, NULL);
	action.sa_handler = take_signal;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void raise_limits(void)
{
	struct rlimit limit;

	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (!getrlimit(i, &limit) && limit.rlim_cur != limit.rlim_max) {
			// A bigger stack would be reserved for each thread, and nobody
			// has asked for a core.
			if (i == RLIMIT_STACK || i == RLIMIT_CORE)
				continue;
			limit.rlim_cur = limit.rlim_max;
			setrlimit(i, &limit);
		}
}

static void schedule_plainly(void)
{
	struct sched_param plain = { 0 };
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all)); // the kernel leaves what the process may have
	sched_setaffinity(0, sizeof(all), &all);
	if (sched_getscheduler(0) == SCHED_FIFO || sched_getscheduler(0) == SCHED_RR)
		sched_setscheduler(0, SCHED_OTHER, &plain);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	// A wish: where it is refused, the process is as any other.
	if (write(fd, text, strlen(text)) < 0)
		errno = 0;
	close(fd);
}

static void close_others(const int *keep, size_t count)
{
	unsigned from = STDERR_FILENO + 1;

	for (;;) {
		unsigned next = ~0u;

		for (size_t i = 0; i < count; i++)
			if (keep[i] >= (int)from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next > from)
			syscall(SYS_close_range, from, next == ~0u ? next : next - 1, 0);
		if (next == ~0u)
			return;
		from = next + 1;
	}
}

void os_background(const char *name, const int *keep, size_t count)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	choose_signals();
	if (chdir("/") < 0)
		errno = 0;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (null >= 0)
			dup2(null, fd);
	close_others(keep, count);
	raise_limits();
	schedule_plainly();
	write_file("/proc/self/oom_score_adj", "1000");
	prctl(PR_SET_NAME, name);
	prctl(PR_SET_PDEATHSIG, 0);
}

int os_keep_errors(void)
{
	return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

void os_say_kept(int kept, const char *text)
{
	if (kept >= 0)
		dprintf(kept, "%s\n", text);
}

struct os_thread {
	pthread_t thread;
	void (*function)(void *context);
	void *context;
};

static void *thread_run(void *context)
{
	struct os_thread *thread = context;

	thread->function(thread->context);
	return NULL;
}

struct error *os_thread_start(void (*function)(void *context), void *context,
                              struct os_thread **ret)
{
	struct os_thread *thread = os_page_source.resize(NULL, 0, sizeof(*thread));
	sigset_t all, old;
	int failed;

	*thread = (struct os_thread){ .function = function, .context = context };
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	failed = pthread_create(&thread->thread, NULL, thread_run, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (failed) {
		os_release(thread, sizeof(*thread));
		return error_system(failed, "cannot start a thread");
	}
	*ret = thread;
	return NULL;
}

void os_thread_join(struct os_thread *thread)
{
	pthread_join(thread->thread, NULL);
	os_release(thread, sizeof(*thread));
}

static int spawn(const char *const *words, int output, int *ret_pid)
{
	static char *const no_variables[] = { NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int failed;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	failed = posix_spawn(ret_pid, words[0], &actions, &attributes, (char *const *)words,
	                     no_variables);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return failed;
}

static void read_output(int fd, size_t limit_bytes, struct arena *arena, char **ret,
                        size_t *ret_bytes)
{
	char part[4096];
	VEC(char) text;
	ssize_t got;

	vec_init(&text, &os_page_source);
	while ((got = read(fd, part, sizeof(part))) > 0 || (got < 0 && errno == EINTR)) {
		if (got < 0 || text.n + (size_t)got > limit_bytes)
			continue;
		vec_reserve(&text, text.n + (size_t)got);
		memcpy(text.v + text.n, part, (size_t)got);
		text.n += (size_t)got;
	}
	*ret = arena_alloc(arena, text.n + 1);
	if (text.n)
		memcpy(*ret, text.v, text.n);
	*ret_bytes = text.n;
	vec_deinit(&text);
}

struct error *os_command_output(struct arena *arena, const char *const *words, size_t limit_bytes,
                                char **ret, size_t *ret_bytes, int *ret_status)
{
	int ends[2], pid, failed;

	if (pipe2(ends, O_CLOEXEC))
		return error_system(errno, "cannot make a pipe");
	failed = spawn(words, ends[1], &pid);
	close(ends[1]);
	if (!failed) {
		read_output(ends[0], limit_bytes, arena, ret, ret_bytes);
		while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	return failed ? error_system(failed, "cannot run %s", words[0]) : NULL;
}
