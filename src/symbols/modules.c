// SPDX-License-Identifier: MIT
// The ELF files that a target has mapped, told from its segments: a module begins
// where a file is mapped from its first byte and that is an ELF header, and goes
// on over the segments of the same file that follow. Only memory is read.
#include <string.h>

#include "symbols/symbols_impl.h"

#define MOST_HEADERS 256

static bool is_elf(struct target *target, uint64_t start)
{
	unsigned char ident[SELFMAG];

	return target_read_some(target, start, ident, sizeof(ident)) == sizeof(ident) &&
	       memcmp(ident, ELFMAG, SELFMAG) == 0;
}

// The first program header that is loaded says where the linker put the first byte of the file.
static uint64_t bias_of(struct target *target, uint64_t start)
{
	struct symbols_image image;
	Elf64_Phdr header;

	if (symbols_image_open_mapped(target, start, &image))
		return start;
	for (uint64_t i = 0; i < image.elf.segment_count && i < MOST_HEADERS; i++) {
		if (target_elf_read_segment(&image.source, &image.elf, i, &header))
			break;
		if (header.p_type == PT_LOAD)
			return start - (header.p_vaddr - header.p_offset);
	}
	return start;
}

static bool holds_entry(const struct target *target, const struct symbols_module *module)
{
	uint64_t entry = target_auxv(target, AT_ENTRY);

	if (entry)
		return entry >= module->start && entry < module->end;
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

static bool begins_module(struct target *target, const struct target_segment *segment)
{
	bool vdso =
		!segment->file && segment->name && strcmp(segment->name, SYMBOLS_VDSO_NAME) == 0;
	bool file = segment->file && !segment->file->anonymous && !segment->file_offset;

	return (vdso || file) && is_elf(target, segment->start);
}

void symbols_find_modules(struct symbols *symbols)
{
	struct target *target = symbols->target;
	uint64_t end = 0;

	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];
		struct symbols_module *module;

		if (segment->start < end || !begins_module(target, segment))
			continue;
		module = vec_add(&symbols->modules);
		module->file = segment->file;
		module->path = segment->file ? text_printable(&symbols->arena, segment->file->path)
		                             : SYMBOLS_VDSO_NAME;
		module->name = text_base_name(module->path);
		module->start = segment->start;
		module->end = end = segment->file ? module_end(target, i) : segment->end;
		module->bias = bias_of(target, segment->start);
		module->executable = holds_entry(target, module);
	}
}
