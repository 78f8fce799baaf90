// SPDX-License-Identifier: MIT
// Words for the numbers of an ELF file, as readelf and the gABI spell them.
#include <elf.h>
#include <inttypes.h>

#include "report/pagestuff_impl.h"

struct word {
	uint32_t number;
	const char *text;
};

static const char *find(const struct word *words, size_t n, uint32_t number)
{
	for (size_t i = 0; i < n; i++)
		if (words[i].number == number)
			return words[i].text;
	return NULL;
}

#define FIND(words, number) find(words, sizeof(words) / sizeof((words)[0]), number)

const char *pagestuff_machine(uint16_t machine)
{
	static const struct word words[] = {
		{ EM_X86_64, "x86_64" },
		{ EM_386, "i386" },
		{ EM_AARCH64, "aarch64" },
		{ EM_ARM, "arm" },
		{ EM_PPC, "ppc" },
		{ EM_PPC64, "ppc64" },
		{ EM_S390, "s390" },
		{ EM_MIPS, "mips" },
		{ EM_RISCV, "riscv" },
		{ EM_SPARC, "sparc" },
		{ EM_SPARCV9, "sparcv9" },
		{ EM_68K, "m68k" },
		{ EM_IA_64, "ia64" },
		{ EM_PARISC, "hppa" },
		{ EM_SH, "sh" },
		{ EM_ALPHA, "alpha" },
		{ EM_BPF, "bpf" },
		{ EM_AVR, "avr" },
		{ EM_SPARC32PLUS, "sparc" },
		{ EM_LOONGARCH, "loongarch" },
	};

	return FIND(words, machine);
}

const char *pagestuff_type(const struct image *image)
{
	static const struct word words[] = {
		{ ET_REL, "relocatable" },
		{ ET_EXEC, "executable" },
		{ ET_DYN, "shared_object" },
		{ ET_CORE, "core" },
	};
	const char *text = FIND(words, image->type);

	if (image->debug_file)
		return "debug";
	return text ? text : "other";
}

const char *pagestuff_segment_type(struct arena *arena, uint32_t type)
{
	static const struct word words[] = {
		{ PT_NULL, "NULL" },
		{ PT_LOAD, "LOAD" },
		{ PT_DYNAMIC, "DYNAMIC" },
		{ PT_INTERP, "INTERP" },
		{ PT_NOTE, "NOTE" },
		{ PT_SHLIB, "SHLIB" },
		{ PT_PHDR, "PHDR" },
		{ PT_TLS, "TLS" },
		{ PT_GNU_EH_FRAME, "GNU_EH_FRAME" },
		{ PT_GNU_STACK, "GNU_STACK" },
		{ PT_GNU_RELRO, "GNU_RELRO" },
		{ PT_GNU_PROPERTY, "GNU_PROPERTY" },
	};
	const char *text = FIND(words, type);

	return text ? text : arena_format(arena, "0x%" PRIx32, type);
}

const char *pagestuff_section_type(struct arena *arena, uint32_t type)
{
	static const struct word words[] = {
		{ SHT_NULL, "NULL" },
		{ SHT_PROGBITS, "PROGBITS" },
		{ SHT_SYMTAB, "SYMTAB" },
		{ SHT_STRTAB, "STRTAB" },
		{ SHT_RELA, "RELA" },
		{ SHT_HASH, "HASH" },
		{ SHT_DYNAMIC, "DYNAMIC" },
		{ SHT_NOTE, "NOTE" },
		{ SHT_NOBITS, "NOBITS" },
		{ SHT_REL, "REL" },
		{ SHT_SHLIB, "SHLIB" },
		{ SHT_DYNSYM, "DYNSYM" },
		{ SHT_INIT_ARRAY, "INIT_ARRAY" },
		{ SHT_FINI_ARRAY, "FINI_ARRAY" },
		{ SHT_PREINIT_ARRAY, "PREINIT_ARRAY" },
		{ SHT_GROUP, "GROUP" },
		{ SHT_SYMTAB_SHNDX, "SYMTAB_SHNDX" },
		{ SHT_RELR, "RELR" },
		{ SHT_GNU_HASH, "GNU_HASH" },
		{ SHT_GNU_LIBLIST, "GNU_LIBLIST" },
		{ SHT_GNU_verdef, "VERDEF" },
		{ SHT_GNU_verneed, "VERNEED" },
		{ SHT_GNU_versym, "VERSYM" },
	};
	const char *text = FIND(words, type);

	return text ? text : arena_format(arena, "0x%" PRIx32, type);
}

const char *pagestuff_protection(uint32_t flags)
{
	static const char *const words[] = {
		"---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"
	};

	return words[flags & (PF_R | PF_W | PF_X)];
}

const char *pagestuff_section_flags(struct arena *arena, uint64_t flags)
{
	return arena_format(arena, "%s%s%s%s", flags & SHF_WRITE ? "W" : "",
	                    flags & SHF_ALLOC ? "A" : "", flags & SHF_EXECINSTR ? "X" : "",
	                    flags & SHF_TLS ? "T" : "");
}
