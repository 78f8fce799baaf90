// SPDX-License-Identifier: MIT
// Writes a heap of glibc into byte buffers: a module's data with malloc_state and malloc_par, a brk
// area, and one more mapping. Layouts are those of malloc/malloc.c: 2.26, 2.27 and later, 2.43.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "heaps/heaps.h"
#include "target/target.h"

enum {
	TOY_DATA_BYTES = 16 << 10,
	TOY_HEAP_BYTES = 256 << 10,
	TOY_MAP_BYTES = 128 << 10,
	TOY_ARENA = 0x400, // in the data
	TOY_PARAMETERS = 0x2000,
};

struct toy_form {
	unsigned word;
	unsigned bins; // offset in malloc_state
	unsigned fast; // offset of fastbinsY, 0 = none
	unsigned pad;  // between the ints of mp_ and mmapped_mem
	bool safe;     // links are protected
};

static const struct toy_form toy_226 = { 8, 104, 8, 0, false };
static const struct toy_form toy_231 = { 8, 112, 16, 0, false };
static const struct toy_form toy_236 = { 8, 112, 16, 4, true };
static const struct toy_form toy_243 = { 8, 24, 0, 4, true };
static const struct toy_form toy_i386 = { 4, 64, 12, 0, true };

struct toy {
	struct toy_form form;
	uint64_t data_at, heap_at, map_at;
	uint8_t *data, *heap, *map;
	uint64_t at; // where the next chunk goes
	uint64_t arena, parameters;
	struct target_segment segments[3];
	struct target_file libc;
	struct target *target;
};

static inline uint8_t *toy_byte(struct toy *toy, uint64_t address)
{
	if (address - toy->data_at < TOY_DATA_BYTES)
		return toy->data + (address - toy->data_at);
	if (address - toy->map_at < TOY_MAP_BYTES)
		return toy->map + (address - toy->map_at);
	return toy->heap + (address - toy->heap_at);
}

static inline void toy_put(struct toy *toy, uint64_t address, uint64_t value)
{
	memcpy(toy_byte(toy, address), &value, toy->form.word);
}

static inline uint64_t toy_get(struct toy *toy, uint64_t address)
{
	uint64_t value = 0;
	memcpy(&value, toy_byte(toy, address), toy->form.word);
	return value;
}

static inline void toy_put_int(struct toy *toy, uint64_t address, uint32_t value)
{
	memcpy(toy_byte(toy, address), &value, 4);
}

// What stands behind the bins: unsigned binmap[4], next, next_free, attached_threads, system_mem.
static inline uint64_t toy_next(const struct toy *toy)
{
	return toy->arena + toy->form.bins + 254 * toy->form.word + 16;
}

static inline uint64_t toy_bin(const struct toy *toy, unsigned bin) // 1 = unsorted
{
	return toy->arena + toy->form.bins + 2 * toy->form.word * (bin - 1) - 2 * toy->form.word;
}

static inline void toy_counters(struct toy *toy, uint32_t mapped, uint64_t mapped_bytes)
{
	uint64_t ints = toy->parameters - toy->form.pad - 16;
	toy_put_int(toy, ints, mapped);
	toy_put_int(toy, ints + 4, 65536);
	toy_put_int(toy, ints + 8, mapped);
	toy_put(toy, toy->parameters, mapped_bytes);
	toy_put(toy, toy->parameters + toy->form.word, mapped_bytes);
}

static inline void toy_init(struct toy *toy, const struct toy_form *form)
{
	unsigned word = form->word;
	memset(toy, 0, sizeof(*toy));
	toy->form = *form;
	toy->data_at = word == 8 ? 0x7f0000100000 : 0xf7000000;
	toy->heap_at = word == 8 ? 0x555555560000 : 0x56560000;
	toy->map_at = word == 8 ? 0x7f0000300000 : 0xf7100000;
	toy->data = calloc(1, TOY_DATA_BYTES);
	toy->heap = calloc(1, TOY_HEAP_BYTES);
	toy->map = calloc(1, TOY_MAP_BYTES);
	toy->at = toy->heap_at + (word == 8 ? 0 : 8); // memory is aligned to 16
	toy->arena = toy->data_at + TOY_ARENA;
	toy->parameters = toy->data_at + TOY_PARAMETERS;
	for (unsigned bin = 1; bin <= 127; bin++) {
		toy_put(toy, toy_bin(toy, bin) + 2 * word, toy_bin(toy, bin));
		toy_put(toy, toy_bin(toy, bin) + 3 * word, toy_bin(toy, bin));
	}
	toy_put(toy, toy_next(toy), toy->arena);
	toy_put(toy, toy_next(toy) + 2 * word, 1);
	toy_counters(toy, 0, 0);
	toy_put(toy, toy->parameters + 2 * word, toy->heap_at);
	toy_put(toy, toy->parameters + 3 * word, 64);
	toy_put(toy, toy->parameters + 4 * word, 1032);
	toy_put(toy, toy->parameters + 5 * word, form->bins == 24 ? 16 : 7);
}

