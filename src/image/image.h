// SPDX-License-Identifier: MIT
// image: what each page of an ELF file holds. Any class, byte order, machine and
// type; the file is foreign and may be damaged on purpose: what contradicts
// itself becomes a fault (a sentence that says what and where), and the rest is
// still told. Files that shrink meanwhile are short reads, never a signal.
//
//   open.c         the file, its header and its two tables
//   convert.c      any class and byte order to 64 bits of this machine (by libelf)
//   pieces.c       every byte of the file belongs to one thing
//   symbols.c      the symbols, by their place in the file
//   embedded.c     .gnu_debugdata
//   dynamic.c      tables of files without section headers
//   relocations.c  which pages the loader writes to
//   presence.c     pages in the page cache, pages that a process has mapped
//   pages.c        all that is known about one page
//
// An image is one owner's at a time. Everything in it dies with image_close.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/vec.h"
#include "os/os.h"

#define IMAGE_NONE      UINT32_MAX // no such segment or section
#define IMAGE_NO_OFFSET UINT64_MAX // not in the file

// Names are as they stand in the file: not printable, maybe long.
struct image_segment {
	uint32_t type, flags; // PT_*, PF_*
	uint64_t offset, file_bytes, address, memory_bytes, alignment;
};

// A PT_LOAD segment that has bytes in the file.
struct image_load {
	uint64_t address;
	uint32_t segment;
};

struct image_section {
	const char *name;
	uint32_t name_offset;      // sh_name
	uint32_t type, link, info; // SHT_*
	uint64_t flags, address, offset, bytes, alignment, entry_bytes;
};

enum image_kind {
	IMAGE_ELF_HEADER,
	IMAGE_PROGRAM_HEADERS,
	IMAGE_SECTION_HEADERS,
	IMAGE_SECTION, // index: the section
	IMAGE_SEGMENT, // bytes of a segment that no section names; index: the innermost segment
	IMAGE_PADDING, // zeros, or in code one byte over and over, that nothing but a segment names
	IMAGE_UNNAMED, // nothing names them, and they are not zero
};

// Bytes [start, end) of the file with one owner.
struct image_piece {
	uint64_t start, end;
	enum image_kind kind;
	uint32_t index, load; // load: the PT_LOAD segment that maps them, or IMAGE_NONE
	bool has_address;
	uint64_t address; // of start, when the program is loaded where it was linked
};

struct image_pieces {
	VEC(struct image_piece) list;
};

enum image_symbol_source {
	IMAGE_SYMTAB,
	IMAGE_DYNSYM,
	IMAGE_DEBUGDATA,
};

enum image_heat {
	IMAGE_NO_CODE,
	IMAGE_CODE,
	IMAGE_HOT,  // in .text.hot
	IMAGE_COLD, // in .text.unlikely and the like, or the split-off part of a function (".cold")
};

struct image_symbol {
	uint64_t offset; // in the file; IMAGE_NO_OFFSET: its section has no bytes here (.bss)
	uint64_t value;  // st_value; an address, in relocatable files an offset in its section
	uint64_t bytes;
	const char *name;
	uint32_t section; // IMAGE_NONE when it lies in none
	uint8_t type;     // STT_*
	uint8_t source, heat;
};

struct image_relocations {
	uint64_t relative, symbolic, lazy; // lazy: of the procedure linkage table
};

struct image_page_relocations {
	uint64_t page;
	struct image_relocations counts;
};

// What the kernel says about the file's pages. how and why_not: static texts or the arena's.
struct image_presence {
	bool known;
	const char *how;     // "mincore", "cachestat", "pagemap"
	const char *why_not; // when it is not known
	struct os_ranges ranges;
};

struct image_process {
	int pid; // 0: none was asked for
	char name[32];
	struct image_presence mapped;  // pages of the file that its page tables hold
	struct image_presence private; // pages that it has a copy of its own of
};

// Memory that names point into.
struct image_buffer {
	char *bytes;
	size_t n; // as it was asked of os_page_source
};

struct image_source;

struct image {
	struct arena arena;
	const char *path;
	const struct image_source *source;
	uint64_t bytes, page_bytes;
	unsigned word_bytes; // 4 or 8
	bool big_endian;
	uint8_t encoding; // ELFDATA2LSB, ELFDATA2MSB
	uint16_t machine, type;
	uint64_t entry;
	uint64_t segment_table, segment_table_bytes, section_table, section_table_bytes;
	uint32_t section_names; // the index of their string table
	bool debug_file;        // its code and data are elsewhere: only headers of them are here
	VEC(struct image_segment) segments;
	VEC(struct image_section) sections;
	struct image_pieces pieces;       // ascending, without gaps, from 0 to bytes
	VEC(struct image_load) loads;     // by address
	VEC(struct image_symbol) symbols; // by offset, value and name; those without an offset last
	VEC(struct image_page_relocations) relocations; // by page
	uint64_t outside_relocations;                   // those of pages that are not in the file
	struct image_presence cached;
	struct image_process process;
	VEC(const char *) faults; // the first of them
	uint64_t fault_count;     // all
	VEC(struct image_buffer) buffers;
	bool is_embedded;       // it lies in another, as .gnu_debugdata
	struct image *embedded; // the one that lies in this one, or NULL
};

// Where the bytes come from.
struct image_source {
	size_t (*read)(const struct image_source *source, uint64_t offset, void *buffer, size_t n);
	int fd;               // -1: bytes
	const uint8_t *bytes; // n of them
	size_t n;
};

// Opens path and reads its tables. Before that it asks which pages are in the page cache, because the
// reading brings them there. page_bytes is a power of two. ERROR_NOT_FOUND when it is no regular file,
// ERROR_UNSUPPORTED when it is no ELF file.
struct error *image_open(const char *path, uint64_t page_bytes, struct image **ret);

// The same of bytes in memory, which stay the caller's.
struct error *image_open_bytes(const uint8_t *bytes, size_t n, uint64_t page_bytes,
                               struct image **ret);
void image_close(struct image *image); // NULL is allowed

// Looks which pages of the file process pid has mapped, by /proc/PID/pagemap. ERROR_NOT_FOUND when it maps
// none of it, ERROR_RIGHTS when it may not be looked at.
struct error *image_look_at_process(struct image *image, int pid);
// What is needed to look at it.
struct error *image_rights_error(int pid);

// --- pages ----------------------------------------------------------------------------------------
struct image_page {
	uint64_t number, start, end; // [start, end) of the file; the last page may be short
	struct image_pieces pieces;  // cut at the borders of the page
	size_t first_symbol, symbol_count;
	struct image_relocations relocations;
	uint64_t padding_bytes, cached_bytes, mapped_bytes, private_bytes;
	// Functions that begin in the page.
	uint64_t hot_functions, cold_functions, other_functions, cold_bytes;
};

uint64_t image_page_count(const struct image *image);
void image_page_init(struct image_page *page);
void image_page_deinit(struct image_page *page);
// All about one page; number is below the count. Reads the bytes that nothing names.
void image_page_look(const struct image *image, uint64_t number, struct image_page *page);

// Appends the numbers of the pages that hold code, as ranges, ascending: those of .text, else of the
// executable sections, else of the executable segments, whichever the file has.
void image_code_pages(const struct image *image, struct os_ranges *ret);

// Where a virtual address lies in the file, or IMAGE_NO_OFFSET.
uint64_t image_offset_of(const struct image *image, uint64_t address);
