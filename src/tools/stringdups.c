// SPDX-License-Identifier: MIT
// stringdups: equal contents among the live blocks of a process.
#include <stdio.h>

#include "tools/tools.h"

#define AT(field) offsetof(struct stringdups_settings, field)

static const struct option_row rows[] = {
	{ "minimumCount", NULL, OPTION_NUMBER, "N", "2",
	  "Show only contents that at least N blocks have.", AT(minimum), AT(has_minimum) },
	{ "stringsOnly", NULL, OPTION_FLAG, NULL, NULL,
	  "Compare texts only, not all the bytes of other blocks.", AT(strings_only), 0 },
	{ "nostacks", NULL, OPTION_FLAG, NULL, NULL, "No call stacks, even if they were recorded.",
	  AT(no_stacks), 0 },
	{ "callTrees", NULL, OPTION_FLAG, NULL, NULL,
	  "All call stacks of a content as one tree, outermost function first, instead of the most "
	  "frequent stacks.",
	  AT(call_trees), 0 },
	{ "invertCallTrees", NULL, OPTION_FLAG, NULL, NULL,
	  "The same with the allocating function first.", AT(invert_call_trees), 0 },
	TOOLS_COMMON_ROWS(struct stringdups_settings),
};

static const char *const description[] = {
	"stringdups lists contents that more than one live malloc block has: how many blocks, their "
	"bytes together and on average, the content (cut), and who points at most of them. One copy of "
	"each would do where the program never changes them.",
	"Compared are texts: C strings (printable UTF-8 up to a NUL, which may stand in blocks of different "
	"sizes), the characters that a std::string of libstdc++ or libc++ keeps on the heap (or in itself, "
	"where it is a block of its own), and the str and bytes objects of CPython 3.8 to 3.13; and for all "
	"other blocks their size and all their bytes. Blocks of nothing but zeros are equal, too. Each block "
	"is counted once. Objects of CPython of up to 512 bytes lie in its own pools, which heap and leaks "
	"do not look into; here they are counted as blocks, without owners and stacks.",
	"COUNT is the number of blocks, BYTES what the allocator gave for them. An owner is the class (or the "
	"size) of the block that points at a block, with the offset of that pointer in brackets, or a "
	"variable. Where the program records stacks (heapwright record -mode=lite, MallocStackLogging=1), "
	"each content is followed by those that allocated it most often.",
	"A snapshot has contents only when it was written with -fullContent.",
	NULL,
};

static const struct option_example examples[] = {
	{ "stringdups server", "Shows every content that two blocks or more have.", 0 },
	{ "stringdups -quiet -stringsOnly -minimumCount 10 server",
	  "Only texts that are there ten times or more.", 0 },
	{ NULL, NULL, 0 },
};

static int run(const void *given, const struct option_list *operands)
{
	struct stringdups_settings settings = *(const struct stringdups_settings *)given;
	const char *target;
	struct error *error = tools_one_target(operands, &target);
	int code = EXIT_PARTLY;

	settings.common.tool = "stringdups";
	settings.common.out = stdout;
	if (!error)
		error = report_stringdups(target, &settings, &code);
	return error ? tools_fail("stringdups", error) : code;
}

const struct command stringdups_command = {
	.name = "stringdups",
	.one_line = "find equal strings and blocks in the heaps of a running process",
	.synopsis = "[options] TARGET",
	.operands = TOOLS_TARGET_OPERAND ".",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct stringdups_settings),
	.examples = examples,
	.exits = tools_plain_exits,
	.see_also = "heap leaks malloc_history",
	.run = run,
};
