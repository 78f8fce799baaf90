// SPDX-License-Identifier: MIT
// Faults, swap and wired memory of a process, of /proc/PID/stat and status, which every user may read.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "machine/machine_impl.h"

static struct error *read_all(const char *root, struct arena *arena, int pid,
                              struct machine_process *ret)
{
	struct os_account account;
	size_t bytes;
	char *text = machine_text(root, arena, &bytes, "/proc/%d/stat", pid);

	if (!text)
		return error_new(ERROR_GONE, "there is no such process (%d)", pid);
	if (!os_account_parse_stat(text, bytes, &account))
		return error_new(ERROR_DAMAGED, "the stat line of process %d makes no sense", pid);
	*ret = (struct machine_process){
		.pid = pid,
		.soft_faults = account.soft_faults,
		.hard_faults = account.hard_faults,
		.children_soft_faults = account.children_soft_faults,
		.children_hard_faults = account.children_hard_faults,
	};
	strcpy(ret->name, account.name);
	text = machine_text(root, arena, &bytes, "/proc/%d/status", pid);
	if (!text)
		return error_new(ERROR_GONE, "there is no such process (%d)", pid);
	os_status_memory_parse(text, bytes, &ret->memory);
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

// --- names ---------------------------------------------------------------------------------------
struct finder {
	const char *root, *wanted;
	VEC(int) found;
};

static bool has_name(const struct finder *finder, int pid)
{
	struct arena arena;
	size_t bytes, length = strlen(finder->wanted);
	char *text;
	bool same;

	arena_init(&arena, &os_page_source);
	text = machine_text(finder->root, &arena, &bytes, "/proc/%d/comm", pid);
	same = text && bytes == length + 1 && !memcmp(text, finder->wanted, length);
	arena_deinit(&arena);
	return same;
}

static bool look_at(void *context, int pid)
{
	struct finder *finder = context;

	if (has_name(finder, pid))
		vec_push(&finder->found, pid);
	return true;
}

static int ascending(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

struct error *machine_processes_find(const char *root, struct arena *arena, const char *what,
                                     int **ret, size_t *ret_count)
{
	struct finder finder = { root, what };
	uint64_t number;

	if (*what >= '0' && *what <= '9' && !text_parse_u64(what, &number) && number <= INT_MAX) {
		*ret = arena_array(arena, 1, sizeof(**ret));
		(*ret)[0] = (int)number;
		*ret_count = 1;
		return NULL;
	}
	vec_init(&finder.found, &os_page_source);
	TRY(os_each_number(arena_format(arena, "%s/proc", root ? root : ""), look_at, &finder));
	*ret = arena_array(arena, finder.found.n, sizeof(**ret));
	*ret_count = finder.found.n;
	if (finder.found.n)
		memcpy(*ret, finder.found.v, finder.found.n * sizeof(**ret));
	qsort(*ret, *ret_count, sizeof(**ret), ascending);
	vec_deinit(&finder.found);
	if (!*ret_count)
		return error_new(ERROR_NOT_FOUND, "no process is named '%s'", what);
	return NULL;
}