// A chunk in use; returns its memory.
static inline uint64_t toy_block(struct toy *toy, uint64_t chunk_bytes)
{
	uint64_t chunk = toy->at;
	toy_put(toy, chunk + toy->form.word, chunk_bytes | 1);
	toy->at += chunk_bytes;
	return chunk + 2 * toy->form.word;
}

// Puts a used block into a bin, in front. The chunk behind it must exist.
static inline void toy_free(struct toy *toy, uint64_t memory, unsigned bin)
{
	unsigned word = toy->form.word;
	uint64_t chunk = memory - 2 * word, size = toy_get(toy, chunk + word) & ~7ull;
	uint64_t head = toy_bin(toy, bin), first = toy_get(toy, head + 2 * word);
	toy_put(toy, memory, first);
	toy_put(toy, memory + word, head);
	toy_put(toy, first + 3 * word, chunk);
	toy_put(toy, head + 2 * word, chunk);
	toy_put(toy, chunk + size, size);
	toy_put(toy, chunk + size + word, toy_get(toy, chunk + size + word) & ~1ull);
}

static inline uint64_t toy_protect(const struct toy *toy, uint64_t position, uint64_t link)
{
	return toy->form.safe ? link ^ position >> 12 : link;
}

static inline void toy_fastbin(struct toy *toy, uint64_t memory)
{
	unsigned word = toy->form.word;
	uint64_t size = toy_get(toy, memory - word) & ~7ull;
	uint64_t list = toy->arena + toy->form.fast + ((size >> (word == 8 ? 4 : 3)) - 2) * word;
	toy_put(toy, memory, toy_protect(toy, memory, toy_get(toy, list)));
	toy_put(toy, list, memory - 2 * word);
}

// Ends the brk area with the top.
static inline void toy_close(struct toy *toy)
{
	unsigned word = toy->form.word;
	uint64_t end = toy->heap_at + TOY_HEAP_BYTES;
	toy_put(toy, toy->at + word, (end - toy->at) | 1);
	toy_put(toy, toy->arena + toy->form.bins - 2 * word, toy->at);
	toy_put(toy, toy_next(toy) + 3 * word, TOY_HEAP_BYTES);
	toy_put(toy, toy_next(toy) + 4 * word, TOY_HEAP_BYTES);
}

static inline struct heaps *toy_read(struct toy *toy)
{
	struct heaps *heaps = NULL;
	toy->libc.path = "/usr/lib/libc.so.6";
	struct target_segment *segment = toy->segments;
	*segment++ = (struct target_segment){ .start = toy->heap_at,
		                              .end = toy->heap_at + TOY_HEAP_BYTES,
		                              .name = "[heap]",
		                              .image = toy->heap };
	*segment++ = (struct target_segment){ .start = toy->data_at,
		                              .end = toy->data_at + TOY_DATA_BYTES,
		                              .file = &toy->libc,
		                              .image = toy->data };
	*segment++ = (struct target_segment){ .start = toy->map_at,
		                              .end = toy->map_at + TOY_MAP_BYTES,
		                              .image = toy->map };
	for (unsigned i = 0; i < 3; i++) {
		toy->segments[i].protection = TARGET_READ | TARGET_WRITE;
		toy->segments[i].readable = true;
		toy->segments[i].contents_end = toy->segments[i].end;
	}
	toy->target = target_from_segments(toy->segments, 3, toy->form.word);
	if (heaps_read(toy->target, NULL, &heaps))
		return NULL;
	return heaps;
}

static inline void toy_deinit(struct toy *toy, struct heaps *heaps)
{
	heaps_close(heaps);
	target_close(toy->target);
	free(toy->data);
	free(toy->heap);
	free(toy->map);
}
