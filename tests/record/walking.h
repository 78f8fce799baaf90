// SPDX-License-Identifier: MIT
// A preload whose malloc forwards to libc's and calls event() with where it was called from, and the
// tables that a walk of the stack fills. Included by one file of a library: oracle.c and
// bench/record/unwind/program_cost.c.
#pragma once

#include <sys/mman.h>

#include "record/unwind.h"

#define PUBLIC __attribute__((visibility("default")))

enum {
	WALKING_NODES = 1 << 24,
	WALKING_MODULES = 4096,
};

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

// Of each allocation and free, behind the allocation and before the free. By the file that includes this.
static void event(const struct record_position *at);

static void *map(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static struct record_header *walking_start(void)
{
	size_t nodes_bytes = WALKING_NODES * sizeof(struct record_node), offset = 65536;
	struct record_header *made =
		map(offset + nodes_bytes + WALKING_MODULES * sizeof(struct record_module));

	made->nodes_offset = offset;
	made->node_capacity = WALKING_NODES;
	made->modules_offset = offset + nodes_bytes;
	made->module_capacity = WALKING_MODULES;
	record_nodes_start(made);
	record_modules_start(made);
	return made;
}

// The position is taken first: it is that of the caller's call.
#define WALKING_WRAPPER(name, parameters, call)                     \
	PUBLIC void *name parameters                                \
	{                                                           \
		struct record_position at = RECORD_POSITION_HERE(); \
		void *block = call;                                 \
                                                                    \
		event(&at);                                         \
		return block;                                       \
	}

WALKING_WRAPPER(malloc, (size_t bytes), __libc_malloc(bytes))
WALKING_WRAPPER(calloc, (size_t count, size_t bytes), __libc_calloc(count, bytes))
WALKING_WRAPPER(realloc, (void *old, size_t bytes), __libc_realloc(old, bytes))
WALKING_WRAPPER(memalign, (size_t alignment, size_t bytes), __libc_memalign(alignment, bytes))
WALKING_WRAPPER(aligned_alloc, (size_t alignment, size_t bytes), __libc_memalign(alignment, bytes))

PUBLIC void free(void *block)
{
	struct record_position at = RECORD_POSITION_HERE();

	if (block)
		event(&at);
	__libc_free(block);
}
