// SPDX-License-Identifier: MIT
// Freed blocks that are kept from reuse: a queue of their addresses. The oldest go to the core once
// the blocks in it are larger than the budget together; their filling is looked at then, so that a
// write after free is found long after the free. Called by block.c inside the gate. A signal handler
// that interrupted one of these functions does not wait for the lock, and keeps nothing back.
#include "debug/debug_impl.h"

#include "os/inside.h"

enum {
	BLOCK_MIN_BYTES = 48, // the smallest with edges
	SHARE = 4,            // of the budget, which one block may take
};

static struct inside_lock lock;
static uintptr_t *queue; // starts of blocks; a ring of capacity entries, 0: nothing any more
static size_t capacity, first, count, total_bytes;

static bool take_lock(void)
{
	if (debug_gate_nested())
		return inside_lock_try(&lock);
	inside_lock(&lock);
	return true;
}

static bool start_queue(void)
{
	size_t entries = debug_settings.keep_back_bytes / BLOCK_MIN_BYTES + 1;

	if (queue)
		return true;
	queue = inside_map(entries * sizeof(*queue), debug_page_bytes, INSIDE_READ_WRITE);
	capacity = queue ? entries : 0;
	return queue;
}

// The oldest entry leaves the queue; false when it holds enough room for bytes more.
static bool pop_for(size_t bytes, struct debug_block *ret)
{
	const void *start;

	do {
		if (!count ||
		    (count < capacity && total_bytes + bytes <= debug_settings.keep_back_bytes))
			return false;
		start = (const void *)queue[first];
		first = (first + 1) % capacity;
		count--;
	} while (!start || !debug_block_at(start, ret));
	total_bytes -= ret->core.bytes;
	return true;
}

static void push(const struct debug_block *block)
{
	queue[(first + count++) % capacity] = (uintptr_t)block->core.start;
	total_bytes += block->core.bytes;
	__atomic_store_n(&block->note->flags,
	                 block->flags | MALLOC_NOTE_KEPT_BACK | MALLOC_NOTE_FILLED,
	                 __ATOMIC_RELEASE);
}

// The note of a block of a slab keeps FILLED: it is looked at again when the block is reused.
static void release(const struct debug_block *block)
{
	struct debug_damage damage;
	uint32_t gone = MALLOC_NOTE_KEPT_BACK | (block->alone ? MALLOC_NOTE_FILLED : 0);

	if (debug_damage_filling(block, &damage)) {
		if (!(block->flags & MALLOC_NOTE_REPORTED))
			debug_damage_report(&damage, true);
		gone |= MALLOC_NOTE_FILLED;
	}
	__atomic_fetch_and(&block->note->flags, ~gone, __ATOMIC_RELEASE);
	block->core.zone->free(block->core.zone, block->core.start);
}

bool debug_keep(const struct debug_block *block)
{
	struct debug_block old;

	if (block->core.bytes > debug_settings.keep_back_bytes / SHARE || !take_lock())
		return false;
	if (!start_queue()) {
		inside_unlock(&lock);
		return false;
	}
	while (pop_for(block->core.bytes, &old)) {
		inside_unlock(&lock);
		release(&old);
		if (!take_lock())
			return false;
	}
	push(block);
	inside_unlock(&lock);
	return true;
}

bool debug_keep_give_back(void)
{
	struct debug_block old;
	bool any = false;

	if (!take_lock())
		return false;
	while (pop_for(debug_settings.keep_back_bytes + 1, &old)) {
		inside_unlock(&lock);
		release(&old);
		any = true;
		if (!take_lock())
			return true;
	}
	inside_unlock(&lock);
	return any;
}

void debug_keep_forget(malloc_zone_t *core)
{
	struct debug_block block;
	struct debug_damage damage;

	inside_lock(&lock);
	for (size_t i = 0; i < count; i++) {
		uintptr_t *entry = &queue[(first + i) % capacity];

		if (!*entry || !debug_block_at((const void *)*entry, &block) ||
		    block.core.zone != core)
			continue;
		*entry = 0;
		total_bytes -= block.core.bytes;
		if (!(block.flags & MALLOC_NOTE_REPORTED) && debug_damage_filling(&block, &damage))
			debug_damage_report(&damage, false);
	}
	inside_unlock(&lock);
}

void debug_keep_child(void)
{
	lock.state = 0;
}
