// SPDX-License-Identifier: MIT
// leaks: the blocks that nothing in a process references any more.
#include <stdio.h>

#include "base/arena.h"
#include "os/os.h"
#include "tools/tools_impl.h"

#define AT(field) offsetof(struct leaks_settings, field)

static const struct option_row rows[] = {
	{ "list", NULL, OPTION_FLAG, NULL, NULL,
	  "Print one line per leaked block with its contents, not trees.", AT(list), 0 },
	{ "nostacks", NULL, OPTION_FLAG, NULL, NULL,
	  "Do not show the call stacks that allocated the blocks, where they are recorded.",
	  AT(no_stacks), 0 },
	{ "nosources", NULL, OPTION_FLAG, NULL, NULL,
	  "Do not show source files and lines in call stacks.", AT(no_sources), 0 },
	{ "fullStacks", NULL, OPTION_FLAG, NULL, NULL,
	  "With -list, show call stacks with one frame a line.", AT(full_stacks), 0 },
	{ "groupByType", NULL, OPTION_FLAG, NULL, NULL,
	  "Merge trees, and siblings in a tree, that have the same type and size.",
	  AT(group_by_type), 0 },
	{ "exclude", NULL, OPTION_LIST, "RULE", NULL,
	  "Drop trees whose root matches: type:GLOB, module:GLOB, size:N, size:A-B, site:GLOB (a function "
	  "of the call stack that allocated it), or a bare GLOB for any of type, module and function. "
	  "May be given more than once.",
	  AT(exclude), 0 },
	{ "suppressions", NULL, OPTION_LIST, "FILE", NULL,
	  "Drop what the rules in FILE match: rules as of -exclude, one a line, LeakSanitizer's "
	  "(leak:NAME) or valgrind's. Rules that matched nothing are reported.",
	  AT(suppressions), 0 },
	{ "trace", "traceTree", OPTION_ADDRESS, "ADDRESS", NULL,
	  "Show who references the block at ADDRESS, up to a root.", AT(trace), AT(has_trace) },
	{ "referenceTree", NULL, OPTION_OPTIONAL, "ADDRESS|PATTERN", NULL,
	  "Show the tree of all blocks from the roots down, each block once; with an address, or a "
	  "pattern for types, only the branches that lead there.",
	  AT(reference_tree), 0 },
	{ "diffFrom", NULL, OPTION_TEXT, "FILE", NULL,
	  "Show only leaks that are not in this snapshot (or core) of the same process.",
	  AT(diff_from), 0 },
	{ "confirm", NULL, OPTION_SECONDS, "SECONDS", NULL,
	  "Look twice, SECONDS apart, and show only what is leaked in both looks.", AT(confirm_ns),
	  AT(has_confirm) },
	{ "atExit", NULL, OPTION_REST, "COMMAND", NULL,
	  "Run COMMAND and look for leaks when it exits, its memory still intact. The call stacks of its "
	  "blocks are kept, unless -nostacks is given. Its exit status is shown; that of leaks is about "
	  "the leaks.",
	  AT(at_exit), 0 },
	{ "cycles", NULL, OPTION_FLAG, NULL, NULL,
	  "Accepted for old scripts: reachability is always strict, so cycles are always found.",
	  AT(cycles), 0 },
	{ "conservative", NULL, OPTION_FLAG, NULL, NULL,
	  "Accepted: without type layouts every word that could be a reference counts as one.",
	  AT(conservative), 0 },
	TOOLS_COMMON_ROWS(struct leaks_settings),
};

static const char *const description[] = {
	"leaks searches the memory of a process for blocks that were allocated by malloc but are no "
	"longer referenced from anywhere: not from writable data, thread stacks, registers, mapped "
	"memory or the kernel, nor from any other block that is. The process needs no preparation, no "
	"symbols and no restart; it stands still for some milliseconds and then runs on unchanged.",
	"A reference may point anywhere into a block. What nothing references is a ROOT LEAK, a ring of "
	"blocks that only reference each other a ROOT CYCLE; the blocks that only they reference are "
	"shown below them. Sizes are what the program may use of a block, often more than it asked for.",
	"Before it answers it checks the heap against the allocator's own counters. Damage, memory that "
	"is missing (from a core) and allocators that cannot be read are said at the top, and the exit "
	"status is then never 0.",
	NULL,
};

static const struct option_example examples[] = {
	{ "leaks server", "Shows the leaks of the process named server as trees.", 1 },
	{ "leaks -list -nocontext server", "One line per leaked block.", 1 },
	{ "leaks -quiet -json server", "The same facts as one JSON document.", 1 },
	{ "leaks -outputGraph /tmp/server.hwsnap server",
	  "Saves what was seen to a file, for later or for another machine.", 1 },
	{ "leaks -atExit -- /bin/true", "Runs a command and looks when it exits.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "No leaks, and everything could be read." },
	{ EXIT_FOUND, "Leaks were found (whether or not something else could not be read)." },
	{ EXIT_PARTLY,
	  "No leaks were found, but not everything could be read; or the target could not "
	  "be looked at." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

// Whether somebody has said already what is to be recorded.
static bool logging_is_set(void)
{
	return os_variable("MallocStackLogging") || os_variable("MallocStackLoggingNoCompact") ||
	       os_variable("HEAPWRIGHT_RECORD");
}

// The command keeps the stacks of its live blocks, so that leaks can show them: in our malloc library
// by its own variable, else by the preload. Where that cannot be it runs without.
static const struct os_launch_variable *stack_logging(struct arena *arena,
                                                      const struct leaks_settings *settings)
{
	struct os_launch_variable *variables = arena_array(arena, 4, sizeof(*variables));
	const char *library, *others = os_variable("LD_PRELOAD");

	if (settings->no_stacks || logging_is_set() ||
	    tools_program_check(arena, settings->at_exit.v[0]) ||
	    tools_own_file(arena, "heapwright/librecord.so", &library))
		return NULL;
	if (others && *others)
		library = arena_format(arena, "%s:%s", library, others);
	variables[0] = (struct os_launch_variable){ "LD_PRELOAD", library, false };
	variables[1] = (struct os_launch_variable){ "HEAPWRIGHT_RECORD",
		                                    "mode=lite,what=malloc,process=", true };
	variables[2] = (struct os_launch_variable){ "MallocStackLogging", "lite", false };
	return variables;
}

static int run(const void *given, const struct option_list *operands)
{
	struct leaks_settings settings = *(const struct leaks_settings *)given;
	const char *target = NULL;
	struct error *error = NULL;
	int code = EXIT_PARTLY;
	struct arena arena;

	settings.common.tool = "leaks";
	settings.common.out = stdout;
	if (!settings.at_exit.n)
		error = tools_one_target(operands, &target);
	else if (operands->n)
		error = error_new(ERROR_USAGE, "-atExit runs a command: no other target, please");
	arena_init(&arena, &os_page_source);
	if (settings.at_exit.n)
		settings.at_exit_variables = stack_logging(&arena, &settings);
	if (!error)
		error = report_leaks(target, &settings, &code);
	code = error ? tools_fail("leaks", error) : code;
	arena_deinit(&arena);
	return code;
}

const struct command leaks_command = {
	.name = "leaks",
	.one_line = "find the blocks of a running process that nothing references any more",
	.synopsis = "[options] TARGET | leaks [options] -atExit -- COMMAND [ARGUMENTS]",
	.operands = TOOLS_TARGET_OPERAND ".",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct leaks_settings),
	.examples = examples,
	.exits = exits,
	.see_also = "heap vmmap",
	.run = run,
};
