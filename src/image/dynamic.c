// SPDX-License-Identifier: MIT
// Files whose section headers were removed: the loader's own list (PT_DYNAMIC) names
// the dynamic symbols and the relocations. Called by symbols.c.
#include "image/image_impl.h"

#define MOST_ENTRIES 4096

struct dynamic {
	uint64_t symbols, names, name_bytes, hash;
	uint64_t rela, rela_bytes, rel, rel_bytes, relr, relr_bytes, lazy, lazy_bytes, lazy_kind;
};

static void take(struct dynamic *dynamic, uint64_t tag, uint64_t value)
{
	const struct {
		uint64_t tag, *to;
	} rows[] = {
		{ DT_SYMTAB, &dynamic->symbols },   { DT_STRTAB, &dynamic->names },
		{ DT_STRSZ, &dynamic->name_bytes }, { DT_HASH, &dynamic->hash },
		{ DT_RELA, &dynamic->rela },        { DT_RELASZ, &dynamic->rela_bytes },
		{ DT_REL, &dynamic->rel },          { DT_RELSZ, &dynamic->rel_bytes },
		{ DT_RELR, &dynamic->relr },        { DT_RELRSZ, &dynamic->relr_bytes },
		{ DT_JMPREL, &dynamic->lazy },      { DT_PLTRELSZ, &dynamic->lazy_bytes },
		{ DT_PLTREL, &dynamic->lazy_kind },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].tag == tag)
			*rows[i].to = value;
}

static bool read_dynamic(const struct image *image, struct dynamic *ret)
{
	const struct image_segment *segment = NULL;
	uint64_t words[2], count;

	for (size_t i = 0; i < image->segments.n; i++)
		if (image->segments.v[i].type == PT_DYNAMIC)
			segment = &image->segments.v[i];
	if (!segment)
		return false;
	count = segment->file_bytes / (2 * image->word_bytes);
	for (uint64_t i = 0; i < count && i < MOST_ENTRIES; i++) {
		if (!image_read_words(image, segment->offset + i * 2 * image->word_bytes, 2, words))
			return false;
		if (words[0] == DT_NULL)
			break;
		take(ret, words[0], words[1]);
	}
	return true;
}

// The second number of DT_HASH is the number of symbols; without it they end where the names begin,
// because linkers put these behind them.
static uint64_t symbol_count(const struct image *image, const struct dynamic *dynamic,
                             uint64_t symbols, uint64_t names)
{
	uint64_t hash = dynamic->hash ? image_offset_of(image, dynamic->hash) : IMAGE_NO_OFFSET;
	uint64_t row = image_symbol_bytes(image), fit = (image->bytes - symbols) / row;
	uint32_t numbers[2];

	if (hash < image->bytes && image_read_numbers(image, hash, 2, numbers))
		return numbers[1] < fit ? numbers[1] : fit;
	return names > symbols ? (names - symbols) / row : 0;
}

static void add_symbols(struct image *image, const struct dynamic *dynamic)
{
	uint64_t symbols = image_offset_of(image, dynamic->symbols);
	uint64_t names = image_offset_of(image, dynamic->names);
	struct image_symbol_table table = {
		.offset = symbols,
		.names_offset = names,
		.names_bytes = dynamic->name_bytes,
		.what = "the dynamic symbol table",
		.source = IMAGE_DYNSYM,
		.by_address = true,
		.section = IMAGE_NONE,
	};

	if (!dynamic->symbols || symbols >= image->bytes || names >= image->bytes)
		return;
	table.count = symbol_count(image, dynamic, symbols, names);
	if (table.count)
		image_symbols_add(image, &table);
}

static void add_relocations(struct image *image, uint64_t address, uint64_t bytes,
                            enum image_relocation_kind kind, bool lazy)
{
	if (address && bytes)
		image_relocations_add(image, image_offset_of(image, address), bytes, kind, lazy,
		                      "the table of relocations");
}

void image_dynamic_add(struct image *image)
{
	struct dynamic dynamic = { 0 };

	if (!read_dynamic(image, &dynamic))
		return;
	add_symbols(image, &dynamic);
	add_relocations(image, dynamic.rela, dynamic.rela_bytes, IMAGE_RELA, false);
	add_relocations(image, dynamic.rel, dynamic.rel_bytes, IMAGE_REL, false);
	add_relocations(image, dynamic.relr, dynamic.relr_bytes, IMAGE_RELR, false);
	add_relocations(image, dynamic.lazy, dynamic.lazy_bytes,
	                dynamic.lazy_kind == DT_REL ? IMAGE_REL : IMAGE_RELA, true);
}
