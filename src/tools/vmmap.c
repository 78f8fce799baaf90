// SPDX-License-Identifier: MIT
// vmmap: what every page of a process is used for. vmmap64 is a link to it.
#include <stdio.h>

#include "base/text.h"
#include "tools/tools.h"

#define AT(field) offsetof(struct vmmap_settings, field)

static const struct option_row rows[] = {
	{ "wide", "w", OPTION_FLAG, NULL, NULL, "Print paths and names in full.", AT(wide), 0 },
	{ "summary", NULL, OPTION_FLAG, NULL, NULL, "Print the summary and the tables only.",
	  AT(summary), 0 },
	{ "interleaved", NULL, OPTION_FLAG, NULL, NULL,
	  "List non-writable and writable regions together, in order of address.", AT(interleaved),
	  0 },
	{ "sortBySize", "s", OPTION_FLAG, NULL, NULL,
	  "Sort by dirty and swapped bytes, biggest first.", AT(by_size), 0 },
	{ "pages", NULL, OPTION_FLAG, NULL, NULL, "Print sizes in pages instead of kilobytes.",
	  AT(pages), 0 },
	{ "noCoalesce", NULL, OPTION_FLAG, NULL, NULL,
	  "List every region by itself; else equal neighbours are shown as one.", AT(no_coalesce),
	  0 },
	{ "submap", NULL, OPTION_FLAG, NULL, NULL,
	  "Show which runs of library pages all processes share through the page cache (machine-wide) "
	  "and which are copies of this process (process-only), with text that was turned private.",
	  AT(submap), 0 },
	{ "allSplitLibs", NULL, OPTION_FLAG, NULL, NULL,
	  "List also the libraries that the loader's cache knows and this process does not use.",
	  AT(all_split_libs), 0 },
	{ "attributes", NULL, OPTION_FLAG, NULL, NULL,
	  "Show what was set for a region: locked, dontfork, wipeonfork, hugepage, guard, sealed.",
	  AT(attributes), 0 },
	{ "stacks", NULL, OPTION_FLAG, NULL, NULL,
	  "Show below each region the call stack that mapped it, where that is recorded (heapwright "
	  "record -vm).",
	  AT(stacks), 0 },
	{ "fullStacks", NULL, OPTION_FLAG, NULL, NULL, "The same, one frame a line.",
	  AT(full_stacks), 0 },
	{ "2008", NULL, OPTION_FLAG, NULL, NULL,
	  "Print the lines of 2008: no headings, zones in parentheses, STACK[n], first words of memory "
	  "without a name; they fit 80 columns.",
	  AT(form_2008), 0 },
	{ "resident", NULL, OPTION_FLAG, NULL, NULL,
	  "With --2008: add the resident size; the usual form always shows it.", AT(resident), 0 },
	{ "dirty", NULL, OPTION_FLAG, NULL, NULL,
	  "With --2008: add the size of dirty pages; the usual form always shows it.", AT(dirty),
	  0 },
	{ "swapped", NULL, OPTION_FLAG, NULL, NULL,
	  "With --2008: add the size that is in swap; the usual form always shows it.", AT(swapped),
	  0 },
	{ "interval", "d", OPTION_SECONDS, "SECONDS", NULL,
	  "Look twice, SECONDS apart, without stopping the target, and print what differs: regions "
	  "that changed, those only in the first look, those only in the second.",
	  AT(interval_ns), AT(has_interval) },
	TOOLS_COMMON_ROWS(struct vmmap_settings),
};

static const char *const description[] = {
	"vmmap shows what the address space of a process is made of: every mapping, cut at heaps, "
	"thread stacks and their guards, with its size, the part that is in memory, dirty or swapped, "
	"what may be done with it now and at most, how it is shared, and what it is: the zone of malloc, "
	"the thread, the file. The process needs no preparation. The sums equal those of the kernel's "
	"smaps to the page; nothing that smaps lists is left out.",
	"The sharing mode comes from the pages, not from the flags of the mapping. COW: private, and at "
	"least one page still is the file's or shared with a relative; PRV: all pages that are there are "
	"the process's own; ZER: private memory that was never touched; NUL: nothing is there; SHM: "
	"shared; ALI: one object at several addresses of this process; S/A: that, and others share it "
	"too. Where page counts are not known (a core file) sizes are shown as - and modes follow the "
	"flags.",
	"Region types of libraries and programs are named as on the Mac: __TEXT code, __CONST read-only "
	"data, __LINKEDIT headers and symbol tables, __DATA variables, __DATA_CONST constants that the "
	"loader relocated, __BSS variables that begin as zero. VM_ALLOCATE is anonymous memory that "
	"nothing is known about; memory that a program named shows its name.",
	"With an ADDRESS only the region that holds it and its neighbours are shown. -v implies -wide, "
	"-submap, -allSplitLibs and -noCoalesce.",
	NULL,
};

static const struct option_example examples[] = {
	{ "vmmap server", "Shows all regions of the process named server, and the tables.", 0 },
	{ "vmmap -quiet -summary server", "Only the tables.", 0 },
	{ "vmmap -quiet --2008 -interleaved server", "The form of 2008, in order of address.", 0 },
	{ "vmmap -quiet -d 0.1 server", "What changes within a tenth of a second.", 0 },
	{ NULL, NULL, 0 },
};

// TARGET, or TARGET ADDRESS.
static struct error *read_operands(const struct option_list *operands,
                                   struct vmmap_settings *settings, const char **ret)
{
	struct option_list target = *operands;

	if (operands->n == 2) {
		if (text_parse_u64(operands->v[1], &settings->address))
			return error_new(ERROR_USAGE, "'%s' is no address (0x...)", operands->v[1]);
		if (settings->has_interval)
			return error_new(ERROR_USAGE, "an address and -d cannot be asked together");
		settings->has_address = true;
		target.n = 1;
	}
	return tools_one_target(&target, ret);
}

static int run(const void *given, const struct option_list *operands)
{
	struct vmmap_settings settings = *(const struct vmmap_settings *)given;
	const char *target;
	struct error *error = read_operands(operands, &settings, &target);
	int code = EXIT_PARTLY;

	settings.common.tool = "vmmap";
	settings.common.out = stdout;
	if (!error)
		error = report_vmmap(target, &settings, &code);
	return error ? tools_fail("vmmap", error) : code;
}

const struct command vmmap_command = {
	.name = "vmmap",
	.also = "vmmap64",
	.one_line = "show what every page of a process is used for",
	.synopsis = "[options] TARGET [ADDRESS]",
	.operands = TOOLS_TARGET_OPERAND "; ADDRESS is a number such as 0x7f12a8c00010.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct vmmap_settings),
	.examples = examples,
	.exits = tools_plain_exits,
	.see_also = "leaks heap",
	.run = run,
};
