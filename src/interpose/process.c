// SPDX-License-Identifier: MIT
// What happens to the process as a whole: fork, exec, libraries that go. Called by the program.
//
// vfork needs nothing: its child runs as the thread that made it. posix_spawn, system and popen neither:
// the environment tells what becomes of their children (variables.c). dlopen is left alone, because it
// looks at its caller to find the library; new code is noticed when it first allocates.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interpose/interpose_impl.h"
#include "os/inside.h"

static bool is_recorded_process(void)
{
	const struct record_header *shared = record_shared();

	return shared && shared->state == RECORD_ON &&
	       shared->process_id == (uint32_t)inside_process_id();
}

// --- fork -----------------------------------------------------------------------------------------
static void in_child(void)
{
	record_fork_child();
	interpose_forked();
}

// What glibc's pthread_atfork calls (nptl/register-atfork.c); that one lies in each library that uses
// it. Handlers of a child run in the order of their registration: ours is the first, and the others
// may allocate.
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                             void *dso_handle) __attribute__((weak));

void interpose_process_start(void)
{
	if (__register_atfork)
		__register_atfork(NULL, NULL, in_child, NULL);
	else
		pthread_atfork(NULL, NULL, in_child);
}

INTERPOSE_EXPORT pid_t fork(void)
{
	static pid_t (*next)(void);
	const struct record_position at = RECORD_POSITION_HERE();
	pid_t child;

	if (!next)
		next = (pid_t(*)(void))interpose_next("fork");
	child = next();
	if (child > 0)
		record_forked(child, &at);
	return child;
}

// --- exec -----------------------------------------------------------------------------------------
enum exec_how {
	EXEC_PATH,
	EXEC_SEARCH, // along PATH
	EXEC_DESCRIPTOR,
};

static int next_exec(enum exec_how how, const char *file, int fd, char *const *words,
                     char *const *environment)
{
	static int (*search)(const char *, char *const *, char *const *);
	static int (*descriptor)(int, char *const *, char *const *);

	switch (how) {
	case EXEC_PATH:
		return (int)syscall(SYS_execve, file, words, environment);
	case EXEC_SEARCH:
		if (!search)
			search = (__typeof__(search))interpose_next("execvpe");
		return search(file, words, environment);
	case EXEC_DESCRIPTOR:
		if (!descriptor)
			descriptor = (__typeof__(descriptor))interpose_next("fexecve");
		return descriptor(fd, words, environment);
	}
	return -1;
}

// The process that is recorded stays so as another program; a child that exec is called in does not.
static int become(enum exec_how how, const char *file, int fd, char *const *words,
                  char *const *environment, const struct record_position *at)
{
	char **ours;
	int result;

	if (!is_recorded_process())
		return next_exec(how, file, fd, words, environment);
	record_exec(at);
	ours = interpose_variables_for_exec(environment);
	result = next_exec(how, file, fd, words, ours ? ours : environment);
	record_exec_failed(at);
	if (ours)
		interpose_variables_free(ours);
	return result;
}

#define BECOME(how, file, fd, words, environment)                          \
	({                                                                 \
		const struct record_position at_ = RECORD_POSITION_HERE(); \
		become(how, file, fd, words, environment, &at_);           \
	})

INTERPOSE_EXPORT int execve(const char *path, char *const *words, char *const *environment)
{
	return BECOME(EXEC_PATH, path, -1, words, environment);
}

INTERPOSE_EXPORT int execv(const char *path, char *const *words)
{
	return BECOME(EXEC_PATH, path, -1, words, environ);
}

INTERPOSE_EXPORT int execvp(const char *file, char *const *words)
{
	return BECOME(EXEC_SEARCH, file, -1, words, environ);
}

INTERPOSE_EXPORT int execvpe(const char *file, char *const *words, char *const *environment)
{
	return BECOME(EXEC_SEARCH, file, -1, words, environment);
}

INTERPOSE_EXPORT int fexecve(int fd, char *const *words, char *const *environment)
{
	return BECOME(EXEC_DESCRIPTOR, NULL, fd, words, environment);
}

// The words of a list of arguments, up to its NULL, with the first before them. On the stack of the
// caller, as the C library has them: exec is called between fork and exec.
static size_t count_words(va_list list)
{
	va_list copy;
	size_t n = 0;

	va_copy(copy, list);
	while (va_arg(copy, char *))
		n++;
	va_end(copy);
	return n + 2;
}

static void take_words(const char *first, va_list *list, char **ret)
{
	*ret = (char *)first;
	while (*ret)
		*++ret = va_arg(*list, char *);
}

#define WORDS_OF(first, list)                                                         \
	({                                                                            \
		char **words_ = __builtin_alloca(count_words(list) * sizeof(char *)); \
		take_words(first, &(list), words_);                                   \
		words_;                                                               \
	})

INTERPOSE_EXPORT int execl(const char *path, const char *first, ...)
{
	va_list list;
	int result;

	va_start(list, first);
	result = BECOME(EXEC_PATH, path, -1, WORDS_OF(first, list), environ);
	va_end(list);
	return result;
}

INTERPOSE_EXPORT int execlp(const char *file, const char *first, ...)
{
	va_list list;
	int result;

	va_start(list, first);
	result = BECOME(EXEC_SEARCH, file, -1, WORDS_OF(first, list), environ);
	va_end(list);
	return result;
}

INTERPOSE_EXPORT int execle(const char *path, const char *first, ...)
{
	va_list list;
	char **words;
	int result;

	va_start(list, first);
	words = WORDS_OF(first, list);
	result = BECOME(EXEC_PATH, path, -1, words, va_arg(list, char **));
	va_end(list);
	return result;
}

// --- libraries ------------------------------------------------------------------------------------
INTERPOSE_EXPORT int dlclose(void *library)
{
	static int (*next)(void *);
	int result;

	if (!next)
		next = (int (*)(void *))interpose_next("dlclose");
	result = next(library);
	if (record_shared())
		record_modules_changed();
	return result;
}
