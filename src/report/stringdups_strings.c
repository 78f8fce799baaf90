// SPDX-License-Identifier: MIT
// Finds the blocks that hold the characters of a std::string: writable memory is read once, for three
// words in a row that make such an object (stringdups.c). Programs without a C++ library are not read.
#include "report/stringdups_impl.h"

#include <stdlib.h>
#include <string.h>

#include "os/os.h"

#define OBJECT_WORDS 3

struct search {
	struct dups *dups;
	struct dups_reader reader;
	uint64_t low, span; // where blocks are
	unsigned libraries; // whose strings there can be
	VEC(struct dups_string) found;
};

static uint64_t word_at(const uint8_t *bytes, unsigned width)
{
	uint64_t word = 0;

	memcpy(&word, bytes, width);
	return word;
}

static void look_at_form(struct search *search, unsigned library,
                         const uint64_t words[OBJECT_WORDS])
{
	const struct heaps *heaps = search->dups->look->heaps;
	struct types_std_string string;
	ssize_t block;

	if (!types_std_string(library, words, &string) ||
	    string.characters - search->low >= search->span || string.room > search->span)
		return;
	block = heaps_find(heaps, string.characters);
	if (block < 0 || heaps->blocks[block].hb_state != HEAP_USED ||
	    !types_std_string_fits(&string, heaps->blocks[block].hb_address,
	                           heaps->blocks[block].hb_size))
		return;
	vec_push(&search->found, ((struct dups_string){ (uint32_t)block, string.length }));
}

static void look_at(struct search *search, const uint8_t *bytes, unsigned width)
{
	uint64_t words[OBJECT_WORDS];

	for (unsigned i = 0; i < OBJECT_WORDS; i++)
		words[i] = word_at(bytes + i * width, width);
	if (search->libraries & TYPES_LIBSTDCXX && words[0] - search->low < search->span)
		look_at_form(search, TYPES_LIBSTDCXX, words);
	if (search->libraries & TYPES_LIBCXX && words[0] & 1 &&
	    words[2] - search->low < search->span)
		look_at_form(search, TYPES_LIBCXX, words);
}

// Pieces overlap by two words, for the objects on their borders.
static void look_through(void *context, uint64_t start, uint64_t end)
{
	struct search *search = context;
	unsigned width = search->dups->look->target->word_bytes;
	size_t object = (size_t)width * OBJECT_WORDS, n;

	start += -start & (width - 1);
	while (start < end && end - start >= object) {
		const uint8_t *bytes = dups_reader_bytes(&search->reader, start, end - start, &n);

		if (n < object) {
			start = (start | 4095) + 1; // the rest of this page cannot be had
			continue;
		}
		for (size_t i = 0; i + object <= n; i += width)
			look_at(search, bytes + i, width);
		start += n - object + width;
		start -= start & (width - 1);
	}
}

static int compare_strings(const void *a, const void *b)
{
	const struct dups_string *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->length < y->length ? -1 : x->length > y->length;
}

// Copies of an object (on stacks) say the same of a block again.
static void keep(struct search *search)
{
	struct dups *dups = search->dups;
	struct dups_string *kept;
	size_t n = 0;

	if (!search->found.n)
		return;
	qsort(search->found.v, search->found.n, sizeof(*search->found.v), compare_strings);
	kept = arena_array(dups->look->arena, search->found.n, sizeof(*kept));
	for (size_t i = 0; i < search->found.n; i++)
		if (!n || compare_strings(&kept[n - 1], &search->found.v[i]) != 0)
			kept[n++] = search->found.v[i];
	dups->strings = kept;
	dups->string_count = n;
}

struct error *dups_find_strings(struct dups *dups)
{
	const struct heaps *heaps = dups->look->heaps;
	struct target *target = dups->look->target;
	struct search search = { .dups = dups };
	struct error *error = NULL;

	search.libraries = types_cxx_libraries(dups->look->types);
	if (!heaps->block_count || target->big_endian || !search.libraries)
		return NULL;
	search.low = heaps->blocks[0].hb_address;
	search.span = heaps->blocks[heaps->block_count - 1].hb_address - search.low + 1;
	vec_init(&search.found, &os_page_source);
	dups_reader_open(&search.reader, target);
	for (size_t i = 0; i < target->segment_count && !error; i++) {
		const struct target_segment *segment = &target->segments[i];

		if (segment->readable && (segment->protection & TARGET_WRITE) && !segment->shared)
			error = target_present(target, segment->start, segment->end, look_through,
			                       &search);
	}
	dups_reader_close(&search.reader);
	keep(&search);
	vec_deinit(&search.found);
	return error;
}
