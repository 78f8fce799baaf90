// SPDX-License-Identifier: MIT
// The typed mirrors of the functions that allocate. Our zones make no use of the type; a zone of the
// program that says version 16 gets it.
#include "malloc/malloc.h"

#include <stdlib.h>

static bool is_typed(const malloc_zone_t *zone)
{
	return zone->version >= 16;
}

MALLOC_EXPORT void *malloc_type_zone_malloc(malloc_zone_t *zone, size_t size, malloc_type_id_t type)
{
	zone = malloc_registry_real(zone);
	if (is_typed(zone) && zone->malloc_type_malloc)
		return zone->malloc_type_malloc(zone, size, type);
	return malloc_zone_malloc(zone, size);
}

MALLOC_EXPORT void *malloc_type_zone_calloc(malloc_zone_t *zone, size_t count, size_t size,
                                            malloc_type_id_t type)
{
	zone = malloc_registry_real(zone);
	if (is_typed(zone) && zone->malloc_type_calloc)
		return zone->malloc_type_calloc(zone, count, size, type);
	return malloc_zone_calloc(zone, count, size);
}

MALLOC_EXPORT void malloc_type_zone_free(malloc_zone_t *zone, void *ptr, malloc_type_id_t type)
{
	(void)type;
	malloc_zone_free(zone, ptr);
}

MALLOC_EXPORT void *malloc_type_zone_realloc(malloc_zone_t *zone, void *ptr, size_t size,
                                             malloc_type_id_t type)
{
	zone = malloc_registry_real(zone);
	if (is_typed(zone) && zone->malloc_type_realloc)
		return zone->malloc_type_realloc(zone, ptr, size, type);
	return malloc_zone_realloc(zone, ptr, size);
}

MALLOC_EXPORT void *malloc_type_zone_valloc(malloc_zone_t *zone, size_t size, malloc_type_id_t type)
{
	(void)type;
	return malloc_zone_valloc(zone, size);
}

MALLOC_EXPORT void *malloc_type_zone_memalign(malloc_zone_t *zone, size_t alignment, size_t size,
                                              malloc_type_id_t type)
{
	zone = malloc_registry_real(zone);
	if (is_typed(zone) && zone->malloc_type_memalign)
		return zone->malloc_type_memalign(zone, alignment, size, type);
	return malloc_zone_memalign(zone, alignment, size);
}

MALLOC_EXPORT void *malloc_type_zone_malloc_with_options(malloc_zone_t *zone, size_t align,
                                                         size_t size, malloc_options_t options,
                                                         malloc_type_id_t type)
{
	zone = malloc_registry_real(zone ? zone : &malloc_virtual_zone);
	if (is_typed(zone) && zone->malloc_type_malloc_with_options)
		return zone->malloc_type_malloc_with_options(zone, align, size, options, type);
	return malloc_zone_malloc_with_options(zone, align, size, options);
}

MALLOC_EXPORT unsigned malloc_type_zone_batch_malloc(malloc_zone_t *zone, size_t size,
                                                     void **results, unsigned count,
                                                     malloc_type_id_t type)
{
	(void)type;
	return malloc_zone_batch_malloc(zone, size, results, count);
}

MALLOC_EXPORT void *malloc_type_malloc(size_t size, malloc_type_id_t type)
{
	void *block = malloc(size);

	(void)type;
	if (malloc_tells_before())
		MALLOC_RECORD_NEW(RECORD_MALLOC, block, size, 0);
	return block;
}

MALLOC_EXPORT void *malloc_type_calloc(size_t count, size_t size, malloc_type_id_t type)
{
	void *block = calloc(count, size);

	(void)type;
	if (malloc_tells_before())
		MALLOC_RECORD_NEW(RECORD_CALLOC, block, count * size, 0);
	return block;
}

MALLOC_EXPORT void malloc_type_free(void *ptr, malloc_type_id_t type)
{
	(void)type;
	if (malloc_tells_before())
		MALLOC_RECORD_FREE(RECORD_FREE, ptr);
	free(ptr);
}

MALLOC_EXPORT void *malloc_type_realloc(void *ptr, size_t size, malloc_type_id_t type)
{
	void *block;

	(void)type;
	if (malloc_tells_before())
		MALLOC_RECORD_FREE(RECORD_REALLOC_FREE, ptr);
	block = realloc(ptr, size);
	if ((block || size) && malloc_tells_before())
		MALLOC_RECORD_RESIZED(ptr, block, size);
	return block;
}

MALLOC_EXPORT void *malloc_type_valloc(size_t size, malloc_type_id_t type)
{
	return malloc_type_zone_valloc(&malloc_virtual_zone, size, type);
}

MALLOC_EXPORT void *malloc_type_aligned_alloc(size_t alignment, size_t size, malloc_type_id_t type)
{
	void *block = aligned_alloc(alignment, size);

	(void)type;
	if (malloc_tells_before())
		MALLOC_RECORD_NEW(RECORD_ALIGNED, block, size,
		                  alignment ? (uint32_t)__builtin_ctzl(alignment) : 0);
	return block;
}

MALLOC_EXPORT int malloc_type_posix_memalign(void **ret, size_t alignment, size_t size,
                                             malloc_type_id_t type)
{
	int error = posix_memalign(ret, alignment, size);

	(void)type;
	if (!error && malloc_tells_before())
		MALLOC_RECORD_NEW(RECORD_ALIGNED, *ret, size, (uint32_t)__builtin_ctzl(alignment));
	return error;
}
