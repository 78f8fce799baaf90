// SPDX-License-Identifier: MIT
// pagestuff: what each page of an ELF file holds.
#include <stdio.h>

#include "tools/tools.h"

#define AT(field) offsetof(struct pagestuff_settings, field)

static const struct option_row rows[] = {
	{ "a", "all", OPTION_FLAG, NULL, NULL,
	  "Show all pages of the file, and the sections that have no bytes in it.", AT(all), 0 },
	{ "p", "sections", OPTION_FLAG, NULL, NULL,
	  "List segments and sections with their pages, instead of the contents of pages.",
	  AT(sections), 0 },
	{ "summary", NULL, OPTION_FLAG, NULL, NULL, "Print the sums over all pages only.",
	  AT(summary), 0 },
	{ "pid", NULL, OPTION_NUMBER, "PID", NULL,
	  "Say which pages process PID has mapped and of which it has copies of its own. FILE may be "
	  "left out: then it is the program that PID runs.",
	  AT(pid), AT(has_pid) },
	{ "page-size", NULL, OPTION_SIZE, "BYTES", NULL,
	  "Cut the file into pages of BYTES (a power of two) instead of those of this machine.",
	  AT(page_bytes), AT(has_page_bytes) },
	{ "json", NULL, OPTION_FLAG, NULL, NULL, "Print one JSON document instead of text.",
	  AT(common.json), 0 },
	{ "verbose", "v", OPTION_FLAG, NULL, NULL,
	  "Say of each page whether it is in the page cache, what the loader writes to it, its padding, "
	  "and whether it mixes cold code with other; and the sums at the end.",
	  AT(common.verbose), 0 },
};

static const char *const description[] = {
	"pagestuff shows what lies on each page of an executable, a shared object, a relocatable file, a "
	"core or a debug file: headers, segments, sections and symbols, with the virtual addresses of the "
	"linker. Without -a and page numbers it shows the pages of .text. Files of any machine, word "
	"size and byte order are read. Symbols are those of .symtab, .dynsym and .gnu_debugdata.",
	"Every byte of the file belongs to a header, a section, a segment, or to nothing. Zeros between "
	"sections, and in code one byte over and over, are padding. The pages listed are those of the "
	"file; two pages of memory may show the same one.",
	"What a page costs: the loader makes a copy of each page that it writes to; relative relocations "
	"need no symbol, symbolic ones do, lazy ones (of the procedure linkage table) are made at the first "
	"call or, as most distributions link, at the start. Cold is the code in .text.unlikely and its "
	"like, and the parts of functions that compilers split off as NAME.cold; where a page mixes it with "
	"other code, rarely needed bytes come into memory with needed ones.",
	"Whether a page is in the page cache is asked before the file is read, by mincore or cachestat. With "
	"-pid, a page counts as mapped when it is in the page tables of the process (/proc/PID/pagemap): it "
	"was touched, or lies near one that was, because the kernel maps up to 16 pages around a fault.",
	NULL,
};

static const struct option_example examples[] = {
	{ "pagestuff server", "The pages of code, with their symbols.", 0 },
	{ "pagestuff -a server", "All pages.", 0 },
	{ "pagestuff -p server", "Its segments and sections.", 0 },
	{ "pagestuff -v server 0 2-3", "All that is known about three pages.", 0 },
	{ "pagestuff -summary -pid $(pgrep -x server)",
	  "What of its program a process has in memory.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "The file could be read, and nothing in it contradicts itself." },
	{ EXIT_PARTLY,
	  "The file is damaged or cut short (warnings say where), is no ELF file, or could not "
	  "be read." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

static struct error *report(const struct pagestuff_settings *settings,
                            const struct option_list *operands, int *ret_exit)
{
	struct option_list pages = { operands->v + 1, operands->n ? operands->n - 1 : 0 };

	if (!operands->n && !settings->has_pid)
		return error_new(ERROR_USAGE, "no file given");
	return report_pagestuff(operands->n ? operands->v[0] : NULL, &pages, settings, ret_exit);
}

static int run(const void *given, const struct option_list *operands)
{
	struct pagestuff_settings settings = *(const struct pagestuff_settings *)given;
	int code = EXIT_PARTLY;
	struct error *error;

	settings.common.tool = "pagestuff";
	settings.common.out = stdout;
	error = report(&settings, operands, &code);
	return error ? tools_fail("pagestuff", error) : code;
}

const struct command pagestuff_command = {
	.name = "pagestuff",
	.one_line = "show what each page of an ELF file holds",
	.synopsis = "[options] FILE [PAGE...]",
	.operands = "FILE is an ELF file; PAGE is a number, from 0 on, or a range such as 3-7.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct pagestuff_settings),
	.examples = examples,
	.exits = exits,
	.see_also = "vmmap readelf",
	.run = run,
};
