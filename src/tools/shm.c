// SPDX-License-Identifier: MIT
// heapwright shm: the shared memory of the machine, or the calls about it in a recording.
#include <stdio.h>

#include "tools/tools.h"

#define AT(field) offsetof(struct shm_settings, field)

static const struct option_row rows[] = {
	{ "orphaned", NULL, OPTION_FLAG, NULL, NULL,
	  "Only segments that nobody uses; the exit code is 1 when there are any.", AT(orphaned),
	  0 },
	{ "verbose", "v", OPTION_FLAG, NULL, NULL, "List the users of each segment.",
	  AT(common.verbose), 0 },
	{ "fullStacks", NULL, OPTION_FLAG, NULL, NULL, "With LOG: one frame per line.",
	  AT(full_stacks), 0 },
	{ "json", NULL, OPTION_FLAG, NULL, NULL, "Print one JSON document instead of text.",
	  AT(common.json), 0 },
	{ "quiet", "q", OPTION_FLAG, NULL, NULL, "With LOG: leave out the header.",
	  AT(common.quiet), 0 },
};

static const char *const description[] = {
	"heapwright shm lists the shared memory of the machine: POSIX segments (files of /dev/shm), those "
	"of System V, memfds, shared anonymous memory, and files of other file systems in memory that "
	"somebody maps or has open; with the size, how much of that is in memory or in swap, and the "
	"processes that use it. The biggest come first.",
	"A segment that nobody maps or has open is unused; it keeps its memory until it is unlinked "
	"(shm_unlink, rm, ipcrm). A System V segment is orphaned when, besides, the process that made it "
	"has ended. POSIX segments do not tell who made them.",
	"With LOG, a recording made by heapwright record --shared-memory, it lists the calls shm_open, "
	"shm_unlink, shmget, shmat, shmdt, shmctl(IPC_RMID), mmap(MAP_SHARED) and memfd_create, with "
	"arguments, result, time, thread and call stack.",
	"Without the right to look at a process, what only that process uses is not found; the last line "
	"and the exit code say so.",
	NULL,
};

static const struct option_example examples[] = {
	{ "heapwright shm | head", "The biggest segments of the machine.", 0 },
	{ "heapwright shm -q marked.hwlog", "The calls about shared memory of a recording.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "Everything could be read; with -orphaned, everything is in use." },
	{ EXIT_FOUND, "With -orphaned: something is not in use." },
	{ EXIT_PARTLY, "Some processes or part of LOG could not be read." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

static int run(const void *given, const struct option_list *operands)
{
	struct shm_settings settings = *(const struct shm_settings *)given;
	struct error *error = NULL;
	int code = EXIT_PARTLY;

	settings.common.tool = "shm";
	settings.common.out = stdout;
	if (operands->n > 1)
		error = error_new(ERROR_USAGE, "one recording at a time, please");
	else if (operands->n && settings.orphaned)
		error = error_new(ERROR_USAGE, "-orphaned is about the machine, not a recording");
	else if (operands->n)
		error = report_shm_calls(operands->v[0], &settings, &code);
	else
		error = report_shm(&settings, &code);
	return error ? tools_fail("heapwright shm", error) : code;
}

const struct command shm_command = {
	.name = "shm",
	.title = "heapwright shm",
	.one_line = "list the shared memory of the machine, or the calls about it in a recording",
	.synopsis = "[options] [LOG[@MOMENT]]",
	.operands = "LOG is a recording made with --shared-memory, or a process that is recorded.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct shm_settings),
	.examples = examples,
	.exits = exits,
	.see_also = "footprint heapwright-record",
	.run = run,
};
