// SPDX-License-Identifier: MIT
// The calls that the short paths do not answer: the first call of all, caches that are empty or full,
// debugging features, zones of the program, and pointers that are nobody's. Called by malloc.c,
// aligned.c and new.c.
#include <errno.h>

#include "entry/entry_impl.h"
#include "guard/guard.h"
#include "record/record.h"

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

// Sizes above this are never served, so that differences of pointers fit ptrdiff_t.
static bool is_too_large(size_t bytes)
{
	return bytes > PTRDIFF_MAX;
}

static inline void start_once(void)
{
	if (ENTRY_UNLIKELY(!__atomic_load_n(&entry_started, __ATOMIC_ACQUIRE)))
		entry_start();
}

// Guard Malloc reports where a block came from.
static inline void called_from(void *caller)
{
	guard_caller = caller;
}

// The slow paths are jumped to from the functions that the program called, so what they record starts
// there; where a compiler calls instead, the function of ours is one more frame.
//
// Who watches is told of these calls only while a feature makes all of them come here.
static inline void tell(uint32_t type, malloc_zone_t *zone, uintptr_t arg2, uintptr_t arg3,
                        const void *result)
{
	if (entry_zone)
		malloc_logger_tell(type, malloc_registry_real(zone), arg2, arg3, result);
}

static void *allocate_in_zone(size_t bytes)
{
	void *block = is_too_large(bytes) ? NULL : entry_zone->malloc(entry_zone, bytes);

	tell(MALLOC_LOGGED_ALLOCATED, entry_zone, bytes, 0, block);
	return block ? block : no_memory();
}

// Of mallopt(M_PERTURB).
static inline void *perturbed(void *block)
{
	return ENTRY_UNLIKELY(entry_perturb) ? entry_perturb_new(block, 0) : block;
}

// In sampled mode nearly all calls are passed on untold: those up to the next sample, and frees of blocks
// that are none.
static inline bool passes_allocation(size_t bytes)
{
	return record_samples && !entry_zone && !entry_perturb && record_sample_passes(bytes);
}

static inline bool passes_free(const void *block)
{
	return record_skips_free((uintptr_t)block) && !entry_zone && !entry_perturb &&
	       malloc_word_at((uintptr_t)block) != MALLOC_NONE;
}

// Unless the preload that stands before these functions does.
#define TELL_NEW(kind, block, bytes, extra)                           \
	do {                                                          \
		if (!malloc_tells_before())                           \
			MALLOC_RECORD_NEW(kind, block, bytes, extra); \
	} while (0)
#define TELL_FREE(kind, block)                           \
	do {                                             \
		if (!malloc_tells_before())              \
			MALLOC_RECORD_FREE(kind, block); \
	} while (0)
#define TELL_RESIZED(old, moved, bytes)                           \
	do {                                                      \
		if (!malloc_tells_before())                       \
			MALLOC_RECORD_RESIZED(old, moved, bytes); \
	} while (0)

static __attribute__((noinline)) void *allocate_and_tell(size_t bytes, void *caller)
{
	void *block;

	called_from(caller);
	block = entry_zone ? allocate_in_zone(bytes) : perturbed(malloc_core_pass_allocate(bytes));
	TELL_NEW(RECORD_MALLOC, block, bytes, 0);
	return block;
}

void *entry_allocate(size_t bytes, void *caller)
{
	start_once();
	if (ENTRY_LIKELY(!entry_zone && !entry_records && !entry_perturb))
		return malloc_core_allocate(bytes);
	if (passes_allocation(bytes))
		return malloc_core_pass_allocate(bytes);
	return allocate_and_tell(bytes, caller);
}

void *entry_allocate_zeroed(size_t count, size_t bytes, void *caller)
{
	size_t all;
	void *block;

	start_once();
	if (ENTRY_LIKELY(!entry_zone && !entry_records))
		return malloc_core_allocate_zeroed(count, bytes);
	if (__builtin_mul_overflow(count, bytes, &all) || is_too_large(all))
		return no_memory();
	if (passes_allocation(all))
		return malloc_core_pass_allocate_zeroed(count, bytes);
	called_from(caller);
	block = entry_zone ? entry_zone->calloc(entry_zone, count, bytes)
	                   : malloc_core_pass_allocate_zeroed(count, bytes);
	tell(MALLOC_LOGGED_ALLOCATED_ZEROED, entry_zone, all, 0, block);
	TELL_NEW(RECORD_CALLOC, block, all, 0);
	return block ? block : no_memory();
}

static size_t power_of_two_above(size_t n)
{
	return n < 2 ? 1 : (size_t)1 << (64 - __builtin_clzl(n - 1));
}

static void *aligned_block(size_t alignment, size_t bytes)
{
	if (!entry_zone)
		return perturbed(malloc_core_allocate_aligned(alignment, bytes));
	if (alignment <= 16 && !entry_guards) // Guard Malloc may be told to align to less
		return entry_zone->malloc(entry_zone, bytes);
	return entry_zone->memalign(entry_zone, power_of_two_above(alignment), bytes);
}

