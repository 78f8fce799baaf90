// SPDX-License-Identifier: MIT
// What the log says about the process, the machine, and the end. Called by collector.c.
#include "collect/collect_impl.h"

#include <stdio.h>
#include <sys/wait.h>

#define PROC_PATH_BYTES 64
#define MOST_LINE_BYTES ((size_t)1 << 20)

// The words of the command line, with a blank between them.
static const char *command_line(struct arena *arena, int process)
{
	char path[PROC_PATH_BYTES], *text;
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", process);
	if (os_read_text(arena, path, MOST_LINE_BYTES, &text, &bytes))
		return "";
	while (bytes && !text[bytes - 1])
		bytes--;
	for (size_t i = 0; i < bytes; i++)
		if (!text[i])
			text[i] = ' ';
	return text;
}

void collect_process_describe(struct arena *arena, int shown, bool attached,
                              const struct collect_share *share, struct log_process *ret)
{
	struct os_process process = { 0 };
	int tid = os_memory_tid(shown);
	const char *path = os_process_path(arena, tid);
	uint64_t start, end;

	// Where it cannot be read, what is known stays.
	if (os_process_read(shown, &process))
		process.parent_pid = 0;
	*ret = (struct log_process){
		.id = share->own_process,
		.mode = share->mode,
		.what = share->what,
		.wall_ns = share->wall_ns,
		.monotonic_ns = share->start_ns,
		.sample_bytes = share->sample_bytes,
		.launched_ns = process.launched_ns,
		.attached = attached,
		.name = arena_copy(arena, process.name),
		.path = path ? path : "",
		.command_line = command_line(arena, tid),
		.host = os_host_name(arena),
		.system = os_version_text(arena),
		.cpu = os_cpu_name(arena),
	};
	if (process.parent_pid && !collect_share_find(process.parent_pid, &start, &end))
		ret->parent = process.parent_pid;
}

const char *collect_process_end(struct arena *arena, int process, int watch)
{
	const char *name;
	int status;

	if (!os_watch_status(process, watch, &status))
		return "ended";
	if (WIFEXITED(status))
		return arena_format(arena, "exited with status %d", WEXITSTATUS(status));
	name = os_signal_name(WTERMSIG(status));
	return arena_format(arena, "killed by signal %d%s%s%s", WTERMSIG(status), name ? " (" : "",
	                    name ? name : "", name ? ")" : "");
}
