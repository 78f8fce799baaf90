// SPDX-License-Identifier: MIT
// heap: what lives in the malloc heaps of a process, by class and by zone.
#include <stdio.h>

#include "tools/tools.h"

#define AT(field) offsetof(struct heap_settings, field)

static const struct option_row rows[] = {
	{ "sortBySize", "s", OPTION_FLAG, NULL, NULL, "Sort classes by bytes instead of by count.",
	  AT(by_size), 0 },
	{ "showSizes", NULL, OPTION_FLAG, NULL, NULL,
	  "One row per size: malloc<32> for blocks without a class.", AT(show_sizes), 0 },
	{ "zones", "z", OPTION_FLAG, NULL, NULL, "One table per zone.", AT(zones), 0 },
	{ "addresses", NULL, OPTION_TEXT, "all|PATTERN", NULL,
	  "List the blocks whose whole class name matches PATTERN, an extended regular expression; "
	  "non-object (or malloc) for those without a class; then, if wanted, a size filter: [32], "
	  "[1k-2k], [4k+], [-64].",
	  AT(addresses), 0 },
	{ "damage", NULL, OPTION_FLAG, NULL, NULL,
	  "List what the program overwrote: bytes behind a block (>), before it (<), or in it after it "
	  "was freed (!). Needs a program under heapwright run --check-edges or --scribble.",
	  AT(damage), 0 },
	{ "diffFrom", NULL, OPTION_TEXT, "FILE", NULL,
	  "Count only blocks that are not in this snapshot (or core) of the same process.",
	  AT(diff_from), 0 },
	{ "guessNonObjects", NULL, OPTION_FLAG, NULL, NULL,
	  "Name a block without a class after the object that points at it: Class[offset].",
	  AT(guess_non_objects), 0 },
	{ "sumObjectFields", NULL, OPTION_FLAG, NULL, NULL,
	  "Add the blocks that -guessNonObjects finds to the size of the objects.",
	  AT(sum_object_fields), 0 },
	{ "humanReadable", "H", OPTION_FLAG, NULL, NULL, "Print sizes as 16K, 1.2M.", AT(human),
	  0 },
	TOOLS_COMMON_ROWS(struct heap_settings),
};

static const char *const description[] = {
	"heap lists the blocks that a process has allocated with malloc and not freed: how many, how "
	"many bytes, of which C++ class or Python type (found through the objects' own vtables and type "
	"pointers, so a stripped program shows them too), and how full and how fragmented each zone is. "
	"The process needs no preparation.",
	"Zones are what the allocator keeps apart: for glibc the main arena, further arenas, and blocks "
	"with a mapping of their own.",
	NULL,
};

static const struct option_example examples[] = {
	{ "heap server", "Shows zones and classes of the process named server.", 0 },
	{ "heap -quiet -showSizes -sortBySize server", "One row per size, biggest first.", 0 },
	{ "heap -quiet -addresses 'non-object[4k+]' server", "Lists blocks of 4 KiB and more.", 0 },
	{ "heap -quiet -damage server",
	  "Shows what a server that runs under checked edges overwrote.", 2 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "Done." },
	{ EXIT_FOUND, "With -damage: something was overwritten." },
	{ EXIT_PARTLY,
	  "Something could not be read or trusted, or the target could not be looked at; with -damage: "
	  "the program keeps nothing that tells damage." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

static int run(const void *given, const struct option_list *operands)
{
	struct heap_settings settings = *(const struct heap_settings *)given;
	const char *target;
	struct error *error = tools_one_target(operands, &target);
	int code = EXIT_PARTLY;

	settings.common.tool = "heap";
	settings.common.out = stdout;
	if (!error)
		error = report_heap(target, &settings, &code);
	return error ? tools_fail("heap", error) : code;
}

const struct command heap_command = {
	.name = "heap",
	.one_line = "list what lives in the malloc heaps of a running process",
	.synopsis = "[options] TARGET",
	.operands = TOOLS_TARGET_OPERAND ".",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct heap_settings),
	.examples = examples,
	.exits = exits,
	.see_also = "leaks vmmap",
	.run = run,
};
