// SPDX-License-Identifier: MIT
// Whether a program file defines a function, by its tables of symbols (os/os.h). The file is somebody
// else's: tables are read in parts, and what lies outside of it is not there. Called by tools.
#include <elf.h>
#include <string.h>

#include "os/os.h"

enum {
	PART_BYTES = 65536,
	SECTIONS_MAX = 65536,
	PLACES_MAX = 256,
};

#define TABLE_BYTES_MAX ((uint64_t)1 << 30)

// Linkers let short names be the ends of longer ones, so one may stand at several places.
struct search {
	int fd;
	const char *name;
	uint8_t *part; // of PART_BYTES
	uint64_t places[PLACES_MAX];
	size_t place_count;
};

static bool section_at(int fd, const Elf64_Ehdr *elf, uint64_t index, Elf64_Shdr *ret)
{
	return index < elf->e_shnum && elf->e_shentsize == sizeof(*ret) &&
	       os_pread(fd, ret, sizeof(*ret), elf->e_shoff + index * sizeof(*ret)) == sizeof(*ret);
}

static void find_places(struct search *search, const Elf64_Shdr *texts)
{
	size_t bytes = strlen(search->name) + 1, got;

	search->place_count = 0;
	for (uint64_t at = 0; at < texts->sh_size && at < TABLE_BYTES_MAX;
	     at += PART_BYTES - bytes + 1) {
		const uint8_t *from = search->part, *found;

		got = os_pread(search->fd, search->part, PART_BYTES, texts->sh_offset + at);
		while (search->place_count < PLACES_MAX &&
		       (found = memmem(from, (size_t)(search->part + got - from), search->name,
		                       bytes))) {
			search->places[search->place_count++] =
				at + (uint64_t)(found - search->part);
			from = found + 1;
		}
		if (got < PART_BYTES)
			break;
	}
}

static bool defines(const struct search *search, const Elf64_Sym *symbol)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info);

	// A program at a fixed address may have a place for another's function, with a symbol of no section.
	if (symbol->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC))
		return false;
	for (size_t i = 0; i < search->place_count; i++)
		if (search->places[i] == symbol->st_name)
			return true;
	return false;
}

static bool table_defines(struct search *search, const Elf64_Shdr *table)
{
	const uint64_t end = table->sh_size < TABLE_BYTES_MAX ? table->sh_size : TABLE_BYTES_MAX;
	Elf64_Sym symbol;

	for (uint64_t at = 0; at < end; at += PART_BYTES) {
		size_t want = end - at < PART_BYTES ? (size_t)(end - at) : PART_BYTES;
		size_t got = os_pread(search->fd, search->part, want, table->sh_offset + at);

		for (size_t i = 0; i + sizeof(symbol) <= got; i += sizeof(symbol)) {
			memcpy(&symbol, search->part + i, sizeof(symbol));
			if (defines(search, &symbol))
				return true;
		}
		if (got < want)
			break;
	}
	return false;
}

static bool file_defines(struct search *search)
{
	Elf64_Shdr section, texts;
	Elf64_Ehdr elf;

	if (os_pread(search->fd, &elf, sizeof(elf), 0) != sizeof(elf) ||
	    memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_ident[EI_CLASS] != ELFCLASS64)
		return false;
	for (uint64_t i = 0; i < SECTIONS_MAX && section_at(search->fd, &elf, i, &section); i++) {
		if ((section.sh_type != SHT_DYNSYM && section.sh_type != SHT_SYMTAB) ||
		    !section_at(search->fd, &elf, section.sh_link, &texts))
			continue;
		find_places(search, &texts);
		if (search->place_count && table_defines(search, &section))
			return true;
	}
	return false;
}

bool os_program_defines(const char *path, const char *function)
{
	OS_DESCRIPTOR int fd = -1;
	struct search search;
	struct arena arena;
	bool is_defined;

	if (os_open(path, &fd))
		return false;
	arena_init(&arena, &os_page_source);
	search = (struct search){ .fd = fd,
		                  .name = function,
		                  .part = arena_alloc(&arena, PART_BYTES) };
	is_defined = file_defines(&search);
	arena_deinit(&arena);
	return is_defined;
}
