// SPDX-License-Identifier: MIT
// Source file and line of an address, from the DWARF of a module or of its
// separate debug file, through libdw. Files are read, not mapped: one that
// shrinks meanwhile is then an error and no SIGBUS. Called by lookup.c.
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <string.h>

#include "symbols/symbols_impl.h"

// What a damaged file can make us walk through.
#define MOST_UNITS  1000000
#define MOST_LEVELS 64

struct symbols_lines {
	int fd;
	Elf *elf;
	Dwarf *dwarf; // NULL: there is none
};

static bool has_dwarf(const struct symbols_image *image)
{
	return symbols_image_section(image, ".debug_line") ||
	       symbols_image_section(image, ".zdebug_line");
}

// The descriptor of the file that has the module's DWARF, or -1.
static int open_dwarf_file(struct symbols *symbols, const struct symbols_module *module)
{
	struct symbols_image image;
	int fd = -1;

	if (!module->file)
		return -1;
	if (!symbols_module_image(symbols, module, &image)) {
		if (has_dwarf(&image)) {
			fd = image.fd;
			image.fd = -1;
		} else {
			fd = symbols_debug_open(symbols, &image, module->file->path, true);
		}
	}
	symbols_image_close(&image);
	return fd;
}

static struct symbols_lines *lines_open(struct symbols *symbols,
                                        const struct symbols_module *module)
{
	struct symbols_lines *lines = arena_alloc(&symbols->arena, sizeof(*lines));

	lines->fd = open_dwarf_file(symbols, module);
	if (lines->fd < 0 || elf_version(EV_CURRENT) == EV_NONE)
		return lines;
	lines->elf = elf_begin(lines->fd, ELF_C_READ, NULL);
	if (lines->elf)
		lines->dwarf = dwarf_begin_elf(lines->elf, DWARF_C_READ, NULL);
	return lines;
}

void symbols_lines_close(struct symbols_lines *lines)
{
	if (!lines)
		return;
	if (lines->dwarf)
		dwarf_end(lines->dwarf);
	if (lines->elf)
		elf_end(lines->elf);
	os_close(lines->fd);
}

// Not every compiler writes the table of addresses (.debug_aranges) that dwarf_addrdie needs.
static bool find_unit(Dwarf *dwarf, uint64_t address, Dwarf_Die *ret)
{
	Dwarf_CU *unit = NULL;

	if (dwarf_addrdie(dwarf, address, ret))
		return true;
	for (size_t i = 0; i < MOST_UNITS; i++) {
		if (dwarf_get_units(dwarf, unit, &unit, NULL, NULL, ret, NULL) != 0)
			return false;
		if (dwarf_haspc(ret, address) == 1)
			return true;
	}
	return false;
}

void symbols_line_at(struct symbols *symbols, const struct symbols_module *module, uint64_t address,
                     struct symbols_name *ret)
{
	struct symbols_table *table = symbols_table_of(symbols, module);
	const char *file;
	Dwarf_Line *line;
	Dwarf_Die unit;
	int number = 0;

	if (!table->lines)
		table->lines = lines_open(symbols, module);
	if (!table->lines->dwarf || !find_unit(table->lines->dwarf, address, &unit))
		return;
	line = dwarf_getsrc_die(&unit, address);
	file = line ? dwarf_linesrc(line, NULL, NULL) : NULL;
	if (!file || dwarf_lineno(line, &number) || number <= 0)
		return;
	ret->file = text_printable(&symbols->arena, file);
	ret->line = (unsigned)number;
}

// The name as the linker has it, which tells overloads apart, else the one of the source.
static const char *die_name(struct symbols *symbols, Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	const char *name = NULL;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute))
		name = dwarf_formstring(&attribute);
	if (!name)
		name = dwarf_diename(die);
	return name ? symbols_demangle(&symbols->arena, name) : NULL;
}

// Where the call of an inlined function stands.
static void take_call(struct symbols *symbols, Dwarf_Die *unit, Dwarf_Die *inlined,
                      struct symbols_name *ret)
{
	Dwarf_Attribute attribute;
	Dwarf_Word file = 0, line = 0;
	Dwarf_Files *files;
	const char *path;
	size_t count;

	ret->file = NULL;
	if (!dwarf_attr(inlined, DW_AT_call_file, &attribute) ||
	    dwarf_formudata(&attribute, &file) ||
	    !dwarf_attr(inlined, DW_AT_call_line, &attribute) ||
	    dwarf_formudata(&attribute, &line) || dwarf_getsrcfiles(unit, &files, &count))
		return;
	path = file < count ? dwarf_filesrc(files, file, NULL, NULL) : NULL;
	if (!path)
		return;
	ret->file = text_printable(&symbols->arena, path);
	ret->line = (unsigned)line;
}

static bool has_code(int tag)
{
	return tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine ||
	       tag == DW_TAG_lexical_block || tag == DW_TAG_try_block || tag == DW_TAG_catch_block;
}

// A damaged file may lead back.
static bool next_sibling(Dwarf_Die *die)
{
	Dwarf_Off before = dwarf_dieoffset(die);

	return !dwarf_siblingof(die, die) && dwarf_dieoffset(die) > before;
}

// The scopes around an address as they lie in each other in the code, the outermost first; how many.
// dwarf_getscopes goes on, from an inlined function, with what is around its source text, and the way
// from there to those around its code goes through the whole unit once more.
static int code_scopes(Dwarf_Die *parent, uint64_t address, int levels, Dwarf_Die *scopes,
                       int count)
{
	Dwarf_Die die;
	int found;

	if (!levels || dwarf_child(parent, &die))
		return count;
	do {
		int tag = dwarf_tag(&die);

		if (has_code(tag) && dwarf_haspc(&die, address) == 1) {
			scopes[count] = die;
			return code_scopes(&die, address, levels - 1, scopes, count + 1);
		}
		found = tag == DW_TAG_namespace
		                ? code_scopes(&die, address, levels - 1, scopes, count)
		                : count;
		if (found > count)
			return found;
	} while (next_sibling(&die));
	return count;
}

size_t symbols_inlined_at(struct symbols *symbols, const struct symbols_module *module,
                          uint64_t address, struct symbols_name *names, size_t most)
{
	struct symbols_table *table = symbols_table_of(symbols, module);
	Dwarf_Die unit, scopes[MOST_LEVELS];
	size_t n = 0;

	if (!table->lines || !table->lines->dwarf ||
	    !find_unit(table->lines->dwarf, address, &unit))
		return 0;
	for (int i = code_scopes(&unit, address, MOST_LEVELS, scopes, 0);
	     i-- > 0 && n + 1 < most;) {
		const char *name;

		if (dwarf_tag(&scopes[i]) == DW_TAG_subprogram)
			break;
		name = dwarf_tag(&scopes[i]) == DW_TAG_inlined_subroutine
		               ? die_name(symbols, &scopes[i])
		               : NULL;
		if (!name)
			continue;
		names[n].module = module;
		names[n].function = name;
		names[n].offset = 0;
		names[n + 1] = names[n];
		take_call(symbols, &unit, &scopes[i], &names[++n]);
	}
	return n;
}
