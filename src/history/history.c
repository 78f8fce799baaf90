// SPDX-License-Identifier: MIT
// Opening and closing, and what the log says without its events.
#include <string.h>

#include "history/history_impl.h"

static struct history *create(void)
{
	struct history *history;
	struct arena arena;

	arena_init(&arena, &os_page_source);
	history = arena_alloc(&arena, sizeof(*history));
	history->arena = arena;
	vec_init(&history->marks, &os_page_source);
	return history;
}

static uint64_t count_events(const struct log_reader *log)
{
	size_t blocks = log_block_count(log);
	const struct log_summary *last = blocks ? log_block(log, blocks - 1) : NULL;

	return last ? last->first_event + last->events : 0;
}

struct error *history_open_log(const char *path, struct history **ret)
{
	struct history *history;
	struct log_reader *log;

	TRY(log_open(path, &log));
	history = create();
	history->log = log;
	history->given.process = log_process(log);
	history->given.node_count = log_node_count(log);
	history->given.modules = log_modules(log, &history->given.module_count);
	history->given.threads = log_threads(log, &history->given.thread_count);
	history->events = count_events(log);
	*ret = history;
	return NULL;
}

struct error *history_open_blocks(const struct history_given *given, struct history **ret)
{
	*ret = create();
	(*ret)->given = *given;
	return NULL;
}

void history_close(struct history *history)
{
	struct arena arena;

	if (!history)
		return;
	history_frames_close(history->frames);
	log_close(history->log);
	vec_deinit(&history->marks);
	arena = history->arena;
	arena_deinit(&arena);
}

const struct log_process *history_process(const struct history *history)
{
	return history->given.process;
}

struct log_reader *history_log(const struct history *history)
{
	return history->log;
}

uint64_t history_event_count(const struct history *history)
{
	return history->events;
}

uint64_t history_end_ns(const struct history *history)
{
	size_t blocks = history->log ? log_block_count(history->log) : 0;

	return blocks ? log_block(history->log, blocks - 1)->last_ns : 0;
}

const struct log_thread *history_thread(const struct history *history, uint32_t thread)
{
	return thread < history->given.thread_count ? &history->given.threads[thread] : NULL;
}

const struct log_module *history_modules(const struct history *history, size_t *ret_count)
{
	*ret_count = history->given.module_count;
	return history->given.modules;
}

void history_on_progress(struct history *history, void (*progress)(void *context, double done),
                         void *context)
{
	history->progress = progress;
	history->progress_context = context;
}

struct error *history_needs_events(const struct history *history)
{
	if (history->log)
		return NULL;
	return error_new(ERROR_UNSUPPORTED,
	                 "only live blocks are recorded here; this needs a recording of every "
	                 "event (heapwright record, or MallocStackLoggingNoCompact=1)");
}
