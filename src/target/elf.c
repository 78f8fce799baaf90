// SPDX-License-Identifier: MIT
// ELF headers and notes of either class, from whatever can be read: a mapped
// core, the memory of a target, a file. Every number in them is foreign; a
// caller gets only what lies within the bounds it named. Big endian files are
// recognised and refused: no target that we read is one.
#include "target/target.h"

#include <string.h>

#include "base/checked.h"

static struct error *short_header(void)
{
	return error_new(ERROR_DAMAGED, "the ELF header is cut off");
}

static struct error *check_ident(const unsigned char *ident)
{
	if (memcmp(ident, ELFMAG, SELFMAG) != 0)
		return error_new(ERROR_DAMAGED, "not an ELF file");
	if (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64)
		return error_new(ERROR_DAMAGED, "ELF class %u is neither 32 nor 64 bit",
		                 ident[EI_CLASS]);
	if (ident[EI_DATA] == ELFDATA2MSB)
		return error_new(ERROR_UNSUPPORTED,
		                 "it comes from a big-endian machine, which cannot be read here");
	if (ident[EI_DATA] != ELFDATA2LSB)
		return error_new(ERROR_DAMAGED, "ELF byte order %u is unknown", ident[EI_DATA]);
	return NULL;
}

static void widen_header(const Elf32_Ehdr *from, Elf64_Ehdr *ret)
{
	memcpy(ret->e_ident, from->e_ident, EI_NIDENT);
	ret->e_type = from->e_type;
	ret->e_machine = from->e_machine;
	ret->e_version = from->e_version;
	ret->e_entry = from->e_entry;
	ret->e_phoff = from->e_phoff;
	ret->e_shoff = from->e_shoff;
	ret->e_flags = from->e_flags;
	ret->e_ehsize = from->e_ehsize;
	ret->e_phentsize = from->e_phentsize;
	ret->e_phnum = from->e_phnum;
	ret->e_shentsize = from->e_shentsize;
	ret->e_shnum = from->e_shnum;
	ret->e_shstrndx = from->e_shstrndx;
}

static void widen_segment(const Elf32_Phdr *from, Elf64_Phdr *ret)
{
	ret->p_type = from->p_type;
	ret->p_flags = from->p_flags;
	ret->p_offset = from->p_offset;
	ret->p_vaddr = from->p_vaddr;
	ret->p_paddr = from->p_paddr;
	ret->p_filesz = from->p_filesz;
	ret->p_memsz = from->p_memsz;
	ret->p_align = from->p_align;
}

static bool read_exactly(const struct target_elf_source *source, uint64_t offset, void *buffer,
                         size_t n)
{
	return source->read(source->context, offset, buffer, n) == n;
}

// When there are 65,535 program headers or more, their number stands in the first section header
// (Linux fs/binfmt_elf.c, fill_extnum_info).
static uint64_t count_segments(const struct target_elf_source *source, const struct target_elf *elf)
{
	Elf64_Shdr wide;
	Elf32_Shdr narrow;

	if (elf->header.e_phnum != PN_XNUM || !elf->header.e_shoff)
		return elf->header.e_phnum;
	if (elf->word_bytes == 8 && read_exactly(source, elf->header.e_shoff, &wide, sizeof(wide)))
		return wide.sh_info;
	if (elf->word_bytes == 4 &&
	    read_exactly(source, elf->header.e_shoff, &narrow, sizeof(narrow)))
		return narrow.sh_info;
	return elf->header.e_phnum;
}

struct error *target_elf_read_header(const struct target_elf_source *source, struct target_elf *ret)
{
	Elf32_Ehdr narrow;
	size_t entry;

	*ret = (struct target_elf){ 0 };
	if (!read_exactly(source, 0, ret->header.e_ident, EI_NIDENT))
		return short_header();
	TRY(check_ident(ret->header.e_ident));
	ret->word_bytes = ret->header.e_ident[EI_CLASS] == ELFCLASS64 ? 8 : 4;
	if (ret->word_bytes == 8) {
		if (!read_exactly(source, 0, &ret->header, sizeof(ret->header)))
			return short_header();
	} else {
		if (!read_exactly(source, 0, &narrow, sizeof(narrow)))
			return short_header();
		widen_header(&narrow, &ret->header);
	}
	entry = ret->word_bytes == 8 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (ret->header.e_phnum && ret->header.e_phentsize != entry)
		return error_new(ERROR_DAMAGED,
		                 "its program headers are said to have %u bytes instead of %zu",
		                 ret->header.e_phentsize, entry);
	ret->segment_count = count_segments(source, ret);
	return NULL;
}

