// SPDX-License-Identifier: MIT
// .gnu_debugdata: a whole ELF file, packed with xz, that some distributions put into
// a stripped one for the names of its functions. Its addresses are those of the file
// that it lies in; its section numbers need not be.
#include <lzma.h>

#include "image/image_impl.h"

#define MOST_UNPACKED_BYTES ((size_t)256 << 20)
#define UNXZ_MEMORY_BYTES   ((uint64_t)256 << 20)
#define PART_BYTES          65536

struct unpacked {
	VEC(uint8_t) bytes;
};

static bool unxz(const char *from, size_t n, struct unpacked *ret)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret result;

	if (lzma_stream_decoder(&stream, UNXZ_MEMORY_BYTES, 0) != LZMA_OK)
		return false;
	stream.next_in = (const uint8_t *)from;
	stream.avail_in = n;
	do {
		vec_reserve(&ret->bytes, ret->bytes.n + PART_BYTES);
		stream.next_out = ret->bytes.v + ret->bytes.n;
		stream.avail_out = PART_BYTES;
		result = lzma_code(&stream, LZMA_FINISH);
		ret->bytes.n += PART_BYTES - stream.avail_out;
	} while (result == LZMA_OK && ret->bytes.n <= MOST_UNPACKED_BYTES);
	lzma_end(&stream);
	return result == LZMA_STREAM_END && ret->bytes.n <= MOST_UNPACKED_BYTES;
}

// The section of this file that holds the symbol: the owner of its byte, else the one of the same number
// when it stands at the same address.
static uint32_t section_here(const struct image *image, const struct image_symbol *symbol)
{
	const struct image *embedded = image->embedded;
	uint32_t section = symbol->section;

	if (symbol->offset != IMAGE_NO_OFFSET) {
		const struct image_piece *piece =
			&image->pieces.list.v[image_piece_find(image, symbol->offset)];

		return piece->kind == IMAGE_SECTION ? piece->index : IMAGE_NONE;
	}
	if (section < image->sections.n && section < embedded->sections.n &&
	    image->sections.v[section].address == embedded->sections.v[section].address)
		return section;
	return IMAGE_NONE;
}

static void add_symbol(struct image *image, struct image_symbol symbol)
{
	symbol.source = IMAGE_DEBUGDATA;
	symbol.offset = image_offset_of(image, symbol.value);
	if (symbol.offset >= image->bytes)
		symbol.offset = IMAGE_NO_OFFSET;
	symbol.section = section_here(image, &symbol);
	symbol.heat = image_heat_of(image, &symbol);
	vec_push(&image->symbols, symbol);
}

void image_embedded_add(struct image *image, const struct image_section *section)
{
	const char *packed = image_load(image, section->offset, section->bytes, ".gnu_debugdata");
	struct unpacked unpacked;
	struct error *error;

	if (!packed)
		return;
	vec_init(&unpacked.bytes, &os_page_source);
	if (!unxz(packed, section->bytes, &unpacked)) {
		image_fault(image, ".gnu_debugdata cannot be unpacked");
	} else {
		error = image_open_part(unpacked.bytes.v, unpacked.bytes.n, image->page_bytes, true,
		                        &image->embedded);
		if (error)
			image_fault(image, ".gnu_debugdata: %s", error->text);
	}
	for (size_t i = 0; image->embedded && i < image->embedded->symbols.n; i++)
		add_symbol(image, image->embedded->symbols.v[i]);
	vec_deinit(&unpacked.bytes);
}
