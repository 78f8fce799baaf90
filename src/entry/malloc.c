// SPDX-License-Identifier: MIT
// malloc, free, calloc, realloc and their nearest relatives, with the rules of POSIX and of glibc:
// malloc(0) is a block of its own, realloc(p, 0) frees, free keeps errno, and a size above PTRDIFF_MAX
// is ENOMEM. Called by the program.
#include <errno.h>
#include <stdlib.h>

#include "entry/entry_impl.h"

// Declared here because libc's headers have some of them only from a certain version or standard on.
size_t malloc_usable_size(void *block);
void cfree(void *block);
void free_sized(void *block, size_t bytes);
void free_aligned_sized(void *block, size_t alignment, size_t bytes);

MALLOC_EXPORT void *malloc(size_t bytes)
{
	void *block = malloc_fast(bytes);

	return ENTRY_LIKELY(block) ? block : entry_allocate(bytes, ENTRY_CALLER);
}

MALLOC_EXPORT void free(void *block)
{
	if (ENTRY_UNLIKELY(!malloc_fast_free(block)))
		entry_free(block, ENTRY_CALLER);
}

MALLOC_EXPORT void *calloc(size_t count, size_t bytes)
{
	return entry_allocate_zeroed(count, bytes, ENTRY_CALLER);
}

MALLOC_EXPORT void *realloc(void *block, size_t bytes)
{
	return entry_resize(block, bytes, ENTRY_CALLER);
}

MALLOC_EXPORT void *reallocarray(void *block, size_t count, size_t bytes)
{
	size_t all;

	if (__builtin_mul_overflow(count, bytes, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return entry_resize(block, all, ENTRY_CALLER);
}

MALLOC_EXPORT size_t malloc_usable_size(void *block)
{
	size_t bytes = malloc_fast_size(block);

	if (ENTRY_LIKELY(bytes))
		return bytes;
	return block ? entry_usable_bytes(block) : 0;
}

MALLOC_EXPORT void cfree(void *block)
{
	free(block);
}

// The size is a promise that we do not need: the block tells its own.
MALLOC_EXPORT void free_sized(void *block, size_t bytes)
{
	(void)bytes;
	free(block);
}

MALLOC_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes)
{
	(void)alignment;
	(void)bytes;
	free(block);
}
