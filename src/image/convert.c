// SPDX-License-Identifier: MIT
// Rows of ELF tables in the class and byte order of this machine. libelf knows both
// (elf32_xlatetom, elf64_xlatetom); it never sees the file itself, so what it is
// given has been read and is as long as it must be. Called by all of image.
#include <libelf.h>
#include <string.h>

#include "image/image_impl.h"

static bool is_wide(const struct image *image)
{
	return image->word_bytes == 8;
}

size_t image_segment_bytes(const struct image *image)
{
	return is_wide(image) ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
}

size_t image_section_bytes(const struct image *image)
{
	return is_wide(image) ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
}

size_t image_symbol_bytes(const struct image *image)
{
	return is_wide(image) ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
}

size_t image_relocation_bytes(const struct image *image, bool addend)
{
	if (is_wide(image))
		return addend ? sizeof(Elf64_Rela) : sizeof(Elf64_Rel);
	return addend ? sizeof(Elf32_Rela) : sizeof(Elf32_Rel);
}

// Reads n bytes into buffer and translates them there.
static bool read_translated(const struct image *image, uint64_t offset, Elf_Type type, void *buffer,
                            size_t n)
{
	Elf_Data from = { .d_buf = buffer, .d_type = type, .d_version = EV_CURRENT, .d_size = n };
	Elf_Data to = from;

	if (!image_read(image, offset, buffer, n) || elf_version(EV_CURRENT) == EV_NONE)
		return false;
	return is_wide(image) ? elf64_xlatetom(&to, &from, image->encoding) != NULL
	                      : elf32_xlatetom(&to, &from, image->encoding) != NULL;
}

bool image_read_header(const struct image *image, Elf64_Ehdr *ret)
{
	Elf32_Ehdr narrow;

	if (is_wide(image))
		return read_translated(image, 0, ELF_T_EHDR, ret, sizeof(*ret));
	if (!read_translated(image, 0, ELF_T_EHDR, &narrow, sizeof(narrow)))
		return false;
	*ret = (Elf64_Ehdr){
		.e_type = narrow.e_type,
		.e_machine = narrow.e_machine,
		.e_version = narrow.e_version,
		.e_entry = narrow.e_entry,
		.e_phoff = narrow.e_phoff,
		.e_shoff = narrow.e_shoff,
		.e_flags = narrow.e_flags,
		.e_ehsize = narrow.e_ehsize,
		.e_phentsize = narrow.e_phentsize,
		.e_phnum = narrow.e_phnum,
		.e_shentsize = narrow.e_shentsize,
		.e_shnum = narrow.e_shnum,
		.e_shstrndx = narrow.e_shstrndx,
	};
	return true;
}

bool image_read_segments(const struct image *image, uint64_t offset, size_t n, Elf64_Phdr *ret)
{
	Elf32_Phdr narrow[IMAGE_ROWS];

	if (is_wide(image))
		return read_translated(image, offset, ELF_T_PHDR, ret, n * sizeof(*ret));
	if (!read_translated(image, offset, ELF_T_PHDR, narrow, n * sizeof(narrow[0])))
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = (Elf64_Phdr){
			.p_type = narrow[i].p_type,
			.p_flags = narrow[i].p_flags,
			.p_offset = narrow[i].p_offset,
			.p_vaddr = narrow[i].p_vaddr,
			.p_paddr = narrow[i].p_paddr,
			.p_filesz = narrow[i].p_filesz,
			.p_memsz = narrow[i].p_memsz,
			.p_align = narrow[i].p_align,
		};
	return true;
}

bool image_read_sections(const struct image *image, uint64_t offset, size_t n, Elf64_Shdr *ret)
{
	Elf32_Shdr narrow[IMAGE_ROWS];

	if (is_wide(image))
		return read_translated(image, offset, ELF_T_SHDR, ret, n * sizeof(*ret));
	if (!read_translated(image, offset, ELF_T_SHDR, narrow, n * sizeof(narrow[0])))
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = (Elf64_Shdr){
			.sh_name = narrow[i].sh_name,
			.sh_type = narrow[i].sh_type,
			.sh_flags = narrow[i].sh_flags,
			.sh_addr = narrow[i].sh_addr,
			.sh_offset = narrow[i].sh_offset,
			.sh_size = narrow[i].sh_size,
			.sh_link = narrow[i].sh_link,
			.sh_info = narrow[i].sh_info,
			.sh_addralign = narrow[i].sh_addralign,
			.sh_entsize = narrow[i].sh_entsize,
		};
	return true;
}

bool image_read_symbols(const struct image *image, uint64_t offset, size_t n, Elf64_Sym *ret)
{
	Elf32_Sym narrow[IMAGE_ROWS];

	if (is_wide(image))
		return read_translated(image, offset, ELF_T_SYM, ret, n * sizeof(*ret));
	if (!read_translated(image, offset, ELF_T_SYM, narrow, n * sizeof(narrow[0])))
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = (Elf64_Sym){
			.st_name = narrow[i].st_name,
			.st_info = narrow[i].st_info,
			.st_other = narrow[i].st_other,
			.st_shndx = narrow[i].st_shndx,
			.st_value = narrow[i].st_value,
			.st_size = narrow[i].st_size,
		};
	return true;
}

bool image_read_words(const struct image *image, uint64_t offset, size_t n, uint64_t *ret)
{
	Elf32_Addr narrow[IMAGE_ROWS];

	if (is_wide(image))
		return read_translated(image, offset, ELF_T_ADDR, ret, n * sizeof(*ret));
	if (!read_translated(image, offset, ELF_T_ADDR, narrow, n * sizeof(narrow[0])))
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = narrow[i];
	return true;
}

bool image_read_numbers(const struct image *image, uint64_t offset, size_t n, uint32_t *ret)
{
	return read_translated(image, offset, ELF_T_WORD, ret, n * sizeof(*ret));
}

// The 64-bit MIPS keeps the symbol in the first four bytes of r_info in either byte order, and not in
// the upper half of a number (64-bit ELF Object File Specification of MIPS, "Relocation").
static uint64_t symbol_of(const struct image *image, uint64_t info)
{
	if (!is_wide(image))
		return ELF32_R_SYM(info);
	if (image->machine == EM_MIPS && !image->big_endian)
		return info & UINT32_MAX;
	return ELF64_R_SYM(info);
}

bool image_read_relocations(const struct image *image, uint64_t offset, size_t n, bool addend,
                            struct image_relocation *ret)
{
	uint64_t words[3 * IMAGE_ROWS];
	size_t row =
		addend ? 3 : 2; // a place, what to do, and what to add: words of the file's size

	for (size_t done = 0; done < n * row; done += IMAGE_ROWS) {
		size_t part = n * row - done < IMAGE_ROWS ? n * row - done : IMAGE_ROWS;

		if (!image_read_words(image, offset + done * image->word_bytes, part, words + done))
			return false;
	}
	for (size_t i = 0; i < n; i++)
		ret[i] = (struct image_relocation){
			.place = words[i * row],
			.has_symbol = symbol_of(image, words[i * row + 1]) != 0,
		};
	return true;
}