void *entry_allocate_aligned(size_t alignment, size_t bytes, void *caller)
{
	void *block;

	start_once();
	if (ENTRY_LIKELY(!entry_zone && !entry_records))
		return perturbed(malloc_core_allocate_aligned(alignment, bytes));
	if (is_too_large(bytes))
		return no_memory();
	called_from(caller);
	block = aligned_block(alignment, bytes);
	TELL_NEW(RECORD_ALIGNED, block, bytes,
	         (uint32_t)__builtin_ctzl(power_of_two_above(alignment)));
	tell(MALLOC_LOGGED_ALLOCATED, entry_zone, bytes, 0, block);
	return block ? block : no_memory();
}

// Who answers for a pointer that somebody gives back.
enum owner {
	OWNER_CORE, // the core's own free and realloc, which also know what is wrong with it
	OWNER_ZONE,
	OWNER_LIBC,
};

static enum owner find_owner(void *block, malloc_zone_t **ret_zone)
{
	size_t bytes;

	start_once();
	if ((!entry_zone || entry_samples) && malloc_word_at((uintptr_t)block) != MALLOC_NONE)
		return OWNER_CORE;
	*ret_zone = malloc_zone_from_ptr(block);
	if (*ret_zone)
		return OWNER_ZONE;
	if (malloc_word_at((uintptr_t)block) == MALLOC_NONE && entry_libc_block(block, &bytes))
		return OWNER_LIBC;
	// Nobody's: the default zone says so.
	*ret_zone = entry_zone;
	return entry_zone ? OWNER_ZONE : OWNER_CORE;
}

static inline void tell_free(malloc_zone_t *zone, void *block)
{
	int saved_errno;

	if (ENTRY_LIKELY(!malloc_logger))
		return;
	saved_errno = errno;
	tell(MALLOC_LOGGED_FREED, zone, (uintptr_t)block, 0, NULL);
	errno = saved_errno;
}

static __attribute__((noinline)) void free_and_tell(void *block, void *caller)
{
	malloc_zone_t *zone;
	int saved_errno;

	if (!block)
		return;
	switch (find_owner(block, &zone)) {
	case OWNER_CORE:
		if (ENTRY_UNLIKELY(entry_perturb))
			entry_perturb_freed(block);
		if (entry_samples || entry_records) {
			TELL_FREE(RECORD_FREE, block);
			tell_free(entry_zone, block);
			malloc_core_pass_free(block);
		} else {
			malloc_core_free(block);
		}
		return;
	case OWNER_ZONE:
		TELL_FREE(RECORD_FREE, block);
		tell_free(zone, block);
		saved_errno = errno; // a zone of the program may change it
		called_from(caller);
		zone->free(zone, block);
		errno = saved_errno;
		return;
	case OWNER_LIBC:
		saved_errno = errno;
		entry_libc_free(block);
		errno = saved_errno;
		return;
	}
}

void entry_free(void *block, void *caller)
{
	if (passes_free(block))
		malloc_core_pass_free(block);
	else
		free_and_tell(block, caller);
}

static void *resize_in_zone(malloc_zone_t *zone, void *block, size_t bytes)
{
	void *moved = is_too_large(bytes) ? NULL : zone->realloc(zone, block, bytes);

	tell(MALLOC_LOGGED_REALLOCATED, zone, (uintptr_t)block, bytes, moved);
	return moved ? moved : no_memory();
}

static void *resize_in_core(void *block, size_t bytes)
{
	size_t before = entry_perturb ? malloc_core_size(block) : 0;
	void *moved = malloc_core_resize(block, bytes);

	if (ENTRY_UNLIKELY(entry_perturb))
		entry_perturb_new(moved, before);
	tell(MALLOC_LOGGED_REALLOCATED, entry_zone, (uintptr_t)block, bytes, moved);
	return moved;
}

void *entry_resize(void *block, size_t bytes, void *caller)
{
	malloc_zone_t *zone;
	void *moved;

	if (!block)
		return entry_allocate(bytes, caller);
	if (!bytes) {
		entry_free(block, caller);
		return NULL;
	}
	if (passes_free(block) && passes_allocation(bytes))
		return resize_in_core(block, bytes);
	switch (find_owner(block, &zone)) {
	case OWNER_CORE:
		TELL_FREE(RECORD_REALLOC_FREE, block);
		moved = resize_in_core(block, bytes);
		TELL_RESIZED(block, moved, bytes);
		return moved;
	case OWNER_ZONE:
		called_from(caller);
		TELL_FREE(RECORD_REALLOC_FREE, block);
		moved = resize_in_zone(zone, block, bytes);
		TELL_RESIZED(block, moved, bytes);
		return moved;
	case OWNER_LIBC:
		return entry_libc_resize(block, bytes);
	}
	return NULL;
}

// A size function cannot say 0 of a block, for that would mean that it is another's: of an empty block
// it says 1, where a feature keeps the size that was asked for.
static bool is_empty(const void *block)
{
	struct malloc_block found;

	if (entry_guards)
		return guard_block_empty(block);
	return malloc_block_at(block, &found) && found.note &&
	       (found.note->flags & MALLOC_NOTE_LIVE) && !found.note->requested_bytes;
}

size_t entry_usable_bytes(void *block)
{
	malloc_zone_t *zone;
	size_t bytes = 0;

	switch (find_owner(block, &zone)) {
	case OWNER_CORE:
		return malloc_core_size(block);
	case OWNER_ZONE:
		bytes = zone->size(zone, block);
		return bytes == 1 && is_empty(block) ? 0 : bytes;
	case OWNER_LIBC:
		entry_libc_block(block, &bytes);
		return bytes;
	}
	return 0;
}
