// SPDX-License-Identifier: MIT
// Blocks with an alignment, by the rules of each function: posix_memalign of POSIX, aligned_alloc of
// C17 as glibc has it since 2.38, memalign, valloc and pvalloc as glibc has them. Called by the program.
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "entry/entry_impl.h"

static bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

MALLOC_EXPORT int posix_memalign(void **ret, size_t alignment, size_t bytes)
{
	int saved_errno = errno;
	void *block;

	if (alignment % sizeof(void *) || !is_power_of_two(alignment))
		return EINVAL;
	block = entry_allocate_aligned(alignment, bytes, ENTRY_CALLER);
	errno = saved_errno;
	if (!block)
		return ENOMEM;
	*ret = block;
	return 0;
}

MALLOC_EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
	if (is_power_of_two(alignment))
		return entry_allocate_aligned(alignment, bytes, ENTRY_CALLER);
	errno = EINVAL;
	return NULL;
}

// An alignment that is no power of two is rounded up to one, if there is one.
MALLOC_EXPORT void *memalign(size_t alignment, size_t bytes)
{
	if (alignment <= SIZE_MAX / 2 + 1)
		return entry_allocate_aligned(alignment, bytes, ENTRY_CALLER);
	errno = EINVAL;
	return NULL;
}

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

MALLOC_EXPORT void *valloc(size_t bytes)
{
	return entry_allocate_aligned(page_bytes(), bytes, ENTRY_CALLER);
}

MALLOC_EXPORT void *pvalloc(size_t bytes)
{
	size_t page = page_bytes(), rounded;

	if (__builtin_add_overflow(bytes, page - 1, &rounded)) {
		errno = ENOMEM;
		return NULL;
	}
	rounded &= ~(page - 1);
	return entry_allocate_aligned(page, rounded ? rounded : page, ENTRY_CALLER);
}
