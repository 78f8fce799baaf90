// SPDX-License-Identifier: MIT
// Shared by the files of image only.
#pragma once

#include <elf.h>

#include "base/base.h"
#include "image/image.h"

// --- open.c
// Remembers a fault; texts of names in it must be printable.
void image_fault(struct image *image, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
// Whether the next fault will be kept; when not it is counted, and its text need not be made.
bool image_fault_wanted(struct image *image);
bool image_read(const struct image *image, uint64_t offset, void *buffer, size_t n);
// [offset, offset + bytes) of the file with a NUL behind it, kept until image_close; NULL with a fault
// when it is not there. what names it in the fault.
const char *image_load(struct image *image, uint64_t offset, uint64_t bytes, const char *what);
struct error *image_open_part(const uint8_t *bytes, size_t n, uint64_t page_bytes, bool is_embedded,
                              struct image **ret);
const char *image_name_of(struct image *image, uint32_t section); // printable, for faults

// --- convert.c: rows of tables at offset, widened. The bytes must lie within the file.
#define IMAGE_ROWS 1024 // that are converted at a time, at most

size_t image_segment_bytes(const struct image *image);
size_t image_section_bytes(const struct image *image);
size_t image_symbol_bytes(const struct image *image);
size_t image_relocation_bytes(const struct image *image, bool addend);
bool image_read_header(const struct image *image, Elf64_Ehdr *ret);
bool image_read_segments(const struct image *image, uint64_t offset, size_t n, Elf64_Phdr *ret);
bool image_read_sections(const struct image *image, uint64_t offset, size_t n, Elf64_Shdr *ret);
bool image_read_symbols(const struct image *image, uint64_t offset, size_t n, Elf64_Sym *ret);
bool image_read_words(const struct image *image, uint64_t offset, size_t n, uint64_t *ret);
bool image_read_numbers(const struct image *image, uint64_t offset, size_t n, uint32_t *ret);

struct image_relocation {
	uint64_t place;
	bool has_symbol;
};
bool image_read_relocations(const struct image *image, uint64_t offset, size_t n, bool addend,
                            struct image_relocation *ret);

// --- pieces.c
void image_pieces_make(struct image *image);
bool image_is_padding(const struct image *image, const struct image_piece *piece);
// The first piece that ends behind offset.
size_t image_piece_find(const struct image *image, uint64_t offset);

// --- symbols.c
struct image_symbol_table {
	uint64_t offset, count, names_offset, names_bytes;
	const char *what; // for faults
	enum image_symbol_source source;
	// Section numbers in it are not those of this file, or there are none.
	bool by_address;
	uint32_t section; // the table itself, or IMAGE_NONE
};
void image_symbols_add(struct image *image, const struct image_symbol_table *table);
enum image_heat image_heat_of(const struct image *image, const struct image_symbol *symbol);
void image_symbols_make(struct image *image);
// The first symbol whose offset is not below this one.
size_t image_symbol_find(const struct image *image, uint64_t offset);

// --- embedded.c
void image_embedded_add(struct image *image, const struct image_section *section);

// --- dynamic.c
void image_dynamic_add(struct image *image);

// --- relocations.c
enum image_relocation_kind {
	IMAGE_REL,
	IMAGE_RELA,
	IMAGE_RELR,
};
void image_relocations_add(struct image *image, uint64_t offset, uint64_t bytes,
                           enum image_relocation_kind kind, bool lazy, const char *what);
void image_relocations_make(struct image *image);

// --- presence.c
void image_presence_init(struct image_presence *presence);
void image_presence_deinit(struct image_presence *presence);
void image_cache_look(struct image *image);
uint64_t image_presence_bytes(const struct image_presence *presence, uint64_t start, uint64_t end);
