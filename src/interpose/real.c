// SPDX-License-Identifier: MIT
// What the functions of this library forward to: the next of the same name in the order of the
// program's libraries. Called by start.c once.
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include "interpose/interpose_impl.h"

struct interpose_functions interpose_real;

// dlsym allocates where it fails, and what it calls then finds nothing to forward to yet.
enum { EARLY_ALIGNMENT = 16 };

_Alignas(EARLY_ALIGNMENT) char interpose_early[INTERPOSE_EARLY_BYTES];
static size_t early_used;

struct early_header {
	size_t bytes, unused;
};

void *interpose_early_allocate(size_t bytes, size_t alignment)
{
	size_t mask = (alignment < EARLY_ALIGNMENT ? EARLY_ALIGNMENT : alignment) - 1;
	size_t start = early_used + sizeof(struct early_header);
	uintptr_t block = ((uintptr_t)interpose_early + start + mask) & ~mask;
	struct early_header *header = (struct early_header *)block - 1;
	size_t end;

	if (__builtin_add_overflow(block - (uintptr_t)interpose_early, bytes, &end) ||
	    end > INTERPOSE_EARLY_BYTES)
		return NULL;
	header->bytes = bytes;
	early_used = end;
	return (void *)block;
}

bool interpose_early_is_unused(void)
{
	return !early_used;
}

size_t interpose_early_bytes(const void *block)
{
	return ((const struct early_header *)block)[-1].bytes;
}

void *interpose_next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

#define FIND(name) interpose_real.name = (__typeof__(interpose_real.name))interpose_next(#name)

void interpose_real_find(void)
{
	FIND(malloc);
	FIND(calloc);
	FIND(realloc);
	FIND(free);
	FIND(memalign);
	FIND(aligned_alloc);
	FIND(posix_memalign);
	FIND(valloc);
	FIND(pvalloc);
	FIND(malloc_usable_size);
}

// glibc's blocks start 32 bytes apart or more (malloc/malloc.c, MINSIZE), whatever their size.
uint32_t interpose_real_distance(void)
{
	enum { GLIBC_DISTANCE = 32 };
	void *glibc = dlsym(RTLD_DEFAULT, "__libc_malloc");

	return glibc && glibc == (void *)interpose_real.malloc ? GLIBC_DISTANCE : 0;
}
