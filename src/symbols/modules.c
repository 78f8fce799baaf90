// SPDX-License-Identifier: MIT
// The ELF files that a target has mapped, told from its segments: a module begins
// where a file is mapped from its first byte and that is an ELF header, and goes
// on over the segments of the same file that follow. Only memory is read.
#include <elf.h>
#include <string.h>

#include "symbols/symbols_impl.h"

#define MOST_HEADERS 256

enum {
	AUXV_ENTRY = 9, // AT_ENTRY
};

// What the two ELF classes have in common.
struct elf_load {
	uint64_t address, offset;
};

static bool header_at(struct target *target, uint64_t address, unsigned char *ret_class)
{
	unsigned char ident[EI_NIDENT];

	if (target_read_some(target, address, ident, sizeof(ident)) != sizeof(ident) ||
	    memcmp(ident, ELFMAG, SELFMAG) != 0)
		return false;
	*ret_class = ident[EI_CLASS];
	return true;
}

// The program header that maps the first byte of the file: its address gives the bias.
static bool first_load_64(struct target *target, uint64_t start, struct elf_load *ret)
{
	Elf64_Ehdr header;
	Elf64_Phdr row;

	if (target_read_some(target, start, &header, sizeof(header)) != sizeof(header) ||
	    header.e_phentsize != sizeof(row))
		return false;
	for (unsigned i = 0; i < header.e_phnum && i < MOST_HEADERS; i++) {
		uint64_t at = start + header.e_phoff + i * sizeof(row);

		if (target_read_some(target, at, &row, sizeof(row)) != sizeof(row))
			return false;
		if (row.p_type != PT_LOAD)
			continue;
		*ret = (struct elf_load){ row.p_vaddr, row.p_offset };
		return true;
	}
	return false;
}

static bool first_load_32(struct target *target, uint64_t start, struct elf_load *ret)
{
	Elf32_Ehdr header;
	Elf32_Phdr row;

	if (target_read_some(target, start, &header, sizeof(header)) != sizeof(header) ||
	    header.e_phentsize != sizeof(row))
		return false;
	for (unsigned i = 0; i < header.e_phnum && i < MOST_HEADERS; i++) {
		uint64_t at = start + header.e_phoff + i * sizeof(row);

		if (target_read_some(target, at, &row, sizeof(row)) != sizeof(row))
			return false;
		if (row.p_type != PT_LOAD)
			continue;
		*ret = (struct elf_load){ row.p_vaddr, row.p_offset };
		return true;
	}
	return false;
}

static uint64_t bias_of(struct target *target, uint64_t start, unsigned char elf_class)
{
	struct elf_load load;
	bool found = elf_class == ELFCLASS64 ? first_load_64(target, start, &load)
	                                     : first_load_32(target, start, &load);

	return found ? start - (load.address - load.offset) : start;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool holds_entry(const struct target *target, const struct symbols_module *module)
{
	for (size_t i = 0; i < target->auxv_count; i++)
		if (target->auxv[2 * i] == AUXV_ENTRY)
			return target->auxv[2 * i + 1] >= module->start &&
			       target->auxv[2 * i + 1] < module->end;
	return target->path && module->file && !strcmp(target->path, module->file->path);
}

// Segments of one file follow each other; a gap between them may hold its .bss or nothing.
static uint64_t module_end(const struct target *target, size_t first)
{
	const struct target_segment *segments = target->segments;
	uint64_t end = segments[first].end;

	for (size_t i = first + 1; i < target->segment_count; i++) {
		if (segments[i].file && segments[i].file != segments[first].file)
			break;
		if (segments[i].file && !segments[i].file_offset && segments[i].start != end &&
		    segments[i].protection == segments[first].protection)
			break; // mapped a second time
		if (segments[i].file)
			end = segments[i].end;
	}
	return end;
}

void symbols_find_modules(struct symbols *symbols)
{
	struct target *target = symbols->target;
	uint64_t end = 0;

	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];
		struct symbols_module *module;
		unsigned char elf_class;

		if (!segment->file || segment->file->anonymous || segment->file_offset ||
		    segment->start < end || !header_at(target, segment->start, &elf_class))
			continue;
		module = vec_add(&symbols->modules);
		module->file = segment->file;
		module->path = text_printable(&symbols->arena, segment->file->path);
		module->name = base_name(module->path);
		module->start = segment->start;
		module->end = end = module_end(target, i);
		module->bias = bias_of(target, segment->start, elf_class);
		module->executable = holds_entry(target, module);
	}
}
