// SPDX-License-Identifier: MIT
// Which pages of the file the loader writes to, and so makes copies of for each
// process: the places of the dynamic relocations, counted by page. Relative ones
// need no symbol; lazy ones are those of the procedure linkage table, which are done
// at the first call unless all are bound at the start.
#include <stdlib.h>
#include <string.h>

#include "image/image_impl.h"

#define WORDS_READ 512

static void count_place(struct image *image, uint64_t place, bool has_symbol, bool lazy)
{
	uint64_t offset = image_offset_of(image, place), page = offset / image->page_bytes;
	struct image_page_relocations *last =
		image->relocations.n ? &image->relocations.v[image->relocations.n - 1] : NULL;

	if (offset >= image->bytes) {
		image->outside_relocations++;
		return;
	}
	if (!last || last->page != page) {
		last = vec_add(&image->relocations);
		*last = (struct image_page_relocations){ .page = page };
	}
	last->counts.relative += !has_symbol && !lazy;
	last->counts.symbolic += has_symbol && !lazy;
	last->counts.lazy += lazy;
}

static void add_rows(struct image *image, uint64_t offset, uint64_t bytes, bool addend, bool lazy)
{
	uint64_t row = image_relocation_bytes(image, addend), count = bytes / row;
	struct image_relocation rows[WORDS_READ];

	for (uint64_t done = 0; done < count;) {
		size_t n = count - done < WORDS_READ ? count - done : WORDS_READ;

		if (!image_read_relocations(image, offset + done * row, n, addend, rows))
			return;
		for (size_t i = 0; i < n; i++)
			count_place(image, rows[i].place, rows[i].has_symbol, lazy);
		done += n;
	}
}

// An even word is a place; an odd one has a bit for each of the words behind the last place (gABI,
// SHT_RELR).
static uint64_t add_packed_word(struct image *image, uint64_t word, uint64_t next)
{
	unsigned word_bytes = image->word_bytes, bits = word_bytes * 8 - 1;

	if (!(word & 1)) {
		count_place(image, word, false, false);
		return word + word_bytes;
	}
	for (unsigned i = 0; i < bits; i++)
		if (word >> (i + 1) & 1)
			count_place(image, next + (uint64_t)i * word_bytes, false, false);
	return next + (uint64_t)bits * word_bytes;
}

static void add_packed(struct image *image, uint64_t offset, uint64_t bytes)
{
	uint64_t words[WORDS_READ], count = bytes / image->word_bytes, next = 0;

	for (uint64_t done = 0; done < count;) {
		size_t n = count - done < WORDS_READ ? count - done : WORDS_READ;

		if (!image_read_words(image, offset + done * image->word_bytes, n, words))
			return;
		for (size_t i = 0; i < n; i++)
			next = add_packed_word(image, words[i], next);
		done += n;
	}
}

void image_relocations_add(struct image *image, uint64_t offset, uint64_t bytes,
                           enum image_relocation_kind kind, bool lazy, const char *what)
{
	if (!checked_within(offset, bytes, image->bytes))
		image_fault(image, "%s ends behind the end of the file", what);
	else if (kind == IMAGE_RELR)
		add_packed(image, offset, bytes);
	else
		add_rows(image, offset, bytes, kind == IMAGE_RELA, lazy);
}

// Those of an object file, or kept by the linker (-q), are not the loader's. Sections that overlap others
// are faults, and could make the work long: what was counted once is not counted again.
static void add_sections(struct image *image)
{
	uint64_t left = image->bytes;

	for (uint32_t i = 0; i < image->sections.n; i++) {
		const struct image_section *section = &image->sections.v[i];
		enum image_relocation_kind kind = section->type == SHT_RELA  ? IMAGE_RELA
		                                  : section->type == SHT_REL ? IMAGE_REL
		                                                             : IMAGE_RELR;

		if (!(section->flags & SHF_ALLOC) ||
		    (section->type != SHT_RELA && section->type != SHT_REL &&
		     section->type != SHT_RELR))
			continue;
		if (section->bytes > left)
			return;
		left -= section->bytes;
		image_relocations_add(image, section->offset, section->bytes, kind,
		                      strstr(section->name, ".plt") != NULL,
		                      "a table of relocations");
	}
}

static int compare_pages(const void *left, const void *right)
{
	const struct image_page_relocations *a = left, *b = right;

	return (a->page > b->page) - (a->page < b->page);
}

static void join_pages(struct image *image)
{
	size_t kept = 0;

	for (size_t i = 0; i < image->relocations.n; i++) {
		struct image_page_relocations *row = &image->relocations.v[i];
		struct image_page_relocations *last = kept ? &image->relocations.v[kept - 1] : NULL;

		if (last && last->page == row->page) {
			last->counts.relative += row->counts.relative;
			last->counts.symbolic += row->counts.symbolic;
			last->counts.lazy += row->counts.lazy;
		} else {
			image->relocations.v[kept++] = *row;
		}
	}
	image->relocations.n = kept;
}

void image_relocations_make(struct image *image)
{
	if (image->type == ET_EXEC || image->type == ET_DYN)
		add_sections(image);
	if (image->relocations.n)
		qsort(image->relocations.v, image->relocations.n, sizeof(*image->relocations.v),
		      compare_pages);
	join_pages(image);
}
