// SPDX-License-Identifier: MIT
// The dynamic symbols of a module whose file is gone or may not be opened: the
// program itself keeps that table mapped. Called by sources.c.
#include <string.h>

#include "symbols/symbols_impl.h"

#define MOST_DYNAMIC_BYTES 65536
#define MOST_TABLE_BYTES   ((uint64_t)64 << 20)

struct dynamic {
	uint64_t symbols, names, name_bytes;
};

static void take_entry(struct dynamic *dynamic, int64_t tag, uint64_t value)
{
	if (tag == DT_SYMTAB)
		dynamic->symbols = value;
	else if (tag == DT_STRTAB)
		dynamic->names = value;
	else if (tag == DT_STRSZ)
		dynamic->name_bytes = value;
}

static void read_entries(const uint8_t *bytes, size_t n, unsigned word_bytes, struct dynamic *ret)
{
	for (size_t at = 0; at + 2 * word_bytes <= n; at += 2 * word_bytes) {
		Elf64_Dyn wide;
		Elf32_Dyn narrow;

		if (word_bytes == 8) {
			memcpy(&wide, bytes + at, sizeof(wide));
			take_entry(ret, wide.d_tag, wide.d_un.d_val);
		} else {
			memcpy(&narrow, bytes + at, sizeof(narrow));
			take_entry(ret, narrow.d_tag, narrow.d_un.d_val);
		}
	}
}

static bool read_dynamic(struct target *target, const struct symbols_module *module,
                         const struct symbols_image *image, struct dynamic *ret)
{
	uint8_t bytes[MOST_DYNAMIC_BYTES];
	Elf64_Phdr header;

	for (uint64_t i = 0; i < image->elf.segment_count; i++) {
		size_t n;

		if (target_elf_read_segment(&image->source, &image->elf, i, &header))
			return false;
		if (header.p_type != PT_DYNAMIC)
			continue;
		n = header.p_memsz < sizeof(bytes) ? header.p_memsz : sizeof(bytes);
		n = target_read_some(target, module->bias + header.p_vaddr, bytes, n);
		read_entries(bytes, n, image->elf.word_bytes, ret);
		return ret->symbols && ret->names && ret->name_bytes;
	}
	return false;
}

// glibc's loader replaces these by run-time addresses, other loaders do not.
static uint64_t run_time(const struct symbols_module *module, uint64_t address)
{
	bool relocated = address >= module->start && address < module->end;

	return relocated ? address : address + module->bias;
}

static void *read_range(struct target *target, uint64_t address, uint64_t bytes)
{
	void *memory = os_page_source.resize(NULL, 0, bytes + 1);

	if (target_read_some(target, address, memory, bytes) == bytes)
		return memory;
	os_page_source.resize(memory, bytes + 1, 0);
	return NULL;
}

// The table does not tell its length; linkers put the names right behind it.
static void add_rows(struct symbols_table *table, struct target *target, unsigned word_bytes,
                     uint64_t symbols, uint64_t names, uint64_t name_bytes)
{
	uint64_t row = word_bytes == 8 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	uint64_t bytes = names - symbols;
	uint8_t *rows;
	char *text;

	if (names <= symbols || bytes > MOST_TABLE_BYTES || name_bytes > MOST_TABLE_BYTES)
		return;
	rows = read_range(target, symbols, bytes);
	text = rows ? read_range(target, names, name_bytes) : NULL;
	if (text)
		symbols_table_add_rows(table, word_bytes, rows, bytes / row, text, name_bytes + 1);
	if (text)
		os_page_source.resize(text, name_bytes + 1, 0);
	if (rows)
		os_page_source.resize(rows, bytes + 1, 0);
}

void symbols_table_add_dynamic(struct symbols_table *table, struct target *target,
                               const struct symbols_module *module)
{
	struct dynamic dynamic = { 0 };
	struct symbols_image image;

	if (!symbols_image_open_mapped(target, module->start, &image) &&
	    read_dynamic(target, module, &image, &dynamic))
		add_rows(table, target, image.elf.word_bytes, run_time(module, dynamic.symbols),
		         run_time(module, dynamic.names), dynamic.name_bytes);
	symbols_image_close(&image);
}
