// SPDX-License-Identifier: MIT
// MallocStackLogging and its relatives: what they ask for, and the recorder told of it. Lite logging
// keeps the stacks of live blocks in memory; full logging also writes every event to a log, by a
// collector that lies beside the library. Called by start.c.
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "entry/entry_impl.h"
#include "layout/record_attach.h"
#include "os/inside.h"
#include "record/record.h"

enum { PATH_BYTES = 4096 };

static struct record_settings settings;
static char log_path[PATH_BYTES] INSIDE_RARELY, collector[PATH_BYTES] INSIDE_RARELY;

static const struct logging_mode {
	const char *name;
	enum record_mode mode;
	unsigned what;
} logging_modes[] = {
	{ "lite", RECORD_LITE, RECORD_WHAT_MALLOC },
	{ "full", RECORD_FULL, RECORD_WHAT_MALLOC | RECORD_WHAT_VM },
	{ "malloc", RECORD_FULL, RECORD_WHAT_MALLOC },
	{ "vm", RECORD_FULL, RECORD_WHAT_VM },
	{ "vmlite", RECORD_FULL, RECORD_WHAT_VM }, // calls are few: their log is as good as a table
};

// --- for a tool that attaches ---------------------------------------------------------------------
extern MALLOC_EXPORT struct record_switch heapwright_record_switch;

struct record_switch heapwright_record_switch = {
	.magic = RECORD_SWITCH_MAGIC,
	.version = RECORD_SWITCH_VERSION,
	.bytes = sizeof(heapwright_record_switch),
	.allocated = (uintptr_t)&malloc_hooks.allocated,
	.freed = (uintptr_t)&malloc_hooks.freed,
	.stack = (uintptr_t)&malloc_hooks.stack,
	.called = (uintptr_t)&malloc_hooks.called,
	.records = (uintptr_t)&entry_records,
	.every_call = (uintptr_t)&malloc_settings.every_call,
	.thread_none = (uintptr_t)&malloc_no_cache,
};

void entry_record_publish(void)
{
	heapwright_record_switch.thread_offset = (uintptr_t)&malloc_cache - inside_thread_pointer();
	if (entry_mappings_switch)
		entry_mappings_switch(&heapwright_record_switch);
}

// --- what is wanted -------------------------------------------------------------------------------
// Any other value, such as 1, asks for lite logging.
static struct logging_mode mode_of(const char *value)
{
	for (size_t i = 0; i < sizeof(logging_modes) / sizeof(logging_modes[0]); i++)
		if (!strcmp(value, logging_modes[i].name))
			return logging_modes[i];
	return logging_modes[0];
}

bool entry_record_wanted(const struct entry_environment *environment)
{
	const char *value = environment->value[VARIABLE_STACK_LOGGING];
	bool all = environment->value[VARIABLE_STACK_LOGGING_ALL];
	struct logging_mode mode = mode_of(value ? value : all ? "full" : "lite");

	if (!value && !all)
		return false;
	settings.mode = all ? RECORD_FULL : mode.mode;
	settings.what = mode.what;
	return true;
}

bool entry_record_blocks(void)
{
	return settings.what & RECORD_WHAT_MALLOC;
}

// False when it does not fit.
static bool __attribute__((format(printf, 2, 3)))
make_path(char path[static PATH_BYTES], const char *format, ...)
{
	va_list arguments;
	size_t n;

	va_start(arguments, format);
	n = malloc_format(path, PATH_BYTES, format, arguments);
	va_end(arguments);
	return n + 1 < PATH_BYTES;
}

// --- where the log goes ---------------------------------------------------------------------------
static const char *directory(void)
{
	const char *path = inside_variable("MallocStackLoggingDirectory");

	if (!path || !*path)
		path = inside_variable("TMPDIR");
	return path && *path ? path : "/tmp";
}

// stack-logs.PID.PROGRAM.XXXXXXXX.hwlog: the random part keeps names from being guessed.
static bool choose_log_path(void)
{
	uint32_t random = 0;

	inside_random(&random, sizeof(random));
	return make_path(log_path, "%s/stack-logs.%d.%s.%08x.hwlog", directory(),
	                 inside_process_id(), program_invocation_short_name, random);
}

// lib/heapwright/collector beside lib/libheapwright.so.
static bool find_collector(void)
{
	struct inside_module library;
	char *slash;

	if (!inside_module_at((uintptr_t)find_collector, &library))
		return false;
	slash = strrchr(library.path, '/');
	if (!slash)
		return false;
	*slash = '\0';
	return make_path(collector, "%s/heapwright/collector", library.path);
}

