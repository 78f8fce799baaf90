// SPDX-License-Identifier: MIT
// Blocks of libc's own malloc. They come from code that was bound to it in spite of us: libraries
// opened with RTLD_DEEPBIND, and libc where it calls itself. Their frees reach us. Called by slow.c
// for an address that is in no zone, so the cost does not matter; a wrong yes does: it would hand a
// stray pointer to libc's free.
#include <stdint.h>

#include "entry/entry_impl.h"
#include "os/inside.h"

// Exported by glibc; libcs without them have no blocks of their own that could reach us.
extern void __libc_free(void *block) __attribute__((weak));
extern void *__libc_realloc(void *block, size_t bytes) __attribute__((weak));

// glibc's malloc/malloc.c and arena.c: a block follows its chunk's two words. The second is the size
// with three flags; the first of a mapped chunk is its distance from the start of the pages.
struct chunk {
	size_t before;
	size_t size_and_flags;
};

// The start of a heap of an arena that is not the main one (arena.c).
struct heap_info {
	const void *arena;
	const struct heap_info *previous;
	size_t bytes, writable_bytes;
};

enum {
	CHUNK_PREVIOUS_IN_USE = 1,
	CHUNK_MAPPED = 2,
	CHUNK_OF_OTHER_ARENA = 4,
	CHUNK_FLAGS = 7,
	CHUNK_BYTES_MIN = 32,
	HEAP_BYTES_MAX = 64 << 20, // and its alignment
	PAGE_BYTES_MIN = 4096,
};

static size_t chunk_bytes(const struct chunk *chunk)
{
	return chunk->size_and_flags & ~(size_t)CHUNK_FLAGS;
}

// Mapped chunks start a mapping and fill whole pages of it.
static bool is_mapped_chunk(const struct chunk *chunk)
{
	size_t bytes = chunk_bytes(chunk);
	uintptr_t start = (uintptr_t)chunk - chunk->before;

	return chunk->before < HEAP_BYTES_MAX && !(start % PAGE_BYTES_MIN) &&
	       !((bytes + chunk->before) % PAGE_BYTES_MIN) && inside_readable_word((void *)start) &&
	       inside_readable_word((char *)start + chunk->before + bytes - sizeof(size_t));
}

// The chunk behind one that is in use says so.
static bool is_followed(const struct chunk *chunk)
{
	const struct chunk *next = (const void *)((uintptr_t)chunk + chunk_bytes(chunk));

	return inside_readable_word(&next->size_and_flags) &&
	       (next->size_and_flags & CHUNK_PREVIOUS_IN_USE);
}

static bool is_arena_chunk(const struct chunk *chunk)
{
	uintptr_t start = (uintptr_t)chunk & ~((uintptr_t)HEAP_BYTES_MAX - 1);
	const struct heap_info *heap = (const void *)start;

	if (!inside_readable_word(&heap->arena) || !inside_readable_word(&heap->writable_bytes))
		return false;
	return heap->arena && !((uintptr_t)heap->arena % sizeof(void *)) &&
	       inside_readable_word(heap->arena) && heap->bytes <= HEAP_BYTES_MAX &&
	       heap->bytes <= heap->writable_bytes &&
	       (uintptr_t)chunk - start + chunk_bytes(chunk) <= heap->bytes && is_followed(chunk);
}

static bool is_main_chunk(const struct chunk *chunk)
{
	uintptr_t start = (uintptr_t)chunk, end = inside_break_end();

	return start < end && chunk_bytes(chunk) <= end - start && start >= inside_break_start() &&
	       is_followed(chunk);
}

bool entry_libc_block(void *p, size_t *ret_bytes)
{
	const struct chunk *chunk = (const struct chunk *)p - 1;
	size_t bytes;

	if (!__libc_free || !__libc_realloc || (uintptr_t)p % 16 || (uintptr_t)p < PAGE_BYTES_MIN ||
	    !inside_readable_word(&chunk->before) || !inside_readable_word(&chunk->size_and_flags))
		return false;
	bytes = chunk_bytes(chunk);
	if (bytes < CHUNK_BYTES_MIN || bytes % 16 || bytes > PTRDIFF_MAX)
		return false;
	if (chunk->size_and_flags & CHUNK_MAPPED) {
		*ret_bytes = bytes - sizeof(struct chunk);
		return is_mapped_chunk(chunk);
	}
	*ret_bytes = bytes - sizeof(size_t);
	if (chunk->size_and_flags & CHUNK_OF_OTHER_ARENA)
		return is_arena_chunk(chunk);
	return is_main_chunk(chunk);
}

void entry_libc_free(void *p)
{
	__libc_free(p);
}

void *entry_libc_resize(void *p, size_t bytes)
{
	return __libc_realloc(p, bytes);
}
