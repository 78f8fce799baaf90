// SPDX-License-Identifier: MIT
// malloc and its family: the program's own answers, the recorder hears of it. Called by the program
// and by the C library.
//
// An allocation is told of after malloc gave the block and a free before malloc gets it, so that the
// order of the events at one address is true (layout/record.h). A realloc is a free and an allocation;
// when it fails the old block is told of once more, with the size that malloc says it has.
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "interpose/interpose_impl.h"

#define LIKELY INTERPOSE_LIKELY

// The recorder may be switched off by another thread meanwhile.
#define HOOK(name) __atomic_load_n(&interpose_hooks.name, __ATOMIC_RELAXED)

// In the function that the program called, so that the recorder begins with its caller.
#define TELL_ALLOCATED(kind, block, bytes, extra)                                  \
	do {                                                                       \
		__typeof__(interpose_hooks.allocated) told_ = HOOK(allocated);     \
		if (told_ && (block) && !record_skips_allocation(bytes)) {         \
			const struct record_position at_ = RECORD_POSITION_HERE(); \
			told_(kind, (uint64_t)(block), bytes, extra, &at_);        \
		}                                                                  \
	} while (0)

#define TELL_FREED(kind, block)                                                             \
	do {                                                                                \
		__typeof__(interpose_hooks.freed) told_ = HOOK(freed);                      \
		if (told_ && !interpose_deletes && !record_skips_free((uint64_t)(block))) { \
			const struct record_position at_ = RECORD_POSITION_HERE();          \
			told_(kind, (uint64_t)(block), &at_);                               \
		}                                                                           \
	} while (0)

static unsigned log2_of(size_t alignment)
{
	return alignment ? 63 - (unsigned)__builtin_clzll(alignment) : 0;
}

// --- before the start -----------------------------------------------------------------------------
// Whether the call must be answered from early memory.
static bool is_early(void)
{
	if (LIKELY(interpose_started))
		return false;
	if (interpose_is_starting())
		return true;
	interpose_start();
	return false;
}

static __attribute__((noinline)) void *early_zeroed(size_t count, size_t bytes)
{
	size_t product;

	if (__builtin_mul_overflow(count, bytes, &product))
		return NULL;
	return interpose_early_allocate(product, 0); // was never used before
}

static __attribute__((noinline)) void *early_resize(void *block, size_t bytes)
{
	void *moved = interpose_started ? interpose_real.malloc(bytes)
	                                : interpose_early_allocate(bytes, 0);
	size_t old = block ? interpose_early_bytes(block) : 0;

	if (moved && block)
		memcpy(moved, block, old < bytes ? old : bytes);
	return moved;
}

// --- the short way --------------------------------------------------------------------------------
// Nearly all calls of a program that is recorded by samples, and all of one that is not recorded, are a
// test and a jump. So are the calls of the functions that tell: they find the stack of the caller.
//
// The functions that tell are called with the bytes taken off the distance to the next sample.
static void *malloc_and_tell(size_t bytes);
static void free_and_tell(void *block);
static void *calloc_and_tell(size_t count, size_t bytes);
static void *realloc_and_tell(void *block, size_t bytes);

static struct interpose_ways ways __attribute__((aligned(64))) = {
	malloc_and_tell,
	free_and_tell,
	calloc_and_tell,
	realloc_and_tell,
};

void interpose_malloc_shorten(void)
{
	ways = (struct interpose_ways){ interpose_real.malloc, interpose_real.free,
		                        interpose_real.calloc, interpose_real.realloc };
}

static inline bool is_sample(const void *block)
{
	return record_sample_filter[record_sample_slot((uint64_t)block)];
}

// Whether nothing is told here. What is jumped to then sees the program as its caller; this thread takes
// the short way from now on.
static inline bool forwards(void)
{
	if (!interpose_forwards)
		return false;
	record_sample_distance = RECORD_SAMPLE_NEVER;
	return true;
}

// --- the family -----------------------------------------------------------------------------------
static __attribute__((noinline)) void *malloc_and_tell(size_t bytes)
{
	void *block;

	record_sample_give_back(bytes);
	if (is_early())
		return interpose_early_allocate(bytes, 0);
	if (forwards())
		return interpose_real.malloc(bytes);
	block = interpose_real.malloc(bytes);
	TELL_ALLOCATED(RECORD_MALLOC, block, bytes, 0);
	return block;
}

INTERPOSE_EXPORT void *malloc(size_t bytes)
{
	return LIKELY(record_sample_take(bytes)) ? ways.malloc(bytes) : malloc_and_tell(bytes);
}

static __attribute__((noinline)) void *calloc_and_tell(size_t count, size_t bytes)
{
	void *block;

	record_sample_give_back(count * bytes);
	if (is_early())
		return early_zeroed(count, bytes);
	if (forwards())
		return interpose_real.calloc(count, bytes);
	block = interpose_real.calloc(count, bytes);
	TELL_ALLOCATED(RECORD_CALLOC, block, count * bytes, 0);
	return block;
}

