// SPDX-License-Identifier: MIT
// The functions of the public header that allocate, free and tell what a pointer is: they resolve the
// default zone, ask what the version of a zone promises, and tell the logger.
#include "malloc/malloc_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

MALLOC_EXPORT malloc_logger_t *malloc_logger;
static __thread malloc_thread_options_t thread_options;

MALLOC_EXPORT malloc_thread_options_t malloc_get_thread_options(void)
{
	return thread_options;
}

MALLOC_EXPORT void malloc_set_thread_options(malloc_thread_options_t options)
{
	thread_options = options;
}

void malloc_logger_call(uint32_t type, const malloc_zone_t *zone, uintptr_t arg2, uintptr_t arg3,
                        const void *result)
{
	malloc_logger_t *logger = malloc_logger;

	if (logger && !thread_options.DisableMallocStackLogging)
		logger(type, (uintptr_t)zone, arg2, arg3, (uintptr_t)result, 1);
}

static void forget(const void *block)
{
	if (__builtin_expect(__atomic_load_n(&malloc_discharged_count, __ATOMIC_RELAXED), 0))
		malloc_discharge_forget(block);
}

static uint32_t log2_of(size_t power)
{
	return (uint32_t)__builtin_ctzl(power);
}

// --- blocks -----------------------------------------------------------------------------------------
MALLOC_EXPORT void *malloc_zone_malloc(malloc_zone_t *zone, size_t size)
{
	void *block;

	zone = malloc_registry_real(zone);
	block = zone->malloc(zone, size);
	MALLOC_RECORD_NEW(RECORD_MALLOC, block, size, 0);
	malloc_logger_tell(MALLOC_LOGGED_ALLOCATED, zone, size, 0, block);
	return block;
}

