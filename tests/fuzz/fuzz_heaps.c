// SPDX-License-Identifier: MIT
// Fuzzes the readers of heaps: a whole heap is written, the input overwrites words of it. The first
// byte chooses the release, then each 12 bytes are a place (4) and a word (8). Every block must
// be found again at both ends, whatever the heap looked like.
#include "../unit/unit.h"

#include "../unit/toy_heap.h"

enum { FUZZ_BLOCKS = 60, FUZZ_EDIT_BYTES = 12, FUZZ_EDITS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const struct toy_form *const fuzz_forms[] = {
	&toy_226, &toy_231, &toy_236, &toy_243, &toy_i386,
};

// A cache with two chains, a fastbin, bins and mapped chunks, so that each part has work.
static void fuzz_fill(struct toy *toy, const struct toy_form *form)
{
	uint64_t blocks[FUZZ_BLOCKS];
	toy_init(toy, form);
	uint64_t cache = toy_block(toy, form->bins == 24 ? 0x300 : form->word == 4 ? 0x190 : 0x290);
	for (unsigned i = 0; i < FUZZ_BLOCKS; i++)
		blocks[i] = toy_block(toy, 48 + 16 * (i % 4));
	toy_block(toy, 0x250);
	toy_close(toy);
	*toy_byte(toy, cache + 2) = 1;
	toy_put(toy, blocks[0], toy_protect(toy, blocks[0], 0));
	toy_put(toy, cache + (form->bins == 24 ? 152 : 128) + form->word, blocks[0]);
	toy_free(toy, blocks[10], 1);
	toy_free(toy, blocks[20], 4);
	toy_free(toy, blocks[30], 4);
	for (unsigned i = 40; i < 52 && form->fast; i += 4)
		toy_fastbin(toy, blocks[i]);
	unsigned header = form->word == 8 ? 0 : 8;
	toy_put(toy, toy->map_at + header + form->word, (0x5000 - header) | 2);
	toy_put(toy, toy->map_at + header, header);
	toy_counters(toy, 1, 0x5000);
}

static void fuzz_edit(struct toy *toy, const uint8_t *edit)
{
	uint32_t place;
	memcpy(&place, edit, 4);
	uint32_t offset = place >> 2;
	unsigned word = toy->form.word;
	uint8_t *buffer = place % 4 == 0 ? toy->data : place % 4 == 3 ? toy->map : toy->heap;
	uint32_t bytes = place % 4 == 0 ? 0x2100 : place % 4 == 3 ? TOY_MAP_BYTES : 0x3000;
	memcpy(buffer + offset % (bytes - word + 1), edit + 4, word);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	if (!count)
		return 0;
	struct toy toy;
	fuzz_fill(&toy, fuzz_forms[bytes[0] % 5]);
	for (size_t i = 1; i + FUZZ_EDIT_BYTES <= count && i < FUZZ_EDITS_MAX * FUZZ_EDIT_BYTES;
	     i += FUZZ_EDIT_BYTES)
		fuzz_edit(&toy, bytes + i);
	struct heaps *heaps = toy_read(&toy);
	if (!heaps)
		abort();
	for (size_t i = 0; i < heaps->block_count; i++) {
		const struct heap_block *block = &heaps->blocks[i];
		if (heaps_find(heaps, block->hb_address) != (ssize_t)i ||
		    heaps_find(heaps, block->hb_address + block->hb_size - 1) != (ssize_t)i)
			abort();
	}
	toy_deinit(&toy, heaps);
	return 0;
}