INTERPOSE_EXPORT void *calloc(size_t count, size_t bytes)
{
	return LIKELY(record_sample_take(count * bytes)) ? ways.calloc(count, bytes)
	                                                 : calloc_and_tell(count, bytes);
}

static __attribute__((noinline)) void free_and_tell(void *block)
{
	if (!block || !LIKELY(interpose_started) || interpose_early_owns(block))
		return;
	TELL_FREED(RECORD_FREE, block);
	interpose_real.free(block);
}

INTERPOSE_EXPORT void free(void *block)
{
	if (LIKELY(!is_sample(block)))
		ways.free(block);
	else
		free_and_tell(block);
}

// In one frame with who calls it, so that positions are right.
static inline __attribute__((always_inline)) void *resize(void *block, size_t bytes)
{
	void *moved;

	if (!block) {
		moved = interpose_real.realloc(NULL, bytes);
		TELL_ALLOCATED(RECORD_MALLOC, moved, bytes, 0);
		return moved;
	}
	TELL_FREED(RECORD_REALLOC_FREE, block);
	moved = interpose_real.realloc(block, bytes);
	if (LIKELY(moved))
		TELL_ALLOCATED(RECORD_REALLOC, moved, bytes, 0);
	else if (bytes)
		TELL_ALLOCATED(RECORD_REALLOC, block, interpose_real.malloc_usable_size(block), 0);
	return moved;
}

static __attribute__((noinline)) void *realloc_and_tell(void *block, size_t bytes)
{
	record_sample_give_back(bytes);
	if (is_early() || interpose_early_owns(block))
		return early_resize(block, bytes);
	return forwards() ? interpose_real.realloc(block, bytes) : resize(block, bytes);
}

INTERPOSE_EXPORT void *realloc(void *block, size_t bytes)
{
	return LIKELY(record_sample_take(bytes)) && !is_sample(block)
	               ? ways.realloc(block, bytes)
	               : realloc_and_tell(block, bytes);
}

INTERPOSE_EXPORT void *reallocarray(void *block, size_t count, size_t bytes)
{
	size_t product;

	if (__builtin_mul_overflow(count, bytes, &product)) {
		errno = ENOMEM;
		return NULL;
	}
	if (is_early() || interpose_early_owns(block))
		return early_resize(block, product);
	return forwards() ? interpose_real.realloc(block, product) : resize(block, product);
}

#define ALIGNED(name)                                                             \
	INTERPOSE_EXPORT void *name(size_t alignment, size_t bytes)               \
	{                                                                         \
		void *block;                                                      \
                                                                                  \
		if (is_early())                                                   \
			return interpose_early_allocate(bytes, alignment);        \
		if (!interpose_real.name) {                                       \
			errno = ENOMEM;                                           \
			return NULL;                                              \
		}                                                                 \
		if (forwards())                                                   \
			return interpose_real.name(alignment, bytes);             \
		block = interpose_real.name(alignment, bytes);                    \
		TELL_ALLOCATED(RECORD_ALIGNED, block, bytes, log2_of(alignment)); \
		return block;                                                     \
	}

ALIGNED(memalign)
ALIGNED(aligned_alloc)

INTERPOSE_EXPORT int posix_memalign(void **ret, size_t alignment, size_t bytes)
{
	void *block = NULL;
	int error;

	if (is_early()) {
		*ret = interpose_early_allocate(bytes, alignment);
		return *ret ? 0 : ENOMEM;
	}
	if (!interpose_real.posix_memalign)
		return ENOMEM;
	if (forwards())
		return interpose_real.posix_memalign(ret, alignment, bytes);
	error = interpose_real.posix_memalign(&block, alignment, bytes);
	if (error)
		return error;
	*ret = block;
	TELL_ALLOCATED(RECORD_ALIGNED, block, bytes, log2_of(alignment));
	return 0;
}

enum { PAGE_SHIFT = 12, PAGE = 1 << PAGE_SHIFT };

#define PAGES(name)                                                       \
	INTERPOSE_EXPORT void *name(size_t bytes)                         \
	{                                                                 \
		void *block;                                              \
                                                                          \
		if (is_early())                                           \
			return interpose_early_allocate(bytes, PAGE);     \
		if (!interpose_real.name) {                               \
			errno = ENOMEM;                                   \
			return NULL;                                      \
		}                                                         \
		if (forwards())                                           \
			return interpose_real.name(bytes);                \
		block = interpose_real.name(bytes);                       \
		TELL_ALLOCATED(RECORD_ALIGNED, block, bytes, PAGE_SHIFT); \
		return block;                                             \
	}

PAGES(valloc)
PAGES(pvalloc)

// Other names of free: glibc has the first for old programs only, and C23 the others, where the size is a
// promise.
INTERPOSE_EXPORT void cfree(void *block);
INTERPOSE_EXPORT void free_sized(void *block, size_t bytes);
INTERPOSE_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes);

INTERPOSE_EXPORT void cfree(void *block)
{
	free_and_tell(block);
}

INTERPOSE_EXPORT void free_sized(void *block, size_t bytes)
{
	(void)bytes;
	free_and_tell(block);
}

INTERPOSE_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes)
{
	(void)alignment;
	(void)bytes;
	free_and_tell(block);
}