MALLOC_EXPORT void *malloc_zone_calloc(malloc_zone_t *zone, size_t num_items, size_t size)
{
	size_t bytes;
	void *block;

	zone = malloc_registry_real(zone);
	if (__builtin_mul_overflow(num_items, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	block = zone->calloc(zone, num_items, size);
	MALLOC_RECORD_NEW(RECORD_CALLOC, block, bytes, 0);
	malloc_logger_tell(MALLOC_LOGGED_ALLOCATED_ZEROED, zone, bytes, 0, block);
	return block;
}

MALLOC_EXPORT void *malloc_zone_valloc(malloc_zone_t *zone, size_t size)
{
	void *block;

	zone = malloc_registry_real(zone);
	block = zone->valloc(zone, size);
	MALLOC_RECORD_NEW(RECORD_ALIGNED, block, size, log2_of(PAGE_BYTES));
	malloc_logger_tell(MALLOC_LOGGED_ALLOCATED, zone, size, 0, block);
	return block;
}

MALLOC_EXPORT void *malloc_zone_realloc(malloc_zone_t *zone, void *ptr, size_t size)
{
	void *block;

	zone = malloc_registry_real(zone);
	if (ptr)
		forget(ptr);
	MALLOC_RECORD_FREE(RECORD_REALLOC_FREE, ptr);
	block = zone->realloc(zone, ptr, size);
	MALLOC_RECORD_RESIZED(ptr, block, size);
	malloc_logger_tell(MALLOC_LOGGED_REALLOCATED, zone, (uintptr_t)ptr, size, block);
	return block;
}

MALLOC_EXPORT void malloc_zone_free(malloc_zone_t *zone, void *ptr)
{
	zone = malloc_registry_real(zone);
	MALLOC_RECORD_FREE(RECORD_FREE, ptr);
	malloc_logger_tell(MALLOC_LOGGED_FREED, zone, (uintptr_t)ptr, 0, NULL);
	forget(ptr);
	zone->free(zone, ptr);
}

static bool is_alignment(size_t alignment)
{
	return alignment >= sizeof(void *) && !(alignment & (alignment - 1));
}

MALLOC_EXPORT void *malloc_zone_memalign(malloc_zone_t *zone, size_t alignment, size_t size)
{
	void *block;

	zone = malloc_registry_real(zone);
	if (!is_alignment(alignment) || zone->version < 5 || !zone->memalign)
		return NULL;
	block = zone->memalign(zone, alignment, size);
	MALLOC_RECORD_NEW(RECORD_ALIGNED, block, size, log2_of(alignment));
	malloc_logger_tell(MALLOC_LOGGED_ALLOCATED, zone, size, 0, block);
	return block;
}

static void *allocate_with_options(malloc_zone_t *zone, size_t align, size_t size, uint64_t options)
{
	bool clear = options & MALLOC_OPTION_CLEAR;
	void *block;

	if (zone->version >= 15 && zone->malloc_with_options)
		return zone->malloc_with_options(zone, align, size, options);
	if (align == MALLOC_ZONE_MALLOC_DEFAULT_ALIGN)
		return clear ? zone->calloc(zone, 1, size) : zone->malloc(zone, size);
	block = zone->version >= 5 && zone->memalign ? zone->memalign(zone, align, size) : NULL;
	return block && clear ? memset(block, 0, size) : block;
}

MALLOC_EXPORT void *malloc_zone_malloc_with_options(malloc_zone_t *zone, size_t align, size_t size,
                                                    malloc_options_t options)
{
	void *block;

	zone = malloc_registry_real(zone ? zone : &malloc_virtual_zone);
	if (!is_alignment(align))
		return NULL;
	if (align != MALLOC_ZONE_MALLOC_DEFAULT_ALIGN && (size & (align - 1)))
		return NULL;
	block = allocate_with_options(zone, align, size, options);
	MALLOC_RECORD_NEW(RECORD_ALIGNED, block, size, log2_of(align));
	malloc_logger_tell(options & MALLOC_OPTION_CLEAR ? MALLOC_LOGGED_ALLOCATED_ZEROED
	                                                 : MALLOC_LOGGED_ALLOCATED,
	                   zone, size, 0, block);
	return block;
}

MALLOC_EXPORT unsigned malloc_zone_batch_malloc(malloc_zone_t *zone, size_t size, void **results,
                                                unsigned count)
{
	unsigned got;

	zone = malloc_registry_real(zone);
	if (!zone->batch_malloc)
		return 0;
	got = zone->batch_malloc(zone, size, results, count);
	for (unsigned i = 0; (malloc_logger || malloc_records()) && i < got; i++) {
		MALLOC_RECORD_NEW(RECORD_MALLOC, results[i], size, 0);
		malloc_logger_tell(MALLOC_LOGGED_ALLOCATED, zone, size, 0, results[i]);
	}
	return got;
}

MALLOC_EXPORT void malloc_zone_batch_free(malloc_zone_t *zone, void **to_be_freed, unsigned count)
{
	bool watched = malloc_logger || malloc_records() ||
	               __atomic_load_n(&malloc_discharged_count, __ATOMIC_RELAXED);

	zone = malloc_registry_real(zone);
	for (unsigned i = 0; watched && i < count; i++) {
		if (!to_be_freed[i])
			continue;
		MALLOC_RECORD_FREE(RECORD_FREE, to_be_freed[i]);
		malloc_logger_tell(MALLOC_LOGGED_FREED, zone, (uintptr_t)to_be_freed[i], 0, NULL);
		forget(to_be_freed[i]);
	}
	if (zone->batch_free) {
		zone->batch_free(zone, to_be_freed, count);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		if (to_be_freed[i])
			zone->free(zone, to_be_freed[i]);
}

MALLOC_EXPORT void *reallocf(void *ptr, size_t size)
{
	void *block;

	if (malloc_tells_before())
		MALLOC_RECORD_FREE(RECORD_REALLOC_FREE, ptr);
	block = realloc(ptr, size);
	if (malloc_tells_before())
		MALLOC_RECORD_NEW(RECORD_REALLOC, block, size, 0);
	// realloc(ptr, 0) has freed it.
	if (!block && size)
		free(ptr);
	return block;
}

MALLOC_EXPORT void *reallocarrayf(void *ptr, size_t count, size_t size)
{
	size_t bytes;

	if (!__builtin_mul_overflow(count, size, &bytes))
		return reallocf(ptr, bytes);
	if (malloc_tells_before())
		MALLOC_RECORD_FREE(RECORD_FREE, ptr);
	free(ptr);
	errno = ENOMEM;
	return NULL;
}

// --- what a pointer is ------------------------------------------------------------------------------
static bool bin_has(const struct malloc_bin *bin, uintptr_t block)
{
	for (const uint64_t *at = bin->base; at < bin->top; at++)
		if (*at == block)
			return true;
	return false;
}

// Whether the calling thread freed the block and still has it at hand. The slab does not know that.
static bool is_cached_here(const void *block)
{
	uint32_t word = malloc_word_at((uintptr_t)block), class = word & 0xff;
	const struct malloc_zone_record *record;
	const struct malloc_zone_cache *cache;

	if (!word_is_slab(word) || class >= CLASS_COUNT)
		return false;
	if (!(word >> 16))
		return bin_has(&malloc_cache->bins[class], (uintptr_t)block);
	record = (const struct malloc_zone_record *)heapwright_malloc.zones + (word >> 16);
	cache = (const struct malloc_zone_cache *)malloc_cache->zone_caches;
	for (; cache; cache = (const struct malloc_zone_cache *)cache->next)
		if (cache->zone == word >> 16 && cache->generation == record->generation &&
		    bin_has(&cache->bins[class], (uintptr_t)block))
			return true;
	return false;
}

MALLOC_EXPORT malloc_zone_t *malloc_zone_from_ptr(const void *ptr)
{
	size_t bytes;
	malloc_zone_t *zone = malloc_registry_owner(ptr, &bytes);

	if (!zone || is_cached_here(ptr))
		return NULL;
	return zone == malloc_registry_first() ? &malloc_virtual_zone : zone;
}

MALLOC_EXPORT size_t malloc_size(const void *ptr)
{
	size_t bytes;

	return malloc_registry_owner(ptr, &bytes) && !is_cached_here(ptr) ? bytes : 0;
}

MALLOC_EXPORT size_t malloc_good_size(size_t size)
{
	malloc_zone_t *zone = malloc_registry_first();

	if (!zone->introspect || !zone->introspect->good_size)
		return malloc_core_good_size(size);
	return zone->introspect->good_size(zone, size);
}

MALLOC_EXPORT boolean_t malloc_zone_claimed_address(malloc_zone_t *zone, void *ptr)
{
	zone = malloc_registry_real(zone);
	if (!ptr)
		return false;
	if (zone->version < 10 || !zone->claimed_address)
		return true;
	return zone->claimed_address(zone, ptr);
}

struct claim {
	void *ptr;
	bool claimed;
};

static bool ask_claim(void *context, malloc_zone_t *zone)
{
	struct claim *claim = context;

	claim->claimed = malloc_zone_claimed_address(zone, claim->ptr);
	return !claim->claimed;
}

MALLOC_EXPORT boolean_t malloc_claimed_address(void *ptr)
{
	struct claim claim = { .ptr = ptr };

	if (!ptr)
		return false;
	malloc_registry_each(ask_claim, &claim);
	return claim.claimed;
}
