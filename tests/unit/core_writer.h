// SPDX-License-Identifier: MIT
// Writes small ELF cores for tests, well-formed or not: headers, notes and memory are put into a
// buffer in the order in which the kernel writes them.
#pragma once

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"

enum { CORE_WRITER_SEGMENTS = 16, CORE_WRITER_NOTES = 16384 };

struct core_writer_segment {
	uint64_t start, bytes; // in memory
	const void *contents;  // dumped_bytes long
	uint64_t dumped_bytes;
	uint32_t flags;  // PF_*
	uint64_t offset; // 0: behind what was written so far; else this lie
};

struct core_writer {
	unsigned word_bytes;
	uint16_t machine;
	uint64_t repeated; // the last segment is followed by so many empty ones, page after page
	struct core_writer_segment segments[CORE_WRITER_SEGMENTS];
	size_t segment_count;
	uint8_t notes[CORE_WRITER_NOTES];
	size_t note_bytes;
	uint8_t *bytes;
	size_t size;
};

static inline void core_writer_word(const struct core_writer *writer, uint8_t **to, uint64_t value)
{
	memcpy(*to, &value, writer->word_bytes);
	*to += writer->word_bytes;
}

static inline void core_writer_note(struct core_writer *writer, const char *owner, uint32_t type,
                                    const void *contents, size_t bytes)
{
	uint32_t header[3] = { (uint32_t)strlen(owner) + 1, (uint32_t)bytes, type };
	uint8_t *to = writer->notes + writer->note_bytes;

	memcpy(to, header, sizeof(header));
	memcpy(to + 12, owner, header[0]);
	memcpy(to + 12 + round_up(header[0], 4), contents, bytes);
	writer->note_bytes += 12 + round_up(header[0], 4) + round_up(bytes, 4);
}

// A thread whose register number i holds first + i.
static inline void core_writer_thread(struct core_writer *writer, int tid, uint64_t first)
{
	bool wide = writer->word_bytes == 8;
	uint8_t status[512] = { 0 }, *to = status + (wide ? 112 : 72);
	unsigned count = writer->machine == EM_X86_64 ? 27 : writer->machine == EM_386 ? 17 : 34;

	memcpy(status + (wide ? 32 : 24), &tid, sizeof(tid));
	for (unsigned i = 0; i < count; i++)
		core_writer_word(writer, &to, first + i);
	core_writer_note(writer, "CORE", NT_PRSTATUS, status,
	                 (size_t)(to - status) + writer->word_bytes);
}

static inline void core_writer_process(struct core_writer *writer, int pid, const char *name)
{
	bool wide = writer->word_bytes == 8;
	uint8_t info[136] = { 0, 'S' };

	memcpy(info + (wide ? 24 : 12), &pid, sizeof(pid));
	strncpy((char *)info + (wide ? 40 : 28), name, 16);
	core_writer_note(writer, "CORE", NT_PRPSINFO, info, wide ? 136 : 124);
}

struct core_writer_file {
	uint64_t start, end, offset_pages;
	const char *path;
};

static inline void core_writer_files(struct core_writer *writer,
                                     const struct core_writer_file *files, size_t count)
{
	uint8_t note[4096], *to = note;

	core_writer_word(writer, &to, count);
	core_writer_word(writer, &to, 4096);
	for (size_t i = 0; i < count; i++) {
		core_writer_word(writer, &to, files[i].start);
		core_writer_word(writer, &to, files[i].end);
		core_writer_word(writer, &to, files[i].offset_pages);
	}
	for (size_t i = 0; i < count; i++)
		to = (uint8_t *)stpcpy((char *)to, files[i].path) + 1;
	core_writer_note(writer, "CORE", NT_FILE, note, (size_t)(to - note));
}

static inline struct core_writer_segment *core_writer_segment(struct core_writer *writer,
                                                              uint64_t start, uint64_t bytes,
                                                              const void *contents,
                                                              uint64_t dumped_bytes, uint32_t flags)
{
	struct core_writer_segment *segment = &writer->segments[writer->segment_count++];

	*segment = (struct core_writer_segment){ start, bytes, contents, dumped_bytes, flags, 0 };
	return segment;
}

