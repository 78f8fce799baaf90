// SPDX-License-Identifier: MIT
// malloc_history: what a recording of a process knows about its memory: the owners of an address, what is
// allocated from where, at any moment.
#include <stdio.h>

#include "base/text.h"
#include "tools/tools.h"

#define AT(field) offsetof(struct history_settings, field)

static const struct option_row rows[] = {
	{ "allBySize", "all_by_size", OPTION_FLAG, NULL, NULL,
	  "List what is allocated, one line per stack, most bytes first.", AT(all_by_size), 0 },
	{ "allByCount", "all_by_count", OPTION_FLAG, NULL, NULL, "The same, most blocks first.",
	  AT(all_by_count), 0 },
	{ "allEvents", "all_events", OPTION_FLAG, NULL, NULL,
	  "List every allocation and every free in order.", AT(all_events), 0 },
	{ "callTree", NULL, OPTION_FLAG, NULL, NULL,
	  "Show what is allocated as a tree of the functions that called each other.",
	  AT(call_tree), 0 },
	{ "growth", "generations", OPTION_FLAG, NULL, NULL,
	  "Show a table: how much was made after each mark, and how much of that is still there.",
	  AT(growth), 0 },
	{ "marks", NULL, OPTION_FLAG, NULL, NULL, "List the marks of the recording.", AT(marks),
	  0 },
	{ "monitor", NULL, OPTION_FLAG, NULL, NULL,
	  "List the samples of the process's and the machine's memory that heapwright record "
	  "-monitor kept: faults since the sample before, and for how much of the time some task "
	  "of its cgroup or of the machine waited for memory.",
	  AT(monitor), 0 },
	{ "invert", "invertCallTree", OPTION_FLAG, NULL, NULL,
	  "With -callTree: from the functions that allocate to their callers.", AT(invert), 0 },
	{ "flat", NULL, OPTION_FLAG, NULL, NULL,
	  "With -callTree: one line per function, with all that it and the functions that it called "
	  "have allocated.",
	  AT(flat), 0 },
	{ "ignoreThreads", NULL, OPTION_FLAG, NULL, NULL,
	  "With -callTree: one tree for all threads; much faster for a long recording.",
	  AT(ignore_threads), 0 },
	{ "collapseRecursion", NULL, OPTION_FLAG, NULL, NULL,
	  "With -callTree: a function that calls itself is one branch.", AT(collapse_recursion),
	  0 },
	{ "chargeSystemLibraries", NULL, OPTION_FLAG, NULL, NULL,
	  "With -callTree: leave out the functions of the libraries below /lib and /usr/lib; their "
	  "callers get their bytes.",
	  AT(charge_system_libraries), 0 },
	{ "showContent", NULL, OPTION_FLAG, NULL, NULL,
	  "With -callTree of a process that runs: list the blocks at each branch, with their types and "
	  "contents now.",
	  AT(show_content), 0 },
	{ "pruneCount", NULL, OPTION_NUMBER, "N", NULL,
	  "Leave out stacks and branches of fewer than N blocks.", AT(prune_count), 0 },
	{ "pruneMallocSize", NULL, OPTION_SIZE, "BYTES", NULL,
	  "Leave out stacks and branches of fewer bytes.", AT(prune_bytes), 0 },
	{ "highWaterMark", NULL, OPTION_FLAG, NULL, NULL,
	  "What was allocated when that was most, instead of at the end.", AT(high_water_mark), 0 },
	{ "overall", NULL, OPTION_FLAG, NULL, NULL, "All that was ever allocated, freed or not.",
	  AT(overall), 0 },
	{ "temporary", NULL, OPTION_SECONDS, "SECONDS", NULL,
	  "What was freed again so soon after it was allocated; 0: whenever it was freed.",
	  AT(temporary_ns), AT(has_temporary) },
	{ "leaks", NULL, OPTION_FLAG, NULL, NULL,
	  "The leaks that the last check beside the recording found, or that a process that runs has "
	  "now.",
	  AT(leaks), 0 },
	{ "overruns", "underruns", OPTION_FLAG, NULL, NULL,
	  "The blocks whose program wrote beside them, of a process that runs with --check-edges; with "
	  "-showContent > and < say on which side.",
	  AT(overruns), 0 },
	{ "virtual", NULL, OPTION_FLAG, NULL, NULL, "Count mappings, too.", AT(virtual_memory), 0 },
	{ "since", NULL, OPTION_TEXT, "MOMENT", NULL,
	  "Only what was made from this moment on: a mark, +SECONDS from the start, -SECONDS before "
	  "the end, peak, #EVENT.",
	  AT(since), 0 },
	{ "until", NULL, OPTION_TEXT, "MOMENT", NULL,
	  "The state at this moment instead of the end; the same as TARGET@MOMENT.", AT(until), 0 },
	{ "minSize", NULL, OPTION_SIZE, "BYTES", NULL, "Only blocks of at least so many bytes.",
	  AT(least_bytes), 0 },
	{ "maxSize", NULL, OPTION_SIZE, "BYTES", NULL, "Only blocks of at most so many bytes.",
	  AT(most_bytes), 0 },
	{ "thread", NULL, OPTION_NUMBER, "ID", NULL, "Only what this thread did.", AT(thread),
	  AT(has_thread) },
	{ "module", NULL, OPTION_TEXT, "PATTERN", NULL,
	  "Only stacks with a frame in a module whose name matches this extended regular expression.",
	  AT(module), 0 },
	{ "function", NULL, OPTION_TEXT, "PATTERN", NULL,
	  "Only stacks with a function whose name matches.", AT(function), 0 },
	{ "type", NULL, OPTION_TEXT, "PATTERN", NULL,
	  "Only blocks whose class name matches. A log knows the classes of freed blocks (-overall, "
	  "-temporary), a process those of its live ones.",
	  AT(type), 0 },
	{ "export", NULL, OPTION_TEXT, "FORM", NULL,
	  "Write what is asked for to a new file, a FIFO or a device, the second operand (- for "
	  "standard output): folded "
	  "(stacks for flamegraph.pl), pprof, speedscope, csv, perfetto (the heap over time, also for "
	  "chrome://tracing), heaptrack (every event).",
	  AT(export_format), 0 },
	{ "fullStacks", NULL, OPTION_FLAG, NULL, NULL, "One frame per line.", AT(full_stacks), 0 },
	{ "json", NULL, OPTION_FLAG, NULL, NULL, "Print one JSON document instead of text.",
	  AT(common.json), 0 },
	{ "quiet", "q", OPTION_FLAG, NULL, NULL, "Leave out the header and the list of images.",
	  AT(common.quiet), 0 },
	{ "verbose", "v", OPTION_FLAG, NULL, NULL, "Say when each event was.", AT(common.verbose),
	  0 },
};

