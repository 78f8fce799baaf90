// SPDX-License-Identifier: MIT
// Growth of the arrays of base/vec.h: by half, at least a page.
#include "base/vec.h"

#include <stdint.h>

#define LEAST_BYTES 4096

void *vec_grow(const struct page_source *source, void *old, size_t element_bytes, size_t *capacity,
               size_t need)
{
	size_t count, bytes;
	void *grown;

	if (need <= *capacity)
		return old;
	count = *capacity + *capacity / 2;
	if (count < need)
		count = need;
	if (count < LEAST_BYTES / element_bytes)
		count = LEAST_BYTES / element_bytes;
	if (__builtin_mul_overflow(count, element_bytes, &bytes))
		bytes = SIZE_MAX / 2; // cannot be had: the source ends the program
	grown = source->resize(old, *capacity * element_bytes, bytes);
	*capacity = count;
	return grown;
}

void *vec_free(const struct page_source *source, void *old, size_t element_bytes, size_t capacity)
{
	if (old)
		source->resize(old, capacity * element_bytes, 0);
	return NULL;
}