struct error *target_elf_read_segment(const struct target_elf_source *source,
                                      const struct target_elf *elf, uint64_t index, Elf64_Phdr *ret)
{
	uint64_t offset;
	Elf32_Phdr narrow;
	bool read;

	if (index >= elf->segment_count || !checked_mul(index, elf->header.e_phentsize, &offset) ||
	    !checked_add(offset, elf->header.e_phoff, &offset))
		return error_new(ERROR_DAMAGED, "there is no program header %llu",
		                 (unsigned long long)index);
	if (elf->word_bytes == 8) {
		read = read_exactly(source, offset, ret, sizeof(*ret));
	} else {
		read = read_exactly(source, offset, &narrow, sizeof(narrow));
		if (read)
			widen_segment(&narrow, ret);
	}
	return read ? NULL
	            : error_new(ERROR_DAMAGED, "program header %llu is cut off",
	                        (unsigned long long)index);
}

bool target_elf_next_note(const uint8_t *notes, uint64_t bytes, uint64_t alignment,
                          uint64_t *offset, struct target_elf_note *ret)
{
	uint64_t align = alignment == 8 ? 8 : 4;
	uint64_t at, description;
	Elf64_Nhdr header; // the same in both classes

	if (!checked_within(*offset, sizeof(header), bytes))
		return false;
	memcpy(&header, notes + *offset, sizeof(header));
	at = *offset + sizeof(header);
	if (!checked_within(at, header.n_namesz, bytes))
		return false;
	description = round_up(at + header.n_namesz, align);
	if (!checked_within(description, header.n_descsz, bytes))
		return false;
	*ret = (struct target_elf_note){
		.type = header.n_type,
		.owner = (const char *)notes + at,
		.owner_bytes = header.n_namesz,
		.contents = notes + description,
		.bytes = header.n_descsz,
	};
	*offset = round_up(description + header.n_descsz, align);
	return true;
}

bool target_elf_note_is(const struct target_elf_note *note, const char *owner, uint32_t type)
{
	size_t length = strlen(owner);

	return note->type == type && note->owner_bytes >= length &&
	       memcmp(note->owner, owner, length) == 0 &&
	       (note->owner_bytes == length || note->owner[length] == '\0');
}

static size_t find_build_id(const uint8_t *notes, uint64_t bytes, uint64_t alignment,
                            uint8_t ret[TARGET_BUILD_ID_BYTES])
{
	struct target_elf_note note;
	uint64_t offset = 0;

	while (target_elf_next_note(notes, bytes, alignment, &offset, &note))
		if (target_elf_note_is(&note, "GNU", NT_GNU_BUILD_ID) && note.bytes &&
		    note.bytes <= TARGET_BUILD_ID_BYTES) {
			memcpy(ret, note.contents, note.bytes);
			return note.bytes;
		}
	return 0;
}

size_t target_elf_read_build_id(const struct target_elf_source *source,
                                const struct target_elf *elf, uint8_t ret[TARGET_BUILD_ID_BYTES])
{
	enum { MOST_SEGMENTS = 256, MOST_BYTES = 4096 };
	uint8_t notes[MOST_BYTES];
	Elf64_Phdr segment;

	for (uint64_t i = 0; i < elf->segment_count && i < MOST_SEGMENTS; i++) {
		size_t bytes, found;

		if (target_elf_read_segment(source, elf, i, &segment))
			return 0;
		if (segment.p_type != PT_NOTE)
			continue;
		bytes = segment.p_filesz < MOST_BYTES ? segment.p_filesz : MOST_BYTES;
		bytes = source->read(source->context, segment.p_offset, notes, bytes);
		found = find_build_id(notes, bytes, segment.p_align, ret);
		if (found)
			return found;
	}
	return 0;
}
