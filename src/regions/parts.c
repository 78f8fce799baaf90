// SPDX-License-Identifier: MIT
// Program headers of the loaded ELF files, read from memory: which pages are .bss, which were made
// read-only after relocation, which may be written. Called by regions.c.
#include <elf.h>
#include <string.h>

#include "base/checked.h"
#include "regions/regions_impl.h"

enum { MOST_HEADERS = 128 };

// The fields of Elf32_Phdr and Elf64_Phdr that matter here.
struct header {
	uint32_t type, flags;
	uint64_t address, file_bytes, memory_bytes;
};

static void add_part(struct regions_own *own, const struct symbols_module *module, uint64_t start,
                     uint64_t end, enum module_part_kind kind)
{
	struct module_part part = { start, end, kind, module };

	if (start < end)
		vec_push(&own->parts, part);
}

static void add_load(struct regions_own *own, const struct symbols_module *module,
                     const struct header *header, uint64_t start, uint64_t end)
{
	uint64_t page = own->page_bytes, file_end = start + header->file_bytes;

	if (!(header->flags & PF_W) || file_end > end)
		return;
	add_part(own, module, round_down(start, page), round_up(end, page), PART_WRITABLE);
	add_part(own, module, round_up(file_end, page), round_up(end, page), PART_BSS);
}

static void add_header(struct regions_own *own, const struct symbols_module *module,
                       const struct header *header)
{
	uint64_t start = module->bias + header->address, end;

	if (!checked_add(start, header->memory_bytes, &end) || end > UINT64_MAX - own->page_bytes ||
	    header->file_bytes > header->memory_bytes)
		return;
	if (header->type == PT_LOAD)
		add_load(own, module, header, start, end);
	else if (header->type == PT_GNU_RELRO)
		add_part(own, module, round_down(start, own->page_bytes),
		         round_down(end, own->page_bytes), PART_RELRO);
}

static bool read_header_64(struct target *target, uint64_t address, struct header *ret)
{
	Elf64_Phdr phdr;

	if (target_read(target, address, &phdr, sizeof(phdr)))
		return false;
	*ret = (struct header){ phdr.p_type, phdr.p_flags, phdr.p_vaddr, phdr.p_filesz,
		                phdr.p_memsz };
	return true;
}

static bool read_header_32(struct target *target, uint64_t address, struct header *ret)
{
	Elf32_Phdr phdr;

	if (target_read(target, address, &phdr, sizeof(phdr)))
		return false;
	*ret = (struct header){ phdr.p_type, phdr.p_flags, phdr.p_vaddr, phdr.p_filesz,
		                phdr.p_memsz };
	return true;
}

// Where the program headers lie behind the ELF header at `start`, or false.
static bool find_headers(struct target *target, uint64_t start, bool *ret_wide,
                         uint64_t *ret_offset, unsigned *ret_count)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr narrow;
		Elf64_Ehdr wide;
	} elf = { 0 };

	if (target_read_some(target, start, &elf, sizeof(elf)) < sizeof(elf.narrow) ||
	    memcmp(elf.ident, ELFMAG, SELFMAG) != 0)
		return false;
	*ret_wide = elf.ident[EI_CLASS] == ELFCLASS64;
	*ret_offset = *ret_wide ? elf.wide.e_phoff : elf.narrow.e_phoff;
	*ret_count = *ret_wide ? elf.wide.e_phnum : elf.narrow.e_phnum;
	return *ret_count <= MOST_HEADERS && *ret_offset < 1 << 20;
}

static void find_module_parts(struct regions_own *own, const struct symbols_module *module)
{
	struct target *target = own->open.target;
	uint64_t offset, step;
	unsigned count;
	bool wide;

	if (!find_headers(target, module->start, &wide, &offset, &count))
		return;
	step = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	for (unsigned i = 0; i < count; i++) {
		uint64_t address = module->start + offset + i * step;
		struct header header;

		if (!(wide ? read_header_64 : read_header_32)(target, address, &header))
			return;
		add_header(own, module, &header);
	}
}

void regions_find_parts(struct regions_own *own)
{
	size_t count;
	const struct symbols_module *modules = symbols_modules(own->symbols, &count);

	for (size_t i = 0; i < count; i++)
		find_module_parts(own, &modules[i]);
}

const struct module_part *regions_part_at(const struct regions_own *own, uint64_t address,
                                          unsigned kinds)
{
	for (size_t i = 0; i < own->parts.n; i++) {
		const struct module_part *part = &own->parts.v[i];

		if (kinds & 1u << part->kind && address >= part->start && address < part->end)
			return part;
	}
	return NULL;
}
