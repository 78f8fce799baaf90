// SPDX-License-Identifier: MIT
// heapwright diff: what is allocated at one moment and not at another, or more of it.
#include <stdio.h>

#include "tools/tools.h"

#define AT(field) offsetof(struct diff_settings, field)

static const struct option_row rows[] = {
	{ "virtual", NULL, OPTION_FLAG, NULL, NULL, "Count mappings, too.", AT(virtual_memory), 0 },
	{ "fullStacks", NULL, OPTION_FLAG, NULL, NULL, "One frame per line.", AT(full_stacks), 0 },
	{ "json", NULL, OPTION_FLAG, NULL, NULL, "Print one JSON document instead of text.",
	  AT(common.json), 0 },
	{ "quiet", "q", OPTION_FLAG, NULL, NULL, "Leave out the headers.", AT(common.quiet), 0 },
};

static const char *const description[] = {
	"heapwright diff compares what is allocated at two moments: of one recording (server.hwlog@warm "
	"server.hwlog@done), of two recordings of the same program, or of a recording and a process "
	"that is recorded now. It lists by allocating function and by stack what has grown, shrunk, "
	"come and gone. Stacks are the same when their functions are: addresses may differ.",
	NULL,
};

static const struct option_example examples[] = {
	{ "heapwright diff marked.hwlog@ready marked.hwlog",
	  "What changed between a mark and the end of the program.", 0 },
	{ NULL, NULL, 0 },
};

static int run(const void *given, const struct option_list *operands)
{
	struct diff_settings settings = *(const struct diff_settings *)given;
	struct error *error = NULL;
	int code = EXIT_PARTLY;

	settings.common.tool = "diff";
	settings.common.out = stdout;
	if (operands->n != 2)
		error = error_new(ERROR_USAGE, "two recordings or moments, please");
	else
		error = report_diff(operands->v[0], operands->v[1], &settings, &code);
	return error ? tools_fail("heapwright diff", error) : code;
}

const struct command diff_command = {
	.name = "diff",
	.title = "heapwright diff",
	.one_line = "compare what is allocated at two moments of a recording",
	.synopsis = "[options] A[@MOMENT] B[@MOMENT]",
	.operands =
		"A and B are logs of recordings, or processes that are recorded; MOMENT is a mark, "
		"+SECONDS from the start, or -SECONDS before the end.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct diff_settings),
	.examples = examples,
	.exits = tools_plain_exits,
	.see_also = "malloc_history heap",
	.run = run,
};
