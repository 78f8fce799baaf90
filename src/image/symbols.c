// SPDX-License-Identifier: MIT
// The symbols of a file by their place in it: of .symtab, .dynsym and what embedded.c
// and dynamic.c find. What is undefined, absolute, without a name, or stands for a
// file or a section has no place and is left out.
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "image/image_impl.h"

#define MOST_SYMBOLS   ((uint64_t)1 << 26)
#define LONGEST_NAME   65536
#define SHORTENED_NAME 64

// Names may overlap in the table, so that a small file could stand for terabytes of them.
struct budget {
	uint64_t bytes;
	bool told;
};

struct reader {
	struct image *image;
	const struct image_symbol_table *table;
	const char *names;
	struct budget budget;
	uint64_t extended; // offset of SHT_SYMTAB_SHNDX's rows, 0: none
	uint64_t extended_count, thread_base;
};

static const char *take_name(struct reader *reader, uint32_t name)
{
	struct image *image = reader->image;
	const char *text = reader->names + name;
	size_t n;

	if (name >= reader->table->names_bytes) {
		if (image_fault_wanted(image))
			image_fault(image, "%s: the name of a symbol is not in the table of names",
			            reader->table->what);
		return "";
	}
	n = strnlen(text, LONGEST_NAME);
	if (n < LONGEST_NAME && n <= reader->budget.bytes) {
		reader->budget.bytes -= n;
		return text;
	}
	if (!reader->budget.told)
		image_fault(image, "%s: names are longer than the file can hold; they are cut",
		            reader->table->what);
	reader->budget.told = true;
	return arena_copy_n(&image->arena, text, n < SHORTENED_NAME ? n : SHORTENED_NAME);
}

// --- where it lies --------------------------------------------------------------------------------
// The end of a section belongs to its last page: the next may be of another section.
static uint64_t section_place(const struct image_section *section, uint64_t distance)
{
	if (section->type == SHT_NOBITS || section->type == SHT_NULL)
		return IMAGE_NO_OFFSET;
	if (distance == section->bytes && distance)
		distance--;
	return section->offset + distance;
}

static uint64_t place_of(const struct reader *reader, uint32_t section, uint64_t value)
{
	const struct image *image = reader->image;
	const struct image_section *in =
		section < image->sections.n ? &image->sections.v[section] : NULL;
	uint64_t base = in && image->type != ET_REL ? in->address : 0, place;

	if (in && value >= base && value - base <= in->bytes)
		place = section_place(in, value - base);
	else
		place = image->type == ET_REL ? IMAGE_NO_OFFSET : image_offset_of(image, value);
	return place < image->bytes ? place : IMAGE_NO_OFFSET;
}

static uint32_t section_of(const struct reader *reader, const Elf64_Sym *row, uint64_t index)
{
	uint32_t number;

	if (reader->table->by_address)
		return IMAGE_NONE;
	if (row->st_shndx < SHN_LORESERVE)
		return row->st_shndx < reader->image->sections.n ? row->st_shndx : IMAGE_NONE;
	if (row->st_shndx == SHN_XINDEX && index < reader->extended_count &&
	    image_read_numbers(reader->image, reader->extended + index * sizeof(number), 1,
	                       &number) &&
	    number < reader->image->sections.n)
		return number;
	return IMAGE_NONE;
}

