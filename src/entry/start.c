// SPDX-License-Identifier: MIT
// The first call: reads the environment, chooses what answers malloc, and takes part in fork. It runs
// in the loader, before libc and the program are initialized, or at the latest when the library is
// loaded; so it uses no libc function that allocates or needs a set-up libc.
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "debug/debug.h"
#include "entry/entry_impl.h"
#include "guard/guard.h"
#include "os/inside.h"

// What glibc's pthread_atfork calls (nptl/register-atfork.c); that one lies in each library that uses
// it, on a page of its own far behind what else runs at the start. No handle: we are never unloaded.
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                             void *dso_handle) __attribute__((weak));

bool entry_started;
malloc_zone_t *entry_zone;

static struct inside_lock start_lock;

// Which room the zone is of.
bool entry_guards, entry_samples;
uint64_t entry_records;
static bool debugs;

static bool is_set(const struct entry_environment *environment, enum variable variable)
{
	return environment->value[variable];
}

static const char *log_path(const struct entry_environment *environment)
{
	const char *path = environment->value[VARIABLE_LOG_FILE];

	return path || !entry_guard_malloc ? path : environment->value[VARIABLE_GUARD_LOG_FILE];
}

// Where messages go. A log that cannot be opened is said on the standard error by the caller.
static int choose_log(const struct entry_environment *environment)
{
	const char *where = environment->value[VARIABLE_DEBUG_REPORT];
	const char *path = log_path(environment);

	if (where && (!strcmp(where, "none") || !strcmp(where, "crash")))
		return -1;
	return path ? inside_open_log(path) : STDERR_FILENO;
}

static void read_debug_settings(const struct entry_environment *environment,
                                struct debug_settings *ret)
{
	const char *edges = environment->value[VARIABLE_GUARD_EDGES];

	*ret = (struct debug_settings){
		.scribble = is_set(environment, VARIABLE_SCRIBBLE),
		.pre_scribble = is_set(environment, VARIABLE_PRE_SCRIBBLE),
		.zero_on_free = is_set(environment, VARIABLE_ZERO_ON_FREE),
		.guard_edges = edges,
		.guard_edges_all = edges && !strcmp(edges, "all"),
		.protect_prelude = !is_set(environment, VARIABLE_NO_PRELUDE),
		.protect_postlude = !is_set(environment, VARIABLE_NO_POSTLUDE),
		.edges = is_set(environment, VARIABLE_CHECK_EDGES),
		.keep_back_bytes =
			entry_number(environment, VARIABLE_KEEP_BACK, DEBUG_KEEP_BACK_BYTES),
		.check_start = entry_number(environment, VARIABLE_CHECK_START, 0),
		.check_each = entry_number(environment, VARIABLE_CHECK_EACH, 0),
		.check_sleep_seconds = entry_signed_number(environment, VARIABLE_CHECK_SLEEP,
		                                           DEBUG_CHECK_SLEEP_SECONDS),
		.check_abort = is_set(environment, VARIABLE_CHECK_ABORT),
	};
	ret->check_heap =
		entry_value_is_number(environment, VARIABLE_CHECK_START) && ret->check_each;
}

static void read_guard_settings(const struct entry_environment *environment, int log,
                                struct guard_settings *ret)
{
	const char *check = environment->value[VARIABLE_CHECK_HEADER];

	guard_settings_default(ret);
	ret->protect_before = is_set(environment, VARIABLE_PROTECT_BEFORE);
	ret->fill_space = is_set(environment, VARIABLE_FILL_SPACE);
	ret->allow_reads = is_set(environment, VARIABLE_ALLOW_READS);
	ret->strict_size = is_set(environment, VARIABLE_STRICT_SIZE);
	ret->allow_large_requests = is_set(environment, VARIABLE_LARGE_REQUESTS) ||
	                            is_set(environment, VARIABLE_INSANE_REQUESTS);
	ret->check_header = !check || strcmp(check, "0") != 0;
	if (is_set(environment, VARIABLE_POINTER_SIZE))
		ret->vector_size = sizeof(void *);
	if (is_set(environment, VARIABLE_WORD_SIZE))
		ret->vector_size = 4;
	ret->vector_size = entry_number(environment, VARIABLE_VECTOR_SIZE, ret->vector_size);
	ret->maximum_vm_bytes = entry_number(environment, VARIABLE_MAXIMUM_VM, 0);
	ret->log = log;
}

enum { SAMPLE_EVERY = 1000, SAMPLE_BUDGET_KIB = 8192 };

static malloc_zone_t *start_guard(const struct entry_environment *environment)
{
	struct guard_settings settings;

	read_guard_settings(environment, malloc_settings.log, &settings);
	if (!entry_guard_malloc) {
		settings.sample_every =
			(uint32_t)entry_number(environment, VARIABLE_PROB_GUARD_RATE, SAMPLE_EVERY);
		settings.sample_budget_bytes =
			entry_number(environment, VARIABLE_PROB_GUARD_BUDGET, SAMPLE_BUDGET_KIB)
			<< 10;
		settings.quiet = true;
	}
	return guard_zone_start(&settings);
}

