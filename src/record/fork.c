// SPDX-License-Identifier: MIT
// fork, vfork, exec. Relies on the gate, which a child made by fork finds closed, even one that was
// made past all handlers; called by interpose and entry around their fork.
//
// 1. The thread that forks is not inside the recorder then, unless in a signal handler that interrupted
//    it; other threads may be, and do not exist in the child.
// 2. A child made by vfork has our memory and runs as the thread that made it: its events are that
//    thread's, and the gate stays open.
// 3. A program that becomes another by exec loses the mapping; the collector sees it when no process
//    has it mapped any more.
#include <string.h>

#include "record/record_impl.h"

// Events that are about the process and not about memory.
static void tell(uint32_t kind, uint64_t address, const struct record_position *at)
{
	struct record_thread *self;

	if (!record_header || record_header->mode == RECORD_LITE)
		return;
	self = record_thread_enter(at);
	if (!self) {
		record_thread_aside(kind, address, 0, 0, at);
		return;
	}
	record_event_append(self, kind, address, 0, record_unwinder_node(self->unwinder, at), 0);
	record_thread_leave(self);
}

void record_forked(int child, const struct record_position *at)
{
	tell(RECORD_FORK, (uint64_t)child, at);
	// Ours starts the child's, which waits for it.
	if (record_settings.follow_fork && !record_settings.collector && record_gate->open)
		record_wake_collector();
}

static void tell_exec(bool failed, const struct record_position *at)
{
	if (record_header && record_header->process_id == (uint32_t)inside_process_id())
		tell(RECORD_EXEC, failed, at);
}

void record_exec(const struct record_position *at)
{
	tell_exec(false, at);
}

void record_exec_failed(const struct record_position *at)
{
	tell_exec(true, at);
}

// LOG.PID
static void name_child_log(const char *log, char *ret, size_t bytes)
{
	char digits[INSIDE_NUMBER_BYTES];
	const char *id = inside_number_text(digits + sizeof(digits), (uint64_t)inside_process_id());

	*ret = '\0';
	if (strlen(log) + 1 + strlen(id) >= bytes)
		return;
	strcpy(ret, log);
	strcat(ret, ".");
	strcat(ret, id);
}

void record_fork_child(void)
{
	static char log[RECORD_PATH_BYTES];

	if (!record_header)
		return;
	record_detach_child();
	record_modules_fork_child(); // another thread may have had its lock
	if (!record_settings.follow_fork || !record_settings.log_path)
		return;
	name_child_log(record_settings.log_path, log, sizeof(log));
	record_start_again(log);
}