// The hooks of what is recorded here: in a static program mappings are libc's.
static void publish(const struct record_hooks *hooks)
{
	if (entry_record_blocks())
		malloc_hooks = *hooks;
	if (!(settings.what & RECORD_WHAT_VM))
		return;
	if (entry_mappings_record)
		entry_mappings_record(hooks);
	else
		malloc_message("mappings of a static program are not recorded");
}

void entry_record_start(void)
{
	const char *reason = NULL;
	struct record_hooks hooks = { 0 };

	settings.own_nodes_only = settings.mode == RECORD_LITE;
	if (settings.mode == RECORD_FULL) {
		if (!find_collector() || !choose_log_path()) {
			malloc_message(
				"stacks are not logged: the collector's program is not found");
			return;
		}
		settings.log_path = log_path;
		settings.collector = collector;
	}
	if (!record_start(&settings, &hooks, &reason)) {
		malloc_message("stacks are not logged: %s", reason);
		return;
	}
	heapwright_malloc.record = (uintptr_t)record_shared();
	publish(&hooks);
	if (settings.mode == RECORD_FULL)
		malloc_message("recording stacks of all %s to %s",
		               entry_record_blocks() ? "allocations" : "mappings", log_path);
}

// For the preload of heapwright record, which stands down where we are: as record_start, while the
// program has one thread.
MALLOC_EXPORT bool heapwright_record_start(const struct record_settings *wanted,
                                           struct record_hooks *ret_hooks, const char **ret_reason);

bool heapwright_record_start(const struct record_settings *wanted, struct record_hooks *ret_hooks,
                             const char **ret_reason)
{
	*ret_reason = "MallocStackLogging is set: that is recorded already";
	if (!entry_started)
		entry_start();
	if (entry_records)
		return false;
	settings = *wanted;
	settings.own_nodes_only = settings.mode == RECORD_LITE;
	if (!record_start(&settings, ret_hooks, ret_reason))
		return false;
	malloc_stack_of_some = settings.mode == RECORD_SAMPLED;
	malloc_keep_stacks();
	malloc_core_see_every_call();
	entry_records = true;
	heapwright_malloc.record = (uintptr_t)record_shared();
	if (settings.what & RECORD_WHAT_MALLOC)
		malloc_hooks = *ret_hooks;
	return true;
}

// --- by the preload itself ------------------------------------------------------------------------
// In sampled mode the preload goes on standing before malloc and its family, because the way through it is
// the shortest for calls that are no samples. Only what it does not stand before tells in here.
static uint32_t told_allocated(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                               const struct record_position *at)
{
	malloc_record_new(kind, (void *)address, bytes, extra, at);
	return 0;
}

static void told_freed(uint32_t kind, uint64_t address, const struct record_position *at)
{
	malloc_record_free(kind, (void *)address, at);
}

// Whether the preload can stand before these functions: no feature and no other recorder sees every call.
MALLOC_EXPORT bool heapwright_record_is_possible_before(void);
// Its recorder runs, or runs on in a child made by fork, where hooks is NULL. What it tells shall go to the
// hooks in *ret_hooks, which keep stacks with blocks. While the program has one thread.
MALLOC_EXPORT void heapwright_record_before(struct record_header *shared,
                                            const struct record_hooks *hooks,
                                            struct record_hooks *ret_hooks);

bool heapwright_record_is_possible_before(void)
{
	if (!entry_started)
		entry_start();
	return !entry_zone && !entry_records && !entry_perturb;
}

void heapwright_record_before(struct record_header *shared, const struct record_hooks *hooks,
                              struct record_hooks *ret_hooks)
{
	heapwright_malloc.record = (uintptr_t)shared;
	if (!hooks)
		return;
	malloc_told_before = true;
	malloc_stack_of_some = true;
	malloc_keep_stacks();
	malloc_hooks = *hooks;
	*ret_hooks = *hooks;
	ret_hooks->allocated = told_allocated;
	ret_hooks->freed = told_freed;
}

void entry_record_fork_child(void)
{
	if (malloc_told_before) {
		heapwright_malloc.record = 0; // the preload unmaps it
		return;
	}
	record_fork_child();
	heapwright_malloc.record = (uintptr_t)record_shared();
}