static inline void core_writer_header(const struct core_writer *writer, uint64_t count,
                                      uint64_t section_offset)
{
	Elf64_Ehdr wide = {
		.e_ident = { 0x7f, 'E', 'L', 'F', writer->word_bytes == 8 ? ELFCLASS64 : ELFCLASS32,
		             ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = writer->machine,
		.e_version = EV_CURRENT,
		.e_phoff = writer->word_bytes == 8 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr),
		.e_shoff = section_offset,
		.e_phentsize = writer->word_bytes == 8 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr),
		.e_phnum = count < PN_XNUM ? (uint16_t)count : PN_XNUM,
	};
	Elf32_Ehdr narrow = {
		.e_type = wide.e_type,
		.e_machine = wide.e_machine,
		.e_version = wide.e_version,
		.e_phoff = (uint32_t)wide.e_phoff,
		.e_shoff = (uint32_t)section_offset,
		.e_phentsize = wide.e_phentsize,
		.e_phnum = wide.e_phnum,
	};

	memcpy(narrow.e_ident, wide.e_ident, EI_NIDENT);
	if (writer->word_bytes == 8)
		memcpy(writer->bytes, &wide, sizeof(wide));
	else
		memcpy(writer->bytes, &narrow, sizeof(narrow));
}

static inline void core_writer_program_header(struct core_writer *writer, uint64_t index,
                                              const Elf64_Phdr *wide)
{
	Elf32_Phdr narrow = {
		.p_type = wide->p_type,
		.p_flags = wide->p_flags,
		.p_offset = (uint32_t)wide->p_offset,
		.p_vaddr = (uint32_t)wide->p_vaddr,
		.p_filesz = (uint32_t)wide->p_filesz,
		.p_memsz = (uint32_t)wide->p_memsz,
	};

	if (writer->word_bytes == 8)
		memcpy(writer->bytes + sizeof(Elf64_Ehdr) + index * sizeof(*wide), wide,
		       sizeof(*wide));
	else
		memcpy(writer->bytes + sizeof(Elf32_Ehdr) + index * sizeof(narrow), &narrow,
		       sizeof(narrow));
}

// The file; valid until the next call or free(writer->bytes).
static inline void core_writer_finish(struct core_writer *writer)
{
	bool wide = writer->word_bytes == 8;
	uint64_t count = 1 + writer->segment_count + writer->repeated;
	uint64_t notes_at = wide ? sizeof(Elf64_Ehdr) + count * sizeof(Elf64_Phdr)
	                         : sizeof(Elf32_Ehdr) + count * sizeof(Elf32_Phdr);
	uint64_t at = round_up(notes_at + writer->note_bytes, 4096), size = at, last = 0;
	uint64_t section_bytes = wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	Elf64_Phdr header = { .p_type = PT_NOTE,
		              .p_offset = notes_at,
		              .p_filesz = writer->note_bytes };

	for (size_t i = 0; i < writer->segment_count; i++)
		size += round_up(writer->segments[i].dumped_bytes, 4096);
	writer->size = size + (count >= PN_XNUM ? section_bytes : 0);
	free(writer->bytes);
	writer->bytes = calloc(1, writer->size);
	core_writer_header(writer, count, count >= PN_XNUM ? size : 0);
	core_writer_program_header(writer, 0, &header);
	memcpy(writer->bytes + notes_at, writer->notes, writer->note_bytes);
	for (size_t i = 0; i < writer->segment_count; i++) {
		const struct core_writer_segment *segment = &writer->segments[i];

		memcpy(writer->bytes + at, segment->contents, segment->dumped_bytes);
		header = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = segment->flags,
			.p_offset = segment->offset ? segment->offset : at,
			.p_vaddr = segment->start,
			.p_filesz = segment->dumped_bytes,
			.p_memsz = segment->bytes,
		};
		core_writer_program_header(writer, i + 1, &header);
		at += round_up(segment->dumped_bytes, 4096);
		last = segment->start + segment->bytes;
	}
	for (uint64_t i = 0; i < writer->repeated; i++) {
		header = (Elf64_Phdr){ .p_type = PT_LOAD,
			               .p_flags = PF_R,
			               .p_offset = at,
			               .p_vaddr = last + i * 4096,
			               .p_memsz = 4096 };
		core_writer_program_header(writer, 1 + writer->segment_count + i, &header);
	}
	if (count >= PN_XNUM && wide)
		((Elf64_Shdr *)(writer->bytes + size))->sh_info = (uint32_t)count;
	else if (count >= PN_XNUM)
		((Elf32_Shdr *)(writer->bytes + size))->sh_info = (uint32_t)count;
}

// A descriptor of a file in memory with the first size bytes of it.
static inline int core_writer_file_of(const void *bytes, size_t size)
{
	int fd = memfd_create("core", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		abort();
	return fd;
}