// --- hot and cold ---------------------------------------------------------------------------------
static bool begins_section(const char *name, const char *kind)
{
	size_t n = strlen(kind);

	return strncmp(name, kind, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

// GCC and clang split the parts of a function that are hardly ever run off as "NAME.cold", and number
// them when there are several ("NAME.cold.3"); LTO appends further suffixes.
static bool is_cold_part(const char *name)
{
	const char *at = strstr(name, ".cold");

	return at && at != name && (at[5] == '\0' || at[5] == '.');
}

// The sections are those of GCC's -freorder-functions and of clang's -fsplit-machine-functions.
enum image_heat image_heat_of(const struct image *image, const struct image_symbol *symbol)
{
	static const char *const cold[] = { ".text.unlikely", ".text.cold", ".text.split",
		                            ".text.startup", ".text.exit" };
	const char *section =
		symbol->section == IMAGE_NONE ? "" : image->sections.v[symbol->section].name;

	if (symbol->type != STT_FUNC && symbol->type != STT_GNU_IFUNC)
		return IMAGE_NO_CODE;
	if (begins_section(section, ".text.hot"))
		return IMAGE_HOT;
	for (size_t i = 0; i < sizeof(cold) / sizeof(cold[0]); i++)
		if (begins_section(section, cold[i]))
			return IMAGE_COLD;
	return is_cold_part(symbol->name) ? IMAGE_COLD : IMAGE_CODE;
}

// --- rows -----------------------------------------------------------------------------------------
static bool has_place(const Elf64_Sym *row)
{
	unsigned type = ELF64_ST_TYPE(row->st_info);

	return row->st_name && row->st_shndx != SHN_UNDEF && row->st_shndx != SHN_ABS &&
	       row->st_shndx != SHN_COMMON && type != STT_FILE && type != STT_SECTION;
}

static void add_row(struct reader *reader, const Elf64_Sym *row, uint64_t index)
{
	struct image *image = reader->image;
	struct image_symbol symbol = {
		.value = row->st_value,
		.bytes = row->st_size,
		.type = ELF64_ST_TYPE(row->st_info),
		.source = reader->table->source,
	};

	if (!has_place(row))
		return;
	symbol.name = take_name(reader, row->st_name);
	if (!*symbol.name)
		return;
	symbol.section = section_of(reader, row, index);
	if (symbol.type == STT_TLS && image->type != ET_REL)
		symbol.value += reader->thread_base;
	symbol.offset = place_of(reader, symbol.section, symbol.value);
	// Processor-specific section numbers: a place that this file does not tell.
	if (symbol.offset == IMAGE_NO_OFFSET && symbol.section == IMAGE_NONE &&
	    !reader->table->by_address)
		return;
	// Linkers give symbols for ends of memory the number of a section before.
	if (symbol.offset == IMAGE_NO_OFFSET && symbol.section != IMAGE_NONE &&
	    image->sections.v[symbol.section].type != SHT_NOBITS)
		symbol.section = IMAGE_NONE;
	symbol.heat = image_heat_of(image, &symbol);
	vec_push(&image->symbols, symbol);
}

// Where the section numbers stand that do not fit into a row.
static void find_extended(struct reader *reader)
{
	const struct image *image = reader->image;

	for (size_t i = 0; i < image->sections.n; i++) {
		const struct image_section *section = &image->sections.v[i];

		if (section->type != SHT_SYMTAB_SHNDX || section->link != reader->table->section)
			continue;
		reader->extended = section->offset;
		reader->extended_count = section->bytes / sizeof(uint32_t);
	}
}

static uint64_t thread_base_of(const struct image *image)
{
	for (size_t i = 0; i < image->segments.n; i++)
		if (image->segments.v[i].type == PT_TLS)
			return image->segments.v[i].address;
	return 0;
}

void image_symbols_add(struct image *image, const struct image_symbol_table *table)
{
	struct reader reader = { .image = image, .table = table };
	uint64_t row_bytes = image_symbol_bytes(image);
	uint64_t count = table->count < MOST_SYMBOLS ? table->count : MOST_SYMBOLS;
	Elf64_Sym rows[IMAGE_ROWS];

	if (count < table->count)
		image_fault(image, "%s has %lu symbols; the first %lu are read", table->what,
		            table->count, count);
	reader.names = image_load(image, table->names_offset, table->names_bytes,
	                          arena_format(&image->arena, "the names of %s", table->what));
	if (!reader.names)
		return;
	reader.budget.bytes = 16 * table->names_bytes + 256 * count;
	reader.thread_base = thread_base_of(image);
	if (table->section != IMAGE_NONE)
		find_extended(&reader);
	for (uint64_t done = 0; done < count;) {
		size_t n = count - done < IMAGE_ROWS ? count - done : IMAGE_ROWS;

		if (!image_read_symbols(image, table->offset + done * row_bytes, n, rows))
			return;
		for (size_t i = 0; i < n; i++)
			add_row(&reader, &rows[i], done + i);
		done += n;
	}
}

// --- all tables -----------------------------------------------------------------------------------
static void add_section(struct image *image, uint32_t index, enum image_symbol_source source,
                        const char *what)
{
	const struct image_section *section = &image->sections.v[index], *names;
	uint64_t row = image_symbol_bytes(image);
	struct image_symbol_table table = {
		.offset = section->offset,
		.count = section->bytes / row,
		.section = index,
		.what = what,
		.source = source,
	};

	if (section->entry_bytes != row)
		image_fault(image, "%s: entries of %lu bytes are announced; they have %lu", what,
		            section->entry_bytes, row);
	if (section->bytes % row)
		image_fault(image, "%s: its last entry is cut", what);
	if (!table.count)
		return;
	if (section->link >= image->sections.n ||
	    image->sections.v[section->link].type != SHT_STRTAB) {
		image_fault(image, "%s: section %u, which should hold its names, is no such table",
		            what, section->link);
		return;
	}
	names = &image->sections.v[section->link];
	table.names_offset = names->offset;
	table.names_bytes = names->bytes;
	image_symbols_add(image, &table);
}

// The gABI allows one table of each kind; were there thousands, all could be the same bytes.
static bool take_first(struct image *image, uint32_t index, bool *seen, const char *what)
{
	if (*seen && image_fault_wanted(image))
		image_fault(image, "%s is a second %s; the first is read",
		            image_name_of(image, index), what);
	if (*seen)
		return false;
	return *seen = true;
}

static void add_sections(struct image *image)
{
	bool full = false, dynamic = false, embedded = false;

	for (uint32_t i = 0; i < image->sections.n; i++) {
		const struct image_section *section = &image->sections.v[i];

		if (section->type == SHT_SYMTAB && take_first(image, i, &full, ".symtab"))
			add_section(image, i, IMAGE_SYMTAB, ".symtab");
		else if (section->type == SHT_DYNSYM && take_first(image, i, &dynamic, ".dynsym"))
			add_section(image, i, IMAGE_DYNSYM, ".dynsym");
		else if (section->type == SHT_PROGBITS && !image->is_embedded &&
		         strcmp(section->name, ".gnu_debugdata") == 0 &&
		         take_first(image, i, &embedded, ".gnu_debugdata"))
			image_embedded_add(image, section);
	}
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_places(const struct image_symbol *a, const struct image_symbol *b)
{
	int order = compare_numbers(a->offset, b->offset);

	if (!order && a->offset == IMAGE_NO_OFFSET)
		order = compare_numbers(a->section, b->section);
	if (!order)
		order = compare_numbers(a->value, b->value);
	return order ? order : strcmp(a->name, b->name);
}

static int compare_symbols(const void *left, const void *right)
{
	const struct image_symbol *a = left, *b = right;
	int order = compare_places(a, b);

	return order ? order : (a->source > b->source) - (a->source < b->source);
}

// .symtab repeats what .dynsym has.
static void drop_repeated(struct image *image)
{
	size_t kept = 0;

	for (size_t i = 0; i < image->symbols.n; i++)
		if (!kept || compare_places(&image->symbols.v[kept - 1], &image->symbols.v[i]))
			image->symbols.v[kept++] = image->symbols.v[i];
	image->symbols.n = kept;
}

void image_symbols_make(struct image *image)
{
	add_sections(image);
	if (!image->sections.n)
		image_dynamic_add(image);
	if (image->symbols.n)
		qsort(image->symbols.v, image->symbols.n, sizeof(*image->symbols.v),
		      compare_symbols);
	drop_repeated(image);
}

size_t image_symbol_find(const struct image *image, uint64_t offset)
{
	return first_index(image->symbols.n, i, image->symbols.v[i].offset >= offset);
}
