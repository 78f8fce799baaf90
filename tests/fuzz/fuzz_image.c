// SPDX-License-Identifier: MIT
// Feeds any bytes to image as an ELF file: every page of it is looked at, and every byte must belong to
// one thing.
#include <stdlib.h>
#include <string.h>

#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static volatile uint64_t sink;

static void look_at_page(const struct image *image, uint64_t number, struct image_page *page)
{
	uint64_t at = number * image->page_bytes;

	image_page_look(image, number, page);
	for (size_t i = 0; i < page->pieces.list.n; i++) {
		const struct image_piece *piece = &page->pieces.list.v[i];

		if (piece->start != at || piece->end <= at)
			abort();
		if (piece->kind == IMAGE_SECTION)
			sink += strlen(image->sections.v[piece->index].name);
		if (piece->kind == IMAGE_SEGMENT || piece->load != IMAGE_NONE)
			sink += image->segments.n;
		at = piece->end;
	}
	if (at != page->end)
		abort();
	for (size_t i = 0; i < page->symbol_count; i++)
		sink += strlen(image->symbols.v[page->first_symbol + i].name);
}

static void look_at_file(const struct image *image)
{
	struct image_page page;
	struct os_ranges code;

	image_page_init(&page);
	for (uint64_t i = 0; i < image_page_count(image); i++)
		look_at_page(image, i, &page);
	image_page_deinit(&page);
	vec_init(&code.ranges, &os_page_source);
	image_code_pages(image, &code);
	for (size_t i = 0; i < code.ranges.n; i++)
		if (code.ranges.v[i].end > image_page_count(image))
			abort();
	vec_deinit(&code.ranges);
	for (size_t i = 0; i < image->faults.n; i++)
		sink += strlen(image->faults.v[i]);
	sink += image_offset_of(image, image->entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct image *image;

	if (!image_open_bytes(bytes, count, 512, &image))
		look_at_file(image);
	image_close(image);
	return 0;
}