// A feature that does not start, for lack of address space, is left out and said to be.
static malloc_zone_t *started(malloc_zone_t *zone, const char *feature)
{
	if (zone)
		return zone;
	malloc_message(
		"%s cannot start: the system gives no memory for it (is there a limit of the "
		"address space?); the program runs without it",
		feature);
	malloc_zone_wrap = NULL;
	entry_guards = entry_samples = debugs = false;
	return NULL;
}

static malloc_zone_t *start_debug(const struct debug_settings *settings)
{
	debug_start(settings);
	malloc_zone_wrap = debug_zone_wrap;
	return debug_zone_wrap(malloc_core_default());
}

// The zone that answers malloc; NULL for the core without a detour.
static malloc_zone_t *choose_zone(const struct entry_environment *environment)
{
	struct debug_settings debug;
	struct malloc_settings settings = {
		.continue_on_error = is_set(environment, VARIABLE_CONTINUE) &&
		                     !is_set(environment, VARIABLE_CORRUPTION_ABORT),
		.abort_on_error = is_set(environment, VARIABLE_ERROR_ABORT),
		.stop_on_error = is_set(environment, VARIABLE_ERROR_STOP),
		.sleep_on_error = is_set(environment, VARIABLE_ERROR_SLEEP),
		.log = choose_log(environment),
	};
	bool no_log;

	read_debug_settings(environment, &debug);
	entry_guards = entry_guard_malloc || is_set(environment, VARIABLE_PROB_GUARD);
	entry_samples = entry_guards && !entry_guard_malloc;
	debugs = environment->any && !entry_guards && debug_wanted(&debug);
	entry_records = environment->any && entry_record_wanted(environment);
	settings.keep_destroyed = entry_guards || debugs;
	settings.every_call = settings.keep_destroyed || (entry_records && entry_record_blocks());
	settings.features = debugs         ? debug_features(&debug)
	                    : entry_guards ? MALLOC_FEATURE_GUARD
	                                   : 0;
	if (entry_records && entry_record_blocks())
		settings.features |= MALLOC_FEATURE_STACKS;
	no_log = settings.log < -1;
	if (no_log)
		settings.log = STDERR_FILENO;
	malloc_start(&settings);
	if (no_log)
		malloc_message("cannot open the log %s; messages go to the standard error",
		               log_path(environment));
	if (entry_guards)
		return started(start_guard(environment),
		               entry_samples ? "MallocProbGuard" : "Guard Malloc");
	return debugs ? started(start_debug(&debug), "a debugging feature") : NULL;
}

// Set-user-id programs run with rights that whoever started them does not have: no variable of theirs
// counts (the kernel says so in the auxiliary vector).
static char **trusted_block(void)
{
	return getauxval(AT_SECURE) ? NULL : inside_environment();
}

// Messages name the program, and libc does not know its name yet.
static void name_program(void)
{
	const char *path, *name;

	if (environ) // libc is set up
		return;
	path = inside_program_name();
	name = path;
	for (; *path; path++)
		if (*path == '/')
			name = path + 1;
	program_invocation_short_name = (char *)name;
}

static void start_locked(void)
{
	char **block = trusted_block();
	struct entry_environment environment;
	malloc_zone_t *zone;

	name_program();
	entry_environment_read(block, &environment);
	zone = choose_zone(&environment);
	entry_record_publish();
	malloc_registry_start(zone ? zone : malloc_core_default());
	entry_zone = zone;
	if (environment.may_be_any)
		entry_environment_complain(block, &environment);
	if (is_set(&environment, VARIABLE_HELP))
		entry_help_print();
	if (is_set(&environment, VARIABLE_NO_CHILDREN))
		entry_environment_remove(block);
}

void entry_start(void)
{
	int saved_errno = errno;

	inside_lock(&start_lock);
	if (!entry_started) {
		start_locked();
		__atomic_store_n(&entry_started, true, __ATOMIC_RELEASE);
	}
	inside_unlock(&start_lock);
	errno = saved_errno;
}

static void fork_prepare(void)
{
	if (debugs)
		debug_fork_prepare();
	if (entry_guards)
		guard_fork_prepare();
	malloc_fork_prepare();
}

static void fork_parent(void)
{
	malloc_fork_parent();
	if (entry_guards)
		guard_fork_parent();
	if (debugs)
		debug_fork_parent();
}

static void fork_child(void)
{
	malloc_fork_child();
	if (entry_records || malloc_told_before)
		entry_record_fork_child();
	if (entry_guards)
		guard_fork_child();
	if (debugs)
		debug_fork_child();
}

// The library is marked so that the loader runs this before the constructors of all others, and so
// these handlers are the first that are registered: before a fork they run last, behind those that
// still allocate, and after it first.
__attribute__((constructor(101))) static void start_with_program(void)
{
	if (!entry_started)
		entry_start();
	if (__register_atfork)
		__register_atfork(fork_prepare, fork_parent, fork_child, NULL);
	else
		pthread_atfork(fork_prepare, fork_parent, fork_child);
	if (entry_records)
		entry_record_start();
}

__attribute__((destructor)) static void end_with_program(void)
{
	if (entry_guards)
		guard_exit();
}
