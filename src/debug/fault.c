// SPDX-License-Identifier: MIT
// What a pointer is that free or realloc cannot take, in words. Blocks that have their own pages leave
// no note once they are freed; the last of their addresses are remembered here, so that freeing one
// twice is called by its name. Called by zone.c inside the gate.
#include "debug/debug_impl.h"

#include "os/inside.h"

enum { GONE = 256 };

static struct {
	const void *user;
	size_t bytes;
} gone[GONE];
static uint32_t gone_next;

void debug_fault_gone(const struct debug_block *block)
{
	uint32_t slot = __atomic_fetch_add(&gone_next, 1, __ATOMIC_RELAXED) % GONE;

	gone[slot].bytes = block->requested_bytes;
	__atomic_store_n(&gone[slot].user, block->user, __ATOMIC_RELEASE);
}

static bool find_gone(const void *user, size_t *ret_bytes)
{
	for (unsigned i = 0; i < GONE; i++)
		if (__atomic_load_n(&gone[i].user, __ATOMIC_ACQUIRE) == user) {
			*ret_bytes = gone[i].bytes;
			return true;
		}
	return false;
}

static void say_freed(const void *user, size_t bytes, enum debug_use use)
{
	if (use == DEBUG_USE_FREE)
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: Double free of object %p\n"
		             "It was a block of %zu bytes, and it is free already",
		             user, user, bytes);
	else
		malloc_fault(
			MALLOC_FAULT_MISUSE,
			"*** error for object %p: pointer %p being reallocated was not allocated\n"
			"It was a block of %zu bytes, and it is free already",
			user, user, bytes);
}

static void say_not_allocated(const void *user, enum debug_use use, const char *more)
{
	if (use == DEBUG_USE_FREE)
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being freed was not allocated%s",
		             user, more);
	else
		malloc_fault(
			MALLOC_FAULT_MISUSE,
			"*** error for object %p: pointer %p being reallocated was not allocated%s",
			user, user, more);
}

static void say_inside(const uint8_t *user, const struct debug_block *block, enum debug_use use)
{
	bool behind = user > block->user;
	char more[160];

	malloc_text(more, sizeof(more),
	            "\nIt points %zu bytes %s the start of the %sblock of %zu bytes at %p",
	            behind ? (size_t)(user - block->user) : (size_t)(block->user - user),
	            behind ? "behind" : "before", block->flags & MALLOC_NOTE_LIVE ? "" : "freed ",
	            block->requested_bytes, (const void *)block->user);
	say_not_allocated(user, use, more);
}

void debug_fault_pointer(const void *user, enum debug_use use)
{
	struct debug_block block;
	size_t bytes;
	bool found = debug_block_at(user, &block);

	if (found) {
		malloc_told_stacks.allocated = malloc_stack_of(user);
		malloc_told_stacks.freed = block.note->freed_stack;
	}
	if (found && block.flags & MALLOC_NOTE_FREED && block.user == user)
		say_freed(user, block.requested_bytes, use);
	else if (found && block.flags & (MALLOC_NOTE_LIVE | MALLOC_NOTE_FREED))
		say_inside(user, &block, use);
	else if (find_gone(user, &bytes))
		say_freed(user, bytes, use);
	else
		say_not_allocated(user, use, "");
}
