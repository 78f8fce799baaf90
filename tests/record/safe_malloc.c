// SPDX-License-Identifier: MIT
// A malloc that a signal handler may call and leave by a jump: blocks are taken from one big mapping in
// turn, and never come back. Preloaded behind the recorder by test-signals.
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define ROOM_BYTES (UINT64_C(1) << 40)

static char *room;
static uint64_t used;

static char *make_room(void)
{
	char *got = mmap(NULL, ROOM_BYTES, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
	     *none = NULL;

	if (!__atomic_compare_exchange_n(&room, &none, got, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		munmap(got, ROOM_BYTES);
	return room;
}

// The length stands before the block.
static void *take(size_t alignment, size_t bytes)
{
	char *start = room ? room : make_room();
	uint64_t at = __atomic_fetch_add(&used, bytes + 2 * alignment + 32, __ATOMIC_SEQ_CST);
	uintptr_t block = ((uintptr_t)start + at % (ROOM_BYTES / 2) + 16 + alignment) &
	                  ~(uintptr_t)(alignment - 1);

	((size_t *)block)[-1] = bytes;
	return (void *)block;
}

static size_t bytes_of(void *block)
{
	return ((size_t *)block)[-1];
}

void *memalign(size_t alignment, size_t bytes)
{
	return take(alignment, bytes);
}

void *malloc(size_t bytes)
{
	return take(16, bytes);
}

void free(void *block)
{
	(void)block;
}

void *calloc(size_t count, size_t bytes)
{
	return memset(take(16, count * bytes), 0, count * bytes);
}

size_t malloc_usable_size(void *block)
{
	return bytes_of(block);
}

void *realloc(void *block, size_t bytes)
{
	void *moved;

	if (bytes > ROOM_BYTES / 4) {
		errno = ENOMEM;
		return NULL;
	}
	moved = take(16, bytes);
	if (block)
		memcpy(moved, block, bytes_of(block) < bytes ? bytes_of(block) : bytes);
	return moved;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
	return take(alignment, bytes);
}

int posix_memalign(void **ret, size_t alignment, size_t bytes)
{
	*ret = take(alignment, bytes);
	return 0;
}

void *valloc(size_t bytes)
{
	return take(4096, bytes);
}