static const char *const description[] = {
	"malloc_history answers from a recording (heapwright record; MallocStackLoggingNoCompact=1): "
	"which blocks an address belonged to, who allocated and who freed them, with full stacks; what "
	"was allocated from where, at the end or at any moment; how that grew.",
	"An ADDRESS may lie inside a block. Previous owners come in order, each with ALLOC and FREE.",
	"Events that were lost because the recorder could not keep up are counted in every answer that "
	"they may change.",
	NULL,
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "Done." },
	{ EXIT_PARTLY,
	  "Events were lost, the recording is damaged or cannot be read, or it knows nothing about an "
	  "address." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

static const struct option_example examples[] = {
	{ "malloc_history marked.hwlog -allBySize",
	  "Shows what a recorded program had not freed when it ended.", 0 },
	{ "malloc_history -quiet marked.hwlog@ready -callTree",
	  "What was allocated at the mark named ready, as a tree.", 0 },
	{ "malloc_history -quiet marked.hwlog -overall -export=folded -",
	  "All that was ever allocated, for flamegraph.pl.", 0 },
	{ "malloc_history -quiet marked.hwlog 0x10", "An address that no block had.", 2 },
	{ NULL, NULL, 0 },
};

static bool asks_something(const struct history_settings *s)
{
	return s->all_by_size || s->all_by_count || s->all_events || s->call_tree || s->growth ||
	       s->marks || s->monitor || s->high_water_mark || s->overall || s->has_temporary ||
	       s->leaks || s->overruns || s->addresses.n;
}

// Answers of a form of their own: only one of them can be printed.
static int form_count(const struct history_settings *s)
{
	return s->all_by_size + s->all_by_count + s->all_events + s->call_tree + s->growth +
	       s->marks + s->monitor + (s->addresses.n > 0);
}

static struct error *take_operands(const struct option_list *operands,
                                   struct history_settings *settings, const char **ret_target)
{
	uint64_t ignored;

	if (!operands->n)
		return error_new(ERROR_USAGE, "no target given");
	*ret_target = operands->v[0];
	if (settings->export_format) {
		settings->export_path = operands->n == 2 ? operands->v[1] : NULL;
		return operands->n == 2 ? NULL
		                        : error_new(ERROR_USAGE, "-export needs TARGET and FILE");
	}
	settings->addresses = (struct option_list){ operands->v + 1, operands->n - 1 };
	for (size_t i = 0; i < settings->addresses.n; i++)
		if (text_parse_u64(settings->addresses.v[i], &ignored))
			return error_new(ERROR_USAGE, "'%.200s' is no address",
			                 settings->addresses.v[i]);
	if (!asks_something(settings))
		return error_new(ERROR_USAGE,
		                 "nothing is asked: give an address, -allBySize, -allByCount, "
		                 "-allEvents, -callTree, -growth, -marks, -monitor, "
		                 "-highWaterMark, -overall, -temporary, -leaks or -overruns");
	if (form_count(settings) > 1)
		return error_new(
			ERROR_USAGE,
			"several questions at once: an address, -allBySize, -allByCount, "
			"-allEvents, -callTree, -growth, -marks and -monitor are one each");
	return NULL;
}

static int run(const void *given, const struct option_list *operands)
{
	struct history_settings settings = *(const struct history_settings *)given;
	const char *target = NULL;
	struct error *error = take_operands(operands, &settings, &target);
	int code = EXIT_PARTLY;

	settings.common.tool = "malloc_history";
	settings.common.out = stdout;
	if (!error)
		error = report_history(target, &settings, &code);
	return error ? tools_fail("malloc_history", error) : code;
}

const struct command malloc_history_command = {
	.name = "malloc_history",
	.one_line = "show the allocations of a recorded process with their stacks",
	.synopsis = "[options] TARGET[@MOMENT] [ADDRESS...]",
	.operands = "TARGET is a process id or a name of a process that is recorded, the log of a "
		    "recording, or a snapshot of such a process; MOMENT a mark, +SECONDS from the "
		    "start, or -SECONDS before the end.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct history_settings),
	.examples = examples,
	.exits = exits,
	.see_also = "leaks heap vmmap heapwright",
	.run = run,
};
