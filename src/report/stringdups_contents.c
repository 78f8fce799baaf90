// SPDX-License-Identifier: MIT
// What of a block is compared with others, and its hash (stringdups_groups.c): texts first, else all its
// bytes. Blocks are read through a window, in order of address.
#include "report/stringdups_impl.h"

#include <string.h>

#include "os/os.h"

#define WINDOW_BYTES ((size_t)1 << 20)

// --- reading -------------------------------------------------------------------------------------
void dups_reader_open(struct dups_reader *reader, struct target *target)
{
	*reader = (struct dups_reader){ .target = target };
	reader->window = os_page_source.resize(NULL, 0, WINDOW_BYTES);
}

void dups_reader_close(struct dups_reader *reader)
{
	os_page_source.resize(reader->window, WINDOW_BYTES, 0);
}

// An image of ours serves up to its end; else the window is filled from here on.
static void reader_move(struct dups_reader *reader, uint64_t address, size_t n)
{
	const struct target_segment *segment = target_segment_at(reader->target, address);

	reader->start = address;
	reader->bytes = target_bytes(reader->target, address, n);
	if (reader->bytes) {
		reader->used = (size_t)(segment->contents_end - address);
		return;
	}
	reader->bytes = reader->window;
	reader->used = target_read_some(reader->target, address, reader->window, WINDOW_BYTES);
}

const uint8_t *dups_reader_bytes(struct dups_reader *reader, uint64_t address, uint64_t n,
                                 size_t *ret)
{
	uint64_t at = address - reader->start;

	if (n > WINDOW_BYTES)
		n = WINDOW_BYTES;
	if (at > reader->used || reader->used - at < n) {
		reader_move(reader, address, (size_t)n);
		at = 0;
	}
	*ret = (size_t)(n < reader->used ? n : reader->used);
	return reader->bytes + at;
}

// --- hashing -------------------------------------------------------------------------------------
// The two halves of a product, folded; the way of wyhash and its kin.
static uint64_t fold(uint64_t x, uint64_t y)
{
	unsigned __int128 product = (unsigned __int128)x * y;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_pair(uint64_t hash, uint64_t x, uint64_t y)
{
	return fold(x ^ 0xa0761d6478bd642full, y ^ hash ^ 0xe7037ed1a0b428dbull) ^ x;
}

// Pieces of a content, all but the last one of a multiple of 16 bytes.
static uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, size_t n)
{
	uint64_t words[2];

	for (; n >= sizeof(words); bytes += sizeof(words), n -= sizeof(words)) {
		memcpy(words, bytes, sizeof(words));
		hash = hash_pair(hash, words[0], words[1]);
	}
	if (!n)
		return hash;
	memset(words, 0, sizeof(words));
	memcpy(words, bytes, n);
	return hash_pair(hash, words[0], words[1]);
}

// --- one block -----------------------------------------------------------------------------------
static bool is_std_string(struct dups_pass *pass, uint32_t block, const uint8_t *bytes, size_t n,
                          struct types_text *ret)
{
	const struct dups *dups = pass->dups;

	while (pass->string < dups->string_count && dups->strings[pass->string].block < block)
		pass->string++;
	for (size_t i = pass->string; i < dups->string_count && dups->strings[i].block == block;
	     i++) {
		uint64_t length = dups->strings[i].length;

		if (!length || length >= n || bytes[length])
			continue;
		*ret = (struct types_text){ TYPES_TEXT_STD_STRING, TYPES_UTF8, 0, length };
		if (types_text_length(bytes, length) < length)
			ret->encoding = TYPES_BYTES;
		return true;
	}
	return false;
}

static bool is_python(struct dups *dups, uint32_t block, const uint8_t *bytes, size_t n,
                      struct types_text *ret)
{
	const struct type *type;

	if (!types_knows_python(dups->look->types))
		return false;
	type = dups_type(dups, block);
	return type && types_text_python(dups->look->types, type, bytes, n,
	                                 dups_block(dups, block)->hb_size, ret);
}

// The bytes that the program asked for, where that is known.
static uint64_t block_bytes(const struct dups *dups, uint32_t block, bool *ret_is_exact)
{
	uint64_t bytes = dups_block(dups, block)->hb_size;

	*ret_is_exact = block < dups->look->heaps->block_count &&
	                heaps_requested(dups->look->heaps, block, &bytes);
	return bytes;
}

bool dups_content_read(struct dups_pass *pass, uint32_t block, struct dups_content *ret)
{
	struct dups *dups = pass->dups;
	uint64_t address = dups_block(dups, block)->hb_address;
	bool is_exact;
	uint64_t size = block_bytes(dups, block, &is_exact);
	size_t n;

	if (!size)
		return false;
	ret->bytes = dups_reader_bytes(&pass->reader, address, size, &n);
	ret->n = n;
	if (n < size && n < WINDOW_BYTES) {
		pass->unreadable_count++;
		return false;
	}
	if (is_std_string(pass, block, ret->bytes, n, &ret->text) ||
	    types_text_short_string(dups->look->types, address, ret->bytes, n, size, &ret->text) ||
	    is_python(dups, block, ret->bytes, n, &ret->text) ||
	    types_text_c(dups->look->types, ret->bytes, n, is_exact, &ret->text))
		return true;
	ret->text = (struct types_text){ TYPES_TEXT_NONE, TYPES_BYTES, 0, size };
	return !dups->settings->strings_only;
}

bool dups_content_hash(struct dups_pass *pass, uint32_t block, const struct dups_content *content,
                       uint64_t *ret)
{
	const struct types_text *text = &content->text;
	uint64_t hash = text->bytes << 16 | (uint64_t)text->kind << 8 | text->encoding;
	uint64_t address = dups_block(pass->dups, block)->hb_address;
	uint64_t at = text->offset, end = text->offset + text->bytes;
	const uint8_t *bytes;
	size_t n;

	if (end <= content->n) {
		*ret = hash_bytes(hash, content->bytes + at, text->bytes);
		return true;
	}
	for (; at < end; at += n) {
		bytes = dups_reader_bytes(&pass->reader, address + at, end - at, &n);
		if (n < end - at)
			n &= ~(size_t)15;
		if (!n)
			return false;
		hash = hash_bytes(hash, bytes, n);
	}
	*ret = hash;
	return true;
}
