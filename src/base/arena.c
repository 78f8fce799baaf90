// SPDX-License-Identifier: MIT
// Arena over a page source: chunks of doubling size, bump allocation.
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CHUNK_BYTES ((size_t)64 << 10)
#define LAST_CHUNK_BYTES  ((size_t)4 << 20)
#define ALIGNMENT         16

struct arena_chunk {
	struct arena_chunk *older;
	size_t bytes, used; // both count this header
};

void arena_init(struct arena *arena, const struct page_source *source)
{
	*arena = (struct arena){ .ar_source = source };
}

void arena_deinit(struct arena *arena)
{
	while (arena->ar_chunk) {
		struct arena_chunk *chunk = arena->ar_chunk;

		arena->ar_chunk = chunk->older;
		arena->ar_source->resize(chunk, chunk->bytes, 0);
	}
	arena->ar_bytes = 0;
}

static size_t align_up(size_t bytes)
{
	return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static void chunk_add(struct arena *arena, size_t need)
{
	size_t header = align_up(sizeof(struct arena_chunk));
	size_t bytes = arena->ar_chunk ? arena->ar_chunk->bytes * 2 : FIRST_CHUNK_BYTES;
	struct arena_chunk *chunk;

	if (bytes > LAST_CHUNK_BYTES)
		bytes = LAST_CHUNK_BYTES;
	if (bytes < need + header)
		bytes = need + header;
	chunk = arena->ar_source->resize(NULL, 0, bytes);
	*chunk = (struct arena_chunk){ arena->ar_chunk, bytes, header };
	arena->ar_chunk = chunk;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	size_t need = align_up(bytes ? bytes : 1);
	void *memory;

	if (need < bytes)
		need = SIZE_MAX / 2; // cannot be had: the source ends the program
	if (!arena->ar_chunk || arena->ar_chunk->bytes - arena->ar_chunk->used < need)
		chunk_add(arena, need);
	memory = (char *)arena->ar_chunk + arena->ar_chunk->used;
	arena->ar_chunk->used += need;
	arena->ar_bytes += need;
	return memory;
}

void *arena_array(struct arena *arena, size_t count, size_t element_bytes)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, element_bytes, &bytes))
		bytes = SIZE_MAX / 2;
	return arena_alloc(arena, bytes);
}

char *arena_copy_n(struct arena *arena, const char *text, size_t bytes)
{
	size_t length = strnlen(text, bytes);
	char *copy = arena_alloc(arena, length + 1);

	memcpy(copy, text, length);
	return copy;
}

char *arena_copy(struct arena *arena, const char *text)
{
	return arena_copy_n(arena, text, strlen(text));
}

char *arena_format(struct arena *arena, const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0)
		return arena_copy(arena, "");
	text = arena_alloc(arena, (size_t)length + 1);
	va_start(arguments, format);
	vsnprintf(text, (size_t)length + 1, format, arguments);
	va_end(arguments);
	return text;
}
