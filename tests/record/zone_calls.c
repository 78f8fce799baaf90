// SPDX-License-Identifier: MIT
// Calls of libheapwright's own functions, counted as calls.c counts those of malloc's family: each is one
// allocation or one free, whatever it calls itself. Run on that library by test-counts.
#include <stdio.h>
#include <stdlib.h>

#include "include/malloc/malloc.h"
#include "marked.h"

// Not in headers of the C library yet.
void free_sized(void *block, size_t bytes);
void free_aligned_sized(void *block, size_t alignment, size_t bytes);

enum { ROUNDS = 300, BYTES = MARKED_REST, LONGER = MARKED_REST + MARKED_STEP };

static int counts[64];

static void *marked(void *block, int kind)
{
	if (!block)
		abort();
	counts[kind]++;
	*(volatile uint64_t *)block = MARKED_WORD;
	return block;
}

static void *resized(void *block)
{
	counts[RECORD_REALLOC_FREE]++;
	return marked(block, RECORD_REALLOC);
}

static void *freed(void *block)
{
	counts[RECORD_FREE]++;
	return block;
}

static void typed(void)
{
	void *block = marked(malloc_type_malloc(BYTES, 1), RECORD_MALLOC);

	block = resized(malloc_type_realloc(block, LONGER, 1));
	malloc_type_free(freed(block), 1);
	free(freed(marked(malloc_type_calloc(1, BYTES, 1), RECORD_CALLOC)));
	free(freed(marked(malloc_type_aligned_alloc(64, BYTES, 1), RECORD_ALIGNED)));
	free(freed(marked(malloc_type_valloc(BYTES, 1), RECORD_ALIGNED)));
	if (malloc_type_posix_memalign(&block, 64, BYTES, 1))
		abort();
	free(freed(marked(block, RECORD_ALIGNED)));
}

static void others(void)
{
	void *block = marked(malloc(BYTES), RECORD_MALLOC);

	free_sized(freed(resized(reallocf(block, LONGER))), LONGER);
	block = marked(calloc(1, BYTES), RECORD_CALLOC);
	free_sized(freed(resized(reallocarrayf(block, 1, LONGER))), LONGER);
	block = marked(calloc(1, BYTES), RECORD_CALLOC);
	if (reallocarrayf(freed(block), SIZE_MAX, 2))
		abort();
	free_aligned_sized(freed(marked(aligned_alloc(64, BYTES), RECORD_ALIGNED)), 64, BYTES);
}

static void in_zone(malloc_zone_t *zone)
{
	void *block = marked(malloc_zone_malloc(zone, BYTES), RECORD_MALLOC);

	block = resized(malloc_zone_realloc(zone, block, LONGER));
	malloc_zone_free(zone, freed(block));
	free(freed(marked(malloc_zone_malloc(zone, BYTES), RECORD_MALLOC)));
	free(freed(marked(malloc_zone_memalign(zone, 64, BYTES), RECORD_ALIGNED)));
	block = marked(malloc_zone_calloc(zone, 1, BYTES), RECORD_CALLOC);
	free(freed(resized(realloc(block, LONGER))));
}

int main(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);

	for (int i = 0; i < ROUNDS; i++) {
		typed();
		others();
		in_zone(zone);
		in_zone(malloc_default_zone());
		malloc_zone_free(malloc_default_zone(),
		                 freed(marked(malloc(BYTES), RECORD_MALLOC)));
	}
	for (int i = 0; i < 64; i++)
		if (counts[i])
			printf("%d %d\n", i, counts[i]);
	return 0;
}
