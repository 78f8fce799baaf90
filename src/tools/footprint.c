// SPDX-License-Identifier: MIT
// footprint: what processes cost the machine.
#include <stdio.h>

#include "tools/tools.h"

#define AT(field) offsetof(struct footprint_settings, field)

static const struct option_row rows[] = {
	{ "all", "a", OPTION_FLAG, NULL, NULL, "Every process of the machine.", AT(all), 0 },
	{ "proc", "p", OPTION_LIST, "NAME|PID", NULL,
	  "A process, or all that have this name or, when none has, a name with this part; as often as "
	  "wanted. The same as an operand.",
	  AT(processes), 0 },
	{ "exclude", "x", OPTION_LIST, "NAME|PID", NULL, "Leave out these.", AT(exclude), 0 },
	{ "targetChildren", "t", OPTION_FLAG, NULL, NULL,
	  "Also the children of those, and their children.", AT(children), 0 },
	{ "skip", "s", OPTION_FLAG, NULL, NULL,
	  "Leave out idle processes: those that use no processor time within a tenth of a second.",
	  AT(skip_idle), 0 },
	{ "minFootprint", NULL, OPTION_NUMBER, "MIB", NULL,
	  "Leave out processes with a phys_footprint below so many mebibytes.", AT(least_mib), 0 },
	{ "json", NULL, OPTION_FLAG, NULL, NULL, "Print one JSON document instead of text.",
	  AT(common.json), 0 },
	{ "j", NULL, OPTION_TEXT, "FILE", NULL, "Write the JSON document to FILE besides the text.",
	  AT(json_file), 0 },
	{ "format", "f", OPTION_TEXT, "FORMAT", "formatted",
	  "How sizes are written: bytes, formatted (to the nearest KB, MB or GB) or pages.",
	  AT(format), 0 },
	{ "sort", NULL, OPTION_TEXT, "COLUMN", "dirty",
	  "Sort by dirty, swapped, wired, clean, reclaimable, regions or category.", AT(sort), 0 },
	{ "verbose", "v vmObjectDirty", OPTION_FLAG, NULL, NULL, "List the regions, too.",
	  AT(regions), 0 },
	{ "wide", "w", OPTION_FLAG, NULL, NULL, "With -v: whole paths.", AT(wide), 0 },
	{ "swapped", NULL, OPTION_FLAG, NULL, NULL,
	  "A column for the part of the dirty memory that is in swap.", AT(swapped), 0 },
	{ "wired", NULL, OPTION_FLAG, NULL, NULL,
	  "A column for what is locked in memory (mlock) or huge pages set aside; and the kernel "
	  "resources of the process: descriptors, sockets, pipes, slab.",
	  AT(wired), 0 },
	{ "unmapped", NULL, OPTION_FLAG, NULL, NULL,
	  "List shared memory that the process holds by a descriptor, or made (System V), and does not "
	  "map: it is in no category; and who maps it.",
	  AT(unmapped), 0 },
	{ "noCategories", NULL, OPTION_FLAG, NULL, NULL, "Only the totals, in a third of the time.",
	  AT(no_categories), 0 },
	{ "sysFootprint", NULL, OPTION_FLAG, NULL, NULL,
	  "Instead of processes, the machine: the kernel's own memory by what it is for, and how much "
	  "nobody accounts for.",
	  AT(system), 0 },
	{ "wired-costs", NULL, OPTION_FLAG, NULL, NULL,
	  "Measure what one process, thread, mapping, pipe, file, socket and library costs the kernel of "
	  "this machine: many are made in children that end at once, and the growth of the kernel's "
	  "counts is shared out.",
	  AT(wired_costs), 0 },
	{ "sample", NULL, OPTION_SECONDS, "SECONDS", NULL,
	  "Print the phys_footprint of each process every so many seconds, and at the end the least "
	  "and the most.",
	  AT(sample_ns), AT(has_sample) },
	{ "sample-duration", NULL, OPTION_SECONDS, "SECONDS", NULL,
	  "With --sample: end after so many seconds; else when all the processes have ended.",
	  AT(duration_ns), AT(has_duration) },
};

static const char *const description[] = {
	"footprint shows what processes cost the machine, by category: dirty memory, which is nowhere "
	"else (what is in swap counts, too); clean memory, which a file has as well and which can be "
	"dropped at any time; reclaimable memory, which the program gave up (MADV_FREE) and the kernel "
	"has not yet taken. It reads what the kernel counts, and stops nothing.",
	"Of several processes each has its own table, in which it is charged for every page that it "
	"maps, and the last table is for all of them together: shared pages are counted once there. "
	"With the capability SYS_ADMIN (as root) it knows pages by their page frames; without it, and "
	"with -noCategories, each page is divided by the number of processes of the whole machine that "
	"map it. The table says which. Pages in swap are always divided.",
	"Categories have the names of vmmap. Heaps other than [heap] and glibc's arenas, and stacks of "
	"other than the usual size, are VM_ALLOCATE: to know better vmmap looks into the process.",
	"phys_footprint is anonymous memory and swap, as in the header of vmmap, heap and leaks. Its "
	"peak is that of all resident memory, files included, as Linux keeps no other; --sample "
	"measures a better one. kernel_page_tables and kernel_stacks are the kernel's own memory for "
	"this process; slab it counts by control group only.",
	"A process whose mappings may not be read is shown with what anybody may know: anonymous memory "
	"as dirty, the rest as clean. The exit code says so.",
	NULL,
};

static const struct option_example examples[] = {
	{ "footprint server", "The process named server.", 0 },
	{ "footprint -t -swapped -wired server", "It and its children, with more columns.", 0 },
	{ "footprint --sample 0.1 --sample-duration 0.3 server", "Its footprint, four times.", 0 },
	{ "footprint -v -w -f bytes server", "Every region, in bytes.", 0 },
	{ "footprint --sysFootprint", "What the kernel itself needs.", 0 },
	{ NULL, NULL, 0 },
};

static struct error *check(const struct footprint_settings *settings,
                           const struct option_list *operands)
{
	if (settings->has_duration && !settings->has_sample)
		return error_new(ERROR_USAGE, "--sample-duration is of use only with --sample");
	if ((settings->system || settings->wired_costs) && (settings->json_file || operands->n))
		return error_new(ERROR_USAGE, "--sysFootprint and --wired-costs go with neither "
		                              "processes nor -j");
	if (settings->has_sample && !settings->sample_ns)
		return error_new(ERROR_USAGE, "--sample needs some time between two samples");
	for (size_t i = 0; i < operands->n; i++)
		if (!*operands->v[i])
			return error_new(ERROR_USAGE, "an empty text names no process");
	if (settings->has_sample && (settings->json_file || settings->regions))
		return error_new(ERROR_USAGE, "--sample goes with neither -j nor -v");
	return NULL;
}

static int run(const void *given, const struct option_list *operands)
{
	struct footprint_settings settings = *(const struct footprint_settings *)given;
	struct error *error = check(&settings, operands);
	int code = EXIT_PARTLY;

	settings.common.tool = "footprint";
	settings.common.out = stdout;
	if (!error)
		error = report_footprint(operands, &settings, &code);
	return error ? tools_fail("footprint", error) : code;
}

const struct command footprint_command = {
	.name = "footprint",
	.one_line = "show what processes cost the machine",
	.synopsis = "[options] [NAME|PID]...",
	.operands = "NAME is the name of a process or a part of one, PID its number.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct footprint_settings),
	.examples = examples,
	.exits = tools_plain_exits,
	.see_also = "vmmap heapwright-shm",
	.run = run,
};
