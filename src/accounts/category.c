// SPDX-License-Identifier: MIT
// What a mapping is called: the names of vmmap, as far as the kernel's list of mappings tells them. What
// takes a look into the process (the heaps of allocators that are not at [heap], stacks of other sizes) is
// VM_ALLOCATE here. Called by footprint.c.
#include <string.h>

#include "accounts/accounts_impl.h"
#include "base/text.h"

// glibc's heap of a thread: HEAP_MAX_SIZE, aligned to itself (malloc/arena.c).
#define ARENA_BYTES ((uint64_t)64 << 20)
// glibc's and the kernel's usual stack (RLIMIT_STACK), and its guard.
#define STACK_BYTES ((uint64_t)8 << 20)

static enum mapped_kind kind_of_file(const char *name)
{
	if (text_starts_with(name, "/memfd:"))
		return MAPPED_MEMFD;
	if (text_starts_with(name, "/SYSV") || text_starts_with(name, "/dev/zero") ||
	    text_starts_with(name, "/dev/shm/"))
		return MAPPED_SHARED_MEMORY;
	return text_starts_with(name, "/dev/") ? MAPPED_DEVICE : MAPPED_FILE;
}

static bool is_of_kernel(const char *name)
{
	return text_starts_with(name, "[vdso") || text_starts_with(name, "[vvar") ||
	       text_starts_with(name, "[vsyscall") || text_starts_with(name, "[vectors") ||
	       text_starts_with(name, "[sigpage");
}

enum mapped_kind category_kind_of(const struct os_smaps_mapping *mapping)
{
	const char *name = mapping->name;

	if (is_of_kernel(name))
		return MAPPED_KERNEL;
	// Not of the machine's memory.
	if (os_flags_have(mapping->counts.flags, "io") ||
	    os_flags_have(mapping->counts.flags, "pf"))
		return MAPPED_DEVICE;
	if (mapping->inode)
		return kind_of_file(name);
	if (!strcmp(name, "[heap]"))
		return MAPPED_HEAP;
	if (text_starts_with(name, "[stack"))
		return MAPPED_STACK;
	if (mapping->shared)
		return MAPPED_SHARED_MEMORY;
	return text_starts_with(name, "[anon:") ? MAPPED_NAMED : MAPPED_ANONYMOUS;
}

// A file is a program or library when part of it may be executed; what was writable before the loader
// made it read-only is still accounted as writable.
static const char *of_loaded(const struct mapped *mapped)
{
	if (mapped->protection & OS_EXEC)
		return "__TEXT";
	if (mapped->protection & OS_WRITE)
		return "__DATA";
	if (!mapped->protection)
		return "VM_ALLOCATE (reserved)";
	if (mapped->is_accounted)
		return "__DATA_CONST";
	return mapped->offset ? "__CONST" : "__LINKEDIT";
}

static bool is_same_file(const struct mapped *a, const struct mapped *b)
{
	return a->inode == b->inode && a->device == b->device;
}

// The mappings of one file that follow each other, with nameless memory between them (.bss).
static size_t name_file(struct mapped *first, size_t left)
{
	bool loaded = false;
	size_t count = 1;

	for (size_t i = 0; i < left; i++) {
		if (first[i].kind == MAPPED_ANONYMOUS)
			continue;
		if (first[i].kind != MAPPED_FILE || !is_same_file(first, &first[i]))
			break;
		loaded |= !first[i].shared && first[i].protection & OS_EXEC;
		count = i + 1;
	}
	for (size_t i = 0; i < count; i++)
		if (first[i].kind == MAPPED_FILE)
			first[i].category =
				loaded && !first[i].shared ? of_loaded(&first[i]) : "mapped file";
	return count;
}

static bool is_reserved(const struct mapped *mapped)
{
	return !mapped->protection && !mapped->resident_bytes && !mapped->counts.swapped_bytes;
}

static bool is_stack_guard(const struct mapped *guard, const struct mapped *next)
{
	return next->kind == MAPPED_ANONYMOUS && guard->end == next->start && is_reserved(guard) &&
	       guard->end - guard->start <= STACK_BYTES && next->end - next->start == STACK_BYTES &&
	       next->protection == (OS_READ | OS_WRITE);
}

static bool is_arena(const struct mapped *used, const struct mapped *rest)
{
	return used->start % ARENA_BYTES == 0 && used->protection == (OS_READ | OS_WRITE) &&
	       rest->kind == MAPPED_ANONYMOUS && rest->start == used->end && is_reserved(rest) &&
	       rest->end - used->start == ARENA_BYTES;
}

// Nameless private memory, by its neighbours.
static const char *of_anonymous(const struct mapped *mapped, bool has_next,
                                const struct mapped *before)
{
	if (has_next && is_stack_guard(mapped, mapped + 1))
		return "STACK GUARD";
	if (before && before->kind == MAPPED_ANONYMOUS && is_stack_guard(before, mapped))
		return "Stack";
	if (has_next && is_arena(mapped, mapped + 1))
		return "MALLOC";
	if (before && before->kind == MAPPED_ANONYMOUS && is_arena(before, mapped))
		return "MALLOC (reserved)";
	if (before && before->kind == MAPPED_FILE && before->end == mapped->start &&
	    before->category && !strcmp(before->category, "__DATA"))
		return "__BSS";
	return is_reserved(mapped) ? "VM_ALLOCATE (reserved)" : "VM_ALLOCATE";
}

static const char *const kind_names[] = {
	[MAPPED_HEAP] = "MALLOC",
	[MAPPED_STACK] = "Stack",
	[MAPPED_KERNEL] = "vdso",
	[MAPPED_NAMED] = "[anon]",
	[MAPPED_SHARED_MEMORY] = "shared memory",
	[MAPPED_MEMFD] = "memfd",
	[MAPPED_DEVICE] = "device",
};

void category_name_all(struct mapped *mappings, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct mapped *mapped = &mappings[i];

		if (mapped->kind == MAPPED_FILE && !mapped->category)
			name_file(mapped, count - i);
		if (mapped->kind == MAPPED_ANONYMOUS)
			mapped->category =
				of_anonymous(mapped, i + 1 < count, i ? mapped - 1 : NULL);
		if (!mapped->category)
			mapped->category = kind_names[mapped->kind];
	}
}
