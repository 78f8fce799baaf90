// SPDX-License-Identifier: MIT
// All that is known about one page of the file, put together on demand: a report goes
// through the pages and keeps nothing. Called by report.
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "image/image_impl.h"

uint64_t image_page_count(const struct image *image)
{
	return image->bytes / image->page_bytes + (image->bytes % image->page_bytes != 0);
}

void image_page_init(struct image_page *page)
{
	*page = (struct image_page){ 0 };
	vec_init(&page->pieces.list, &os_page_source);
}

void image_page_deinit(struct image_page *page)
{
	vec_deinit(&page->pieces.list);
}

uint64_t image_offset_of(const struct image *image, uint64_t address)
{
	size_t at = first_index(image->loads.n, i, image->loads.v[i].address > address);
	const struct image_segment *segment;

	if (!at)
		return IMAGE_NO_OFFSET;
	segment = &image->segments.v[image->loads.v[at - 1].segment];
	if (address - segment->address >= segment->file_bytes)
		return IMAGE_NO_OFFSET;
	return segment->offset + (address - segment->address);
}

// --- the page -------------------------------------------------------------------------------------
// Only gaps between sections may be padding: in a file whose segment has no sections at all (a core)
// zeros are contents.
static bool may_be_padding(const struct image *image, const struct image_piece *piece)
{
	return piece->kind == IMAGE_UNNAMED ||
	       (piece->kind == IMAGE_SEGMENT && piece->load != IMAGE_NONE && image->sections.n);
}

static void take_piece(const struct image *image, const struct image_piece *whole,
                       struct image_page *page)
{
	struct image_piece piece = *whole;

	if (piece.start < page->start) {
		piece.address += page->start - piece.start;
		piece.start = page->start;
	}
	if (piece.end > page->end)
		piece.end = page->end;
	if (may_be_padding(image, &piece) && image_is_padding(image, &piece)) {
		piece.kind = IMAGE_PADDING;
		page->padding_bytes += piece.end - piece.start;
	}
	vec_push(&page->pieces.list, piece);
}

static void count_functions(const struct image *image, struct image_page *page)
{
	for (size_t i = 0; i < page->symbol_count; i++) {
		const struct image_symbol *symbol = &image->symbols.v[page->first_symbol + i];

		page->hot_functions += symbol->heat == IMAGE_HOT;
		page->cold_functions += symbol->heat == IMAGE_COLD;
		page->other_functions += symbol->heat == IMAGE_CODE;
		if (symbol->heat == IMAGE_COLD)
			page->cold_bytes += symbol->bytes < page->end - symbol->offset
			                            ? symbol->bytes
			                            : page->end - symbol->offset;
	}
}

static int compare_page(const void *key, const void *element)
{
	uint64_t page = *(const uint64_t *)key;
	const struct image_page_relocations *row = element;

	return (page > row->page) - (page < row->page);
}

static struct image_relocations relocations_of(const struct image *image, uint64_t page)
{
	const struct image_page_relocations *row =
		image->relocations.n ? bsearch(&page, image->relocations.v, image->relocations.n,
	                                       sizeof(*row), compare_page)
				     : NULL;

	return row ? row->counts : (struct image_relocations){ 0 };
}

void image_page_look(const struct image *image, uint64_t number, struct image_page *page)
{
	struct image_pieces pieces = page->pieces;

	*page = (struct image_page){ .number = number, .start = number * image->page_bytes };
	page->pieces = pieces;
	page->pieces.list.n = 0;
	page->end = image->bytes - page->start < image->page_bytes
	                    ? image->bytes
	                    : page->start + image->page_bytes;
	for (size_t i = image_piece_find(image, page->start);
	     i < image->pieces.list.n && image->pieces.list.v[i].start < page->end; i++)
		take_piece(image, &image->pieces.list.v[i], page);
	page->first_symbol = image_symbol_find(image, page->start);
	page->symbol_count = image_symbol_find(image, page->end) - page->first_symbol;
	page->relocations = relocations_of(image, number);
	page->cached_bytes = image_presence_bytes(&image->cached, page->start, page->end);
	page->mapped_bytes = image_presence_bytes(&image->process.mapped, page->start, page->end);
	page->private_bytes = image_presence_bytes(&image->process.private, page->start, page->end);
	count_functions(image, page);
}

// --- pages of code --------------------------------------------------------------------------------
enum code {
	CODE_TEXT,     // .text
	CODE_SECTIONS, // executable sections
	CODE_SEGMENTS,
};

static enum code code_of(const struct image *image)
{
	enum code code = CODE_SEGMENTS;

	for (size_t i = 0; i < image->sections.n; i++) {
		const struct image_section *section = &image->sections.v[i];

		if (!section->bytes || section->type == SHT_NOBITS)
			continue;
		if (strcmp(section->name, ".text") == 0)
			return CODE_TEXT;
		if (section->flags & SHF_EXECINSTR)
			code = CODE_SECTIONS;
	}
	return code;
}

static bool is_code(const struct image *image, const struct image_piece *piece, enum code code)
{
	const struct image_section *section =
		piece->kind == IMAGE_SECTION ? &image->sections.v[piece->index] : NULL;

	switch (code) {
	case CODE_TEXT:
		return section && strcmp(section->name, ".text") == 0;
	case CODE_SECTIONS:
		return section && section->flags & SHF_EXECINSTR;
	case CODE_SEGMENTS:
		return piece->load != IMAGE_NONE && image->segments.v[piece->load].flags & PF_X;
	}
	return false;
}

void image_code_pages(const struct image *image, struct os_ranges *ret)
{
	enum code code = code_of(image);

	for (size_t i = 0; i < image->pieces.list.n; i++) {
		const struct image_piece *piece = &image->pieces.list.v[i];
		struct os_range pages = { piece->start / image->page_bytes,
			                  (piece->end - 1) / image->page_bytes + 1 };
		struct os_range *last = ret->ranges.n ? &ret->ranges.v[ret->ranges.n - 1] : NULL;

		if (!is_code(image, piece, code))
			continue;
		if (last && pages.start <= last->end)
			last->end = pages.end > last->end ? pages.end : last->end;
		else
			vec_push(&ret->ranges, pages);
	}
}
