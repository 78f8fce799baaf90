// SPDX-License-Identifier: MIT
// The symbols of one module as a sorted array. Called by sources.c and lookup.c.
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "symbols/symbols_impl.h"

// How far a look-up goes back over symbols that start later but end before the address.
#define MOST_STEPS_BACK 256
#define MOST_NAME_BYTES ((size_t)1 << 31)

void symbols_table_init(struct symbols_table *table)
{
	vec_init(&table->symbols, &os_page_source);
	vec_init(&table->names, &os_page_source);
	vec_init(&table->sections, &os_page_source);
}

void symbols_table_deinit(struct symbols_table *table)
{
	symbols_lines_close(table->lines);
	vec_deinit(&table->symbols);
	vec_deinit(&table->names);
	vec_deinit(&table->sections);
}

// Functions before objects before labels, sized before unsized, global before weak before local: the
// name that a programmer knows.
static uint8_t rank_of(const Elf64_Sym *symbol)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info), binding = ELF64_ST_BIND(symbol->st_info);
	unsigned kind = type == STT_FUNC || type == STT_GNU_IFUNC ? 2 : type == STT_OBJECT ? 1 : 0;
	unsigned reach = binding == STB_GLOBAL ? 2 : binding == STB_WEAK ? 1 : 0;

	return (uint8_t)(kind * 8 + (symbol->st_size ? 4 : 0) + reach);
}

static bool is_wanted(const Elf64_Sym *symbol, const char *name)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info);

	if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS ||
	    symbol->st_shndx == SHN_COMMON || !name[0])
		return false;
	// Marks of code and data on ARM ("$x"), which name nothing.
	if (type == STT_NOTYPE && name[0] == '$')
		return false;
	return type == STT_FUNC || type == STT_OBJECT || type == STT_NOTYPE ||
	       type == STT_GNU_IFUNC;
}

static void symbol_at(unsigned word_bytes, const uint8_t *rows, size_t index, Elf64_Sym *ret)
{
	Elf32_Sym narrow;

	if (word_bytes == 8) {
		memcpy(ret, rows + index * sizeof(*ret), sizeof(*ret));
		return;
	}
	memcpy(&narrow, rows + index * sizeof(narrow), sizeof(narrow));
	*ret = (Elf64_Sym){
		.st_name = narrow.st_name,
		.st_info = narrow.st_info,
		.st_other = narrow.st_other,
		.st_shndx = narrow.st_shndx,
		.st_value = narrow.st_value,
		.st_size = narrow.st_size,
	};
}

void symbols_table_add_rows(struct symbols_table *table, unsigned word_bytes, const uint8_t *rows,
                            size_t count, const char *names, size_t name_bytes)
{
	size_t base = table->names.n;

	if (name_bytes > MOST_NAME_BYTES - base)
		return;
	vec_reserve(&table->names, base + name_bytes);
	memcpy(table->names.v + base, names, name_bytes);
	table->names.n += name_bytes;
	for (size_t i = 0; i < count; i++) {
		struct symbols_symbol *added;
		Elf64_Sym symbol;

		symbol_at(word_bytes, rows, i, &symbol);
		if (symbol.st_name >= name_bytes || !is_wanted(&symbol, names + symbol.st_name))
			continue;
		added = vec_add(&table->symbols);
		added->address = symbol.st_value;
		added->bytes = symbol.st_size;
		added->name = (uint32_t)(base + symbol.st_name);
		added->rank = rank_of(&symbol);
	}
	table->sorted = false;
}

static void add_table(struct symbols_table *table, const struct symbols_image *image,
                      const Elf64_Shdr *section)
{
	size_t row = image->elf.word_bytes == 8 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	const Elf64_Shdr *strings;
	void *rows, *names;

	if (section->sh_link >= image->section_count)
		return;
	strings = &image->sections[section->sh_link];
	rows = symbols_contents_read(image, section);
	names = rows ? symbols_contents_read(image, strings) : NULL;
	if (names)
		symbols_table_add_rows(table, image->elf.word_bytes, rows, section->sh_size / row,
		                       names, strings->sh_size + 1);
	symbols_contents_free(names, strings);
	symbols_contents_free(rows, section);
}

void symbols_table_add(struct symbols_table *table, const struct symbols_image *image)
{
	for (size_t i = 0; i < image->section_count; i++) {
		const Elf64_Shdr *section = &image->sections[i];

		if (section->sh_type != SHT_SYMTAB && section->sh_type != SHT_DYNSYM)
			continue;
		table->has_full_table |= section->sh_type == SHT_SYMTAB;
		add_table(table, image, section);
	}
}

static int compare(const void *left, const void *right)
{
	const struct symbols_symbol *a = left, *b = right;

	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return a->rank - b->rank;
}

void symbols_table_sort(struct symbols_table *table)
{
	if (!table->sorted && table->symbols.n)
		qsort(table->symbols.v, table->symbols.n, sizeof(*table->symbols.v), compare);
	table->sorted = true;
}

// The number of symbols that start at or below address.
static size_t count_below(const struct symbols_table *table, uint64_t address)
{
	return first_index(table->symbols.n, i, table->symbols.v[i].address > address);
}

static const struct symbols_section *section_at(const struct symbols_table *table, uint64_t address)
{
	for (size_t i = 0; i < table->sections.n; i++)
		if (address - table->sections.v[i].address < table->sections.v[i].bytes)
			return &table->sections.v[i];
	return NULL;
}

struct symbols_symbol *symbols_table_at(const struct symbols_table *table, uint64_t address)
{
	size_t first = count_below(table, address), last = first;
	struct symbols_symbol *nearest;

	for (; first > 0 && last - first < MOST_STEPS_BACK; first--) {
		struct symbols_symbol *symbol = &table->symbols.v[first - 1];

		if (address - symbol->address < symbol->bytes)
			return symbol;
	}
	// Functions written in assembly may have no size; they reach to the next symbol.
	nearest = last ? &table->symbols.v[last - 1] : NULL;
	if (nearest && !nearest->bytes && section_at(table, address) &&
	    section_at(table, address) == section_at(table, nearest->address))
		return nearest;
	return NULL;
}

// Some linkers write the version into the name: "memcpy@@GLIBC_2.14".
static bool is_named(const char *symbol, const char *name, size_t length)
{
	return strncmp(symbol, name, length) == 0 && (!symbol[length] || symbol[length] == '@');
}

const struct symbols_symbol *symbols_table_find(const struct symbols_table *table, const char *name)
{
	const struct symbols_symbol *best = NULL;
	size_t length = strlen(name);

	for (size_t i = 0; i < table->symbols.n; i++) {
		const struct symbols_symbol *symbol = &table->symbols.v[i];

		if (is_named(table->names.v + symbol->name, name, length) &&
		    (!best || symbol->rank > best->rank))
			best = symbol;
	}
	return best;
}
