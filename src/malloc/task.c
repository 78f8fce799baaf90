// SPDX-License-Identifier: MIT
// Another process on the same library: where it has it, and reads of its memory through the reader of
// the caller. Relies on nothing but that reader and /proc/PID/maps. Called by walk.c and zone_look.c.
#include "malloc/malloc.h"

#include <string.h>

#include "os/inside.h"

kern_return_t malloc_task_read(const struct malloc_task *task, uint64_t address, void *buffer,
                               size_t bytes)
{
	kern_return_t error;
	void *local;

	if (task->careful)
		return inside_peek(address, buffer, bytes) ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
	if (!task->reader) {
		memcpy(buffer, (const void *)address, bytes);
		return KERN_SUCCESS;
	}
	error = task->reader(task->task, address, bytes, &local);
	if (error)
		return error;
	memcpy(buffer, local, bytes);
	return KERN_SUCCESS;
}

static bool has_descriptor(const struct malloc_task *task)
{
	uintptr_t address = (uintptr_t)&heapwright_malloc + task->slide;
	struct malloc_descriptor there;

	return !malloc_task_read(task, address, &there, sizeof(there)) &&
	       !memcmp(there.magic, MALLOC_MAGIC, sizeof(there.magic)) &&
	       there.version == MALLOC_VERSION && there.bytes == sizeof(there) && there.ready;
}

static bool find_by_file(struct malloc_task *task)
{
	struct inside_module own;
	uintptr_t here, there;

	if (!inside_module_at((uintptr_t)&heapwright_malloc, &own) ||
	    !inside_module_find(0, own.path, &here) ||
	    !inside_module_find(task->task, own.path, &there))
		return false;
	task->slide = there - here;
	return has_descriptor(task);
}

kern_return_t malloc_task_open(task_t task, memory_reader_t reader, struct malloc_task *ret)
{
	bool own = !task || task == inside_process_id();
	uint32_t version;

	*ret = (struct malloc_task){ .task = task, .reader = reader };
	malloc_registry_first();
	if (!reader) {
		// Other threads may take away what is read; but some sandboxes forbid that call.
		ret->careful = inside_peek((uintptr_t)&heapwright_malloc.version, &version,
		                           sizeof(version));
		return own ? KERN_SUCCESS : KERN_INVALID_ARGUMENT;
	}
	if (has_descriptor(ret) || (!own && find_by_file(ret)))
		return KERN_SUCCESS;
	return KERN_FAILURE;
}
