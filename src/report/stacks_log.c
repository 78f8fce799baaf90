// SPDX-License-Identifier: MIT
// The stacks of live blocks from the log of a recording, for programs whose recorder keeps none in
// memory: those that have a malloc of their own. Called by stacks.c.
#include <stdlib.h>

#include "collect/collect.h"
#include "history/history.h"
#include "os/os.h"
#include "report/stacks_impl.h"

#define FLUSH_LIMIT_NS 2000000000u
#define LAUNCH_OFF_NS  2000000000u // both count from the start of the machine, in ticks

struct stack_log {
	const char *path;
	struct history *history;
	struct history_blocks blocks;
};

static bool is_live(const struct look *look)
{
	return look->target->kind == TARGET_LIVE || look->target->kind == TARGET_CLONE;
}

// Of a running process the log is brought up to date.
static const char *log_of(struct look *look)
{
	struct collect_recording found;
	int pid = look->target->pid;

	if (!is_live(look))
		return heaps_recorder_log(look->heaps);
	if (collect_find(pid, look->arena, &found))
		return NULL;
	if (found.collector)
		collect_flush(pid, FLUSH_LIMIT_NS);
	return collect_log_path(&found, look->arena);
}

// Names of logs are used again: a core's may be that of a later run by now.
static bool is_of(const struct look *look, const struct history *history)
{
	const struct log_process *process = history_process(history);
	uint64_t launched_ns = look->target->launched_ns;

	return !launched_ns || !process->launched_ns ||
	       (launched_ns > process->launched_ns
	                ? launched_ns - process->launched_ns
	                : process->launched_ns - launched_ns) < LAUNCH_OFF_NS;
}

// The state when the target was looked at: it may have gone on since.
static struct error *read_state(struct look *look, struct stack_log *log)
{
	uint64_t start_ns = history_process(log->history)->wall_ns,
		 looked_ns = look->target->looked_ns;
	uint64_t moment = HISTORY_END;

	if (looked_ns > start_ns && looked_ns - start_ns < history_end_ns(log->history)) {
		double seconds = (double)(looked_ns - start_ns) / 1e9;

		TRY(history_moment(log->history, arena_format(look->arena, "+%.9f", seconds),
		                   &moment));
	}
	return history_state_at(log->history, moment, false, &log->blocks);
}

// No stacks are no error: the report is about blocks.
void stack_log_open(struct look *look)
{
	struct stack_log *log;
	const char *path;

	if (look->log_sought)
		return;
	look->log_sought = true;
	path = log_of(look);
	if (!path || !log_is(path))
		return;
	log = arena_alloc(look->arena, sizeof(*log));
	if (history_open_log(path, &log->history))
		return;
	if (!is_of(look, log->history) || read_state(look, log)) {
		history_close(log->history);
		return;
	}
	log->path = path;
	look->stack_log = log;
}

const char *stacks_log_path(struct look *look)
{
	if (look->heaps->recorder)
		stack_log_open(look);
	return look->stack_log ? look->stack_log->path : NULL;
}

const char *stack_log_server_trouble(const struct look *look)
{
	return look->stack_log ? symbols_server_trouble(history_symbols(look->stack_log->history))
	                       : NULL;
}

void stack_log_close(struct look *look)
{
	if (!look->stack_log)
		return;
	history_blocks_free(&look->stack_log->blocks);
	history_close(look->stack_log->history);
	look->stack_log = NULL;
}

// A block that was freed and made anew between the two looks begins at the same address by chance, but
// then seldom has room for as many bytes.
uint32_t stack_log_node(const struct look *look, const struct heap_block *block)
{
	const struct history_block *found =
		history_block_at(&look->stack_log->blocks, block->hb_address);

	if (!found || found->address != block->hb_address || found->bytes > block->hb_size)
		return 0;
	return found->node ? found->node | STACK_OF_LOG : 0;
}

uint32_t stack_log_mapping_node(const struct look *look, uint64_t address)
{
	const struct history_block *found = history_mapping_at(&look->stack_log->blocks, address);

	return found && found->node ? found->node | STACK_OF_LOG : 0;
}

size_t stack_log_frames(const struct look *look, uint32_t node, struct heap_frame *frames,
                        size_t most, bool *ret_truncated)
{
	const struct history_frame *const *found;
	size_t count, n = 0;

	*ret_truncated = false;
	history_stack(look->stack_log->history, node & ~STACK_OF_LOG, look->arena, &found, &count);
	for (size_t i = 0; i < count && n < most; i++) {
		*ret_truncated |= found[i]->truncated;
		if (!found[i]->inlined)
			frames[n++] =
				(struct heap_frame){ found[i]->address, !found[i]->interrupted };
	}
	return n;
}
