// SPDX-License-Identifier: MIT
// How readers get at the target's memory: a window that reads ahead, for walks in
// address order, and a cache of pages for chains that lead anywhere. Both use
// images where there are any and copy nothing then.
#include "heaps/heaps_impl.h"

enum { PEEK_PAGES = 256, PEEK_PAGE_BYTES = 4096 };

void window_init(struct window *window, struct target *target)
{
	*window = (struct window){ .target = target,
		                   .source = target->arena->ar_source,
		                   .next_bytes = WINDOW_SMALL_BYTES };
}

void window_deinit(struct window *window)
{
	if (window->buffer)
		window->source->resize(window->buffer, WINDOW_BIG_BYTES, 0);
	window->buffer = NULL;
	window->bytes = 0;
}

static bool view_image(struct window *window, uint64_t address, size_t n)
{
	const struct target_segment *segment = target_segment_at(window->target, address);

	if (!segment || !segment->image || segment->contents_end < address ||
	    segment->contents_end - address < n)
		return false;
	window->view = segment->image + (address - segment->start);
	window->start = address;
	window->bytes = segment->contents_end - address;
	return true;
}

const uint8_t *window_refill(struct window *window, uint64_t address, size_t n)
{
	if (view_image(window, address, n))
		return window->view;
	bool dense =
		window->view == window->buffer && address - window->start <= window->bytes + 4096;
	if (!dense)
		window->next_bytes = WINDOW_SMALL_BYTES;
	if (!window->buffer)
		window->buffer = window->source->resize(NULL, 0, WINDOW_BIG_BYTES);
	window->view = window->buffer;
	window->start = address;
	window->bytes =
		target_read_some(window->target, address, window->buffer, window->next_bytes);
	if (window->next_bytes < WINDOW_BIG_BYTES)
		window->next_bytes *= 2;
	return window->bytes >= n ? window->view : NULL;
}

void peek_init(struct peek *peek, struct target *target)
{
	*peek = (struct peek){ .target = target, .source = target->arena->ar_source };
}

void peek_deinit(struct peek *peek)
{
	if (peek->pages)
		peek->source->resize(peek->pages, PEEK_PAGES * PEEK_PAGE_BYTES, 0);
	if (peek->tags)
		peek->source->resize(peek->tags, PEEK_PAGES * sizeof(*peek->tags), 0);
	peek->pages = NULL;
	peek->tags = NULL;
}

// A page whole, or NULL. Tags are page addresses plus one, so that zeroed tags fit no page.
static const uint8_t *peek_page(struct peek *peek, uint64_t page)
{
	if (!peek->pages) {
		peek->pages = peek->source->resize(NULL, 0, PEEK_PAGES * PEEK_PAGE_BYTES);
		peek->tags = peek->source->resize(NULL, 0, PEEK_PAGES * sizeof(*peek->tags));
	}
	size_t slot = page / PEEK_PAGE_BYTES % PEEK_PAGES;
	uint8_t *bytes = peek->pages + slot * PEEK_PAGE_BYTES;
	if (peek->tags[slot] == page + 1)
		return bytes;
	peek->tags[slot] = 0;
	if (target_read_some(peek->target, page, bytes, PEEK_PAGE_BYTES) != PEEK_PAGE_BYTES)
		return NULL;
	peek->tags[slot] = page + 1;
	return bytes;
}

bool peek_word(struct peek *peek, uint64_t address, uint64_t *ret)
{
	unsigned word_bytes = peek->target->word_bytes;
	const uint8_t *bytes = target_bytes(peek->target, address, word_bytes);

	if (!bytes && address % word_bytes == 0) {
		bytes = peek_page(peek, address & ~(uint64_t)(PEEK_PAGE_BYTES - 1));
		if (bytes)
			bytes += address % PEEK_PAGE_BYTES;
	}
	uint8_t copy[8];
	if (!bytes) {
		if (target_read_some(peek->target, address, copy, word_bytes) != word_bytes)
			return false;
		bytes = copy;
	}
	*ret = target_word(peek->target, bytes);
	return true;
}

uint64_t target_word_swapped(const uint8_t *bytes, unsigned word_bytes)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < word_bytes; i++)
		word = word << 8 | bytes[i];
	return word;
}
