// SPDX-License-Identifier: MIT
// Faults, swap and wired memory of a process, of /proc/PID/stat and status, which every user may read.
#include <stdio.h>
#include <string.h>

#include "machine/machine_impl.h"

static void copy_name(const char *text, size_t bytes, struct machine_process *ret)
{
	const char *open = memchr(text, '(', bytes), *close = memrchr(text, ')', bytes);
	size_t length = open && close > open ? (size_t)(close - open - 1) : 0;

	if (length >= sizeof(ret->name))
		length = sizeof(ret->name) - 1;
	memcpy(ret->name, open ? open + 1 : "", length);
	ret->name[length] = '\0';
}

static struct error *read_all(const char *root, struct arena *arena, int pid,
                              struct machine_process *ret)
{
	size_t bytes;
	char *text = machine_text(root, arena, &bytes, "/proc/%d/stat", pid);

	*ret = (struct machine_process){ .pid = pid };
	if (!text)
		return error_new(ERROR_GONE, "there is no such process (%d)", pid);
	if (!os_stat_faults_parse(text, bytes, &ret->counts))
		return error_new(ERROR_DAMAGED, "the stat line of process %d makes no sense", pid);
	copy_name(text, bytes, ret);
	text = machine_text(root, arena, &bytes, "/proc/%d/status", pid);
	if (!text)
		return error_new(ERROR_GONE, "there is no such process (%d)", pid);
	os_status_memory_parse(text, bytes, &ret->counts);
	return NULL;
}

struct error *machine_process_read(const char *root, int pid, struct machine_process *ret)
{
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = read_all(root, &arena, pid, ret);
	arena_deinit(&arena);
	return error;
}
