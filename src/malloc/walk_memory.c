// SPDX-License-Identifier: MIT
// Memory of a walk over a zone: what is read from a process, in memory of the system that grows, and
// its sorting in place, for which libc's functions would allocate. Called by walk.c.
#include "malloc/malloc_impl.h"

#include <string.h>

// --- memory -----------------------------------------------------------------------------------------
// Room for more bytes behind used; what is there stays.
static bool buffer_reserve(struct malloc_buffer *buffer, size_t more)
{
	size_t wanted = buffer->bytes ? buffer->bytes : 1 << 16;
	void *memory;

	while (wanted < buffer->used + more)
		wanted *= 2;
	if (wanted == buffer->bytes)
		return true;
	memory = inside_map(wanted, PAGE_BYTES, INSIDE_READ_WRITE);
	if (!memory)
		return false;
	if (buffer->memory) {
		memcpy(memory, buffer->memory, buffer->used);
		inside_unmap(buffer->memory, buffer->bytes);
	}
	buffer->memory = memory;
	buffer->bytes = wanted;
	return true;
}

void malloc_buffer_release(struct malloc_buffer *buffer)
{
	if (buffer->memory)
		inside_unmap(buffer->memory, buffer->bytes);
}

kern_return_t malloc_buffer_read(const struct malloc_task *task, struct malloc_buffer *buffer,
                                 uint64_t address, size_t bytes)
{
	kern_return_t error;

	if (!bytes)
		return KERN_SUCCESS;
	if (!buffer_reserve(buffer, bytes))
		return KERN_RESOURCE_SHORTAGE;
	error = malloc_task_read(task, address, (char *)buffer->memory + buffer->used, bytes);
	if (!error)
		buffer->used += bytes;
	return error;
}

// --- sorting: records of size bytes whose first word is the key ---------------------------------------
static uint64_t key_at(const char *records, size_t size, size_t index)
{
	uint64_t key;

	memcpy(&key, records + index * size, sizeof(key));
	return key;
}

static void swap_records(char *records, size_t size, size_t a, size_t b)
{
	char kept[sizeof(struct malloc_region)];

	memcpy(kept, records + a * size, size);
	memcpy(records + a * size, records + b * size, size);
	memcpy(records + b * size, kept, size);
}

static void sift(char *records, size_t size, size_t root, size_t count)
{
	size_t child;

	while ((child = 2 * root + 1) < count) {
		if (child + 1 < count &&
		    key_at(records, size, child) < key_at(records, size, child + 1))
			child++;
		if (key_at(records, size, root) >= key_at(records, size, child))
			return;
		swap_records(records, size, root, child);
		root = child;
	}
}

void malloc_records_sort(void *records, size_t size, size_t count)
{
	for (size_t i = count / 2; i--;)
		sift(records, size, i, count);
	for (size_t i = count; i-- > 1;) {
		swap_records(records, size, 0, i);
		sift(records, size, 0, i);
	}
}
