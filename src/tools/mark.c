// SPDX-License-Identifier: MIT
// heapwright mark: gives this moment of a recording a name.
#include <stdio.h>

#include "base/text.h"
#include "collect/collect.h"
#include "os/os.h"
#include "target/target.h"
#include "tools/tools.h"

struct settings {
	bool quiet;
};

#define AT(field) offsetof(struct settings, field)

static const struct option_row rows[] = {
	{ "quiet", NULL, OPTION_FLAG, NULL, NULL, "Print nothing when it worked.", AT(quiet), 0 },
};

static const char *const description[] = {
	"heapwright mark makes a mark in the recording of a process: a moment with a name. malloc_history "
	"then tells what was allocated since, before or between marks, and malloc_history -growth shows "
	"for each mark how much was made after it and is still there. Without NAME marks are numbered.",
	"A program makes marks itself with heapwright_mark(\"name\") of the header heapwright/mark.h, which "
	"does nothing while it is not recorded. The signal SIGUSR2 to the collector of a recording (the "
	"process hw-collector) makes a mark named signal.",
	NULL,
};

static const struct option_example examples[] = {
	{ "heapwright record -o marked.hwlog -- sh -c 'heapwright mark $$ ready; exit 0'",
	  "Records a shell that makes a mark in its own recording.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "The mark was made." },
	{ EXIT_PARTLY, "The process is not being recorded, or its recording cannot be reached." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

// What the user named, which may be a part of a process name.
static struct error *process_of(const char *what, int *ret)
{
	const struct target_options options = { .accepts = "a pid or a process name" };
	struct target *target;

	TRY(target_open(what, &options, &target));
	*ret = target->pid;
	if (target->kind != TARGET_LIVE)
		*ret = 0;
	target_close(target);
	return *ret ? NULL : error_new(ERROR_USAGE, "%s is no process", what);
}

static struct error *make_mark(struct arena *arena, const struct settings *settings,
                               const struct option_list *operands)
{
	struct collect_recording recording;
	int process;

	if (!operands->n || operands->n > 2)
		return error_new(ERROR_USAGE, "a process and perhaps a name, please");
	if (operands->n == 2 && !*operands->v[1])
		return error_new(ERROR_USAGE, "the name of the mark is empty");
	TRY(process_of(operands->v[0], &process));
	TRY(collect_find(process, arena, &recording));
	if (recording.mode == COLLECT_LITE)
		return error_new(
			ERROR_UNSUPPORTED,
			"process %d keeps the stacks of its live blocks only; a mark needs a "
			"recording of every event (heapwright record, or "
			"MallocStackLoggingNoCompact=1)",
			process);
	TRY(collect_mark(process, operands->n == 2 ? operands->v[1] : NULL));
	if (settings->quiet)
		return NULL;
	printf("marked in %s\n", text_printable(arena, recording.log_path));
	return NULL;
}

static int run(const void *settings, const struct option_list *operands)
{
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = make_mark(&arena, settings, operands);
	arena_deinit(&arena);
	return error ? tools_fail("heapwright mark", error) : EXIT_FINE;
}

const struct command mark_command = {
	.name = "mark",
	.title = "heapwright mark",
	.one_line = "give this moment of a recording a name",
	.synopsis = "[options] PROCESS [NAME]",
	.operands = "PROCESS is a process id, or a process name or a part of one.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct settings),
	.examples = examples,
	.exits = exits,
	.see_also = "heapwright-record malloc_history",
	.run = run,
};
