// SPDX-License-Identifier: MIT
// vm_stat: the numbers of the virtual memory system.
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tools/tools.h"

#define AT(field) offsetof(struct vm_stat_settings, field)

static const struct option_row rows[] = {
	{ "c", "count", OPTION_NUMBER, "COUNT", NULL,
	  "With an interval: end after COUNT rows. Without one, the interval is a second.",
	  AT(count), AT(has_count) },
	{ "2008", NULL, OPTION_FLAG, NULL, NULL, "Print the lines, or the columns, of 2008.",
	  AT(form_2008), 0 },
	{ "linux", "more", OPTION_FLAG, NULL, NULL,
	  "Add what only Linux counts: how well reclaim works, swap and its compressors, huge pages, "
	  "and how long tasks waited for memory, input and output, and processors.",
	  AT(more), 0 },
	{ "nodes", NULL, OPTION_FLAG, NULL, NULL,
	  "Add the lists of each NUMA node, and each zone's free pages with the thresholds at which the "
	  "kernel begins to reclaim.",
	  AT(nodes), 0 },
	{ "cgroup", NULL, OPTION_TEXT, "PATH", NULL,
	  "Of a control group instead of the machine: its folder, its name as /proc/PID/cgroup shows it, "
	  "or self. Version 1 and 2.",
	  AT(group), 0 },
	{ "p", "pid process", OPTION_LIST, "PROCESS", NULL,
	  "Of a process instead of the machine, or of all processes of a name: soft and hard faults, "
	  "pages resident, in swap, and wired (locked or pinned). May be given more than once.",
	  AT(processes), 0 },
	{ "openmetrics", NULL, OPTION_OPTIONAL, "strict", NULL,
	  "Print metrics in the text format that Prometheus reads, with those of -p and -cgroup; with "
	  "=strict as OpenMetrics to the letter.",
	  AT(metrics), 0 },
	{ "root", NULL, OPTION_TEXT, "FOLDER", NULL,
	  "Read proc and sys below FOLDER: a copy from another machine.", AT(root), 0 },
	{ "json", NULL, OPTION_FLAG, NULL, NULL, "Print one JSON document instead of text.",
	  AT(common.json), 0 },
	{ "verbose", "v", OPTION_FLAG, NULL, NULL,
	  "Say below each line which counters of the kernel it is made of, what it means, and where "
	  "in the kernel's source that is counted.",
	  AT(common.verbose), 0 },
};

static const char *const description[] = {
	"vm_stat shows the virtual memory system in the lines of macOS: how many pages are free, in use, "
	"wired and compressed, and what happened since boot: faults, pages reactivated, read, written "
	"and swapped. Each number is the kernel's own; what Linux does not count is n/a, and -v says "
	"why.",
	"With an INTERVAL in seconds it prints a row each time: first the totals since boot, then what "
	"was added since the row before; pages free, active and so on are as they are. A number that "
	"does not fit its column is shown in thousands (K), millions (M) and so on.",
	NULL,
};

static const struct option_example examples[] = {
	{ "vm_stat", "The lines.", 0 },
	{ "vm_stat -v", "The same, and what each is made of.", 0 },
	{ "vm_stat -c 3 0.1", "Three rows, a tenth of a second apart.", 0 },
	{ "vm_stat --linux --nodes", "Reclaim, swap, huge pages, stalls, nodes and zones.", 0 },
	{ "vm_stat -p server", "Faults, swap and wired memory of the processes named server.", 0 },
	{ "vm_stat --openmetrics -p server", "Metrics, those of server among them.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "The numbers were printed." },
	{ EXIT_PARTLY, "The kernel, the control group or a process could not be asked." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

static struct error *read_operands(const struct option_list *operands,
                                   struct vm_stat_settings *settings)
{
	if (operands->n > 1)
		return error_new(ERROR_USAGE, "one interval, please");
	if (operands->n &&
	    (text_parse_seconds(operands->v[0], &settings->interval_ns) || !settings->interval_ns))
		return error_new(ERROR_USAGE, "'%s' is no interval in seconds", operands->v[0]);
	if (settings->has_count && !settings->count)
		return error_new(ERROR_USAGE, "-c 0 asks for no row at all");
	if (settings->count && !settings->interval_ns)
		settings->interval_ns = 1000000000;
	if (settings->metrics && (settings->interval_ns || settings->common.json))
		return error_new(ERROR_USAGE, "-openmetrics prints one moment, and not as JSON");
	if (settings->metrics && *settings->metrics && strcmp(settings->metrics, "strict") != 0)
		return error_new(ERROR_USAGE, "-openmetrics: '%s' is not 'strict'",
		                 settings->metrics);
	if (!settings->metrics && settings->group && settings->processes.n)
		return error_new(ERROR_USAGE, "-cgroup and -p ask for different things");
	return NULL;
}

static int run(const void *given, const struct option_list *operands)
{
	struct vm_stat_settings settings = *(const struct vm_stat_settings *)given;
	struct error *error = read_operands(operands, &settings);
	int code = EXIT_PARTLY;

	settings.common.tool = "vm_stat";
	settings.common.out = stdout;
	if (!error)
		error = report_vm_stat(&settings, &code);
	return error ? tools_fail("vm_stat", error) : code;
}

const struct command vm_stat_command = {
	.name = "vm_stat",
	.one_line = "show the numbers of the virtual memory system",
	.synopsis = "[options] [-c COUNT] [INTERVAL]",
	.operands = "INTERVAL is a number of seconds, such as 1 or 0.5.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct vm_stat_settings),
	.examples = examples,
	.exits = exits,
	.see_also = "vmmap heapwright-pressure",
	.run = run,
};
