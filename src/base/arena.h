// SPDX-License-Identifier: MIT
// Objects that die together: an arena hands out zeroed memory and gives
// everything back in one call. Not thread-safe: one owner at a time.
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/pages.h"

struct arena_chunk;

struct arena {
	const struct page_source *ar_source;
	struct arena_chunk *ar_chunk; // newest first
	size_t ar_bytes;              // handed out so far
};

void arena_init(struct arena *arena, const struct page_source *source);
void arena_deinit(struct arena *arena);

// Zeroed, aligned to 16; never NULL (see pages.h). A size of 0 gives a valid unique pointer.
void *arena_alloc(struct arena *arena, size_t bytes);

// Zeroed array; ends like an exhausted source when count * element_bytes overflows.
void *arena_array(struct arena *arena, size_t count, size_t element_bytes);

char *arena_copy(struct arena *arena, const char *text);
char *arena_copy_n(struct arena *arena, const char *text, size_t bytes); // stops at a NUL
char *arena_format(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
