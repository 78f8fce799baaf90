// SPDX-License-Identifier: MIT
// Lite mode over a foreign malloc: which blocks live, and whose they are, in the shared mapping. Called
// through the hooks; read by tools, in the memory of the program.
//
// The table has parts, a lock for each, and the hash of an address chooses the part. A part is an open
// hash table of a length that is no power of two: the hash, as a fraction, times the length is about
// where an entry wants to lie (its home), and it lies there or behind. So a part grows by a quarter at a
// time, and is never less than three fifths full once it is large. Removing an entry moves those behind
// it up, so that nothing is ever marked as deleted.
//
// Blocks that lie close to each other have their entries close to each other: programs allocate and free
// neighbours together, and a row of cache misses would cost more than all the rest.
//
// A signal handler that interrupts the recorder may find the lock of its own thread: its events are put
// aside and applied when the thread goes on (thread.c).
#include <string.h>

#include "record/record_impl.h"

enum {
	PARTS = RECORD_LIVE_PARTS,
	START_ENTRIES = 64,
	SPILL_ENTRIES = 256, // room behind the places that hashes lead to
	FULL_OF_8 = 6,
	CACHE_LINE = 64,
	NEAR_SHIFT = 9,
	NEAR_ENTRIES_SHIFT = 3,
	NEAR_ENTRIES = 1 << NEAR_ENTRIES_SHIFT,
};

struct part {
	_Alignas(CACHE_LINE) struct inside_lock lock;
	struct record_live *entries; // behind the one that tells their number
	uint64_t places;             // that hashes lead to
	uint64_t used;
};

static struct part parts[PARTS];

static uint64_t hash_of(uint64_t address)
{
	uint64_t hash = (address >> NEAR_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);

	hash ^= hash >> 32;
	return hash * UINT64_C(0xd6e8feb86659fd93);
}

static uint64_t home_of(const struct part *part, uint64_t address)
{
	__uint128_t product = (__uint128_t)(hash_of(address) << 6) * (part->places / NEAR_ENTRIES);

	return (uint64_t)(product >> 64) * NEAR_ENTRIES +
	       (address >> (NEAR_SHIFT - NEAR_ENTRIES_SHIFT)) % NEAR_ENTRIES;
}

static struct part *part_of(uint64_t hash)
{
	return &parts[hash >> 58];
}

static uint64_t end_of(const struct part *part)
{
	return part->places + SPILL_ENTRIES;
}

static uint64_t room_of_part(void)
{
	return record_header->live_capacity / PARTS - 1;
}

// The first entry of a part says how many of the others may be used.
static void set_places(struct part *part, uint64_t places)
{
	part->places = places;
	part->entries[-1].bytes = (uint32_t)end_of(part);
}

// False when the row of neighbours is full.
static bool put(struct part *part, const struct record_live *live)
{
	uint64_t end = end_of(part);

	for (uint64_t i = home_of(part, live->address); i < end; i++) {
		struct record_live *entry = &part->entries[i];

		if (!entry->address || entry->address == live->address) {
			part->used += !entry->address;
			*entry = *live;
			return true;
		}
	}
	return false;
}

// --- growth ---------------------------------------------------------------------------------------
static bool put_all(struct part *part, const struct record_live *old, uint64_t count)
{
	memset(part->entries, 0, count * sizeof(*old));
	part->used = 0;
	for (uint64_t i = 0; i < count; i++)
		if (old[i].address && !put(part, &old[i]))
			return false;
	return true;
}

// By a quarter, and by another while some row is still full.
static bool grow(struct part *part)
{
	uint64_t count = end_of(part), places = part->places;
	size_t bytes = count * sizeof(struct record_live);
	struct record_live *old = inside_map(bytes, RECORD_PAGE_BYTES, INSIDE_READ_WRITE);
	bool done = false;

	if (!old)
		return false;
	memcpy(old, part->entries, bytes);
	while (!done && places + places / 4 + SPILL_ENTRIES <= room_of_part()) {
		places += places / 4;
		set_places(part, places);
		done = put_all(part, old, count);
	}
	inside_unmap(old, bytes);
	return done;
}

// --- entries --------------------------------------------------------------------------------------
static void insert(const struct record_live *live)
{
	struct part *part = part_of(hash_of(live->address));
	bool done = true;

	inside_lock(&part->lock);
	if (part->used >= part->places / 8 * FULL_OF_8)
		grow(part);
	if (!put(part, live))
		done = grow(part) && put(part, live);
	inside_unlock(&part->lock);
	if (!done)
		__atomic_fetch_add(&record_header->lost, 1, __ATOMIC_RELAXED);
}

// Those behind a gap come closer to where they want to lie, up to one that lies there already.
static void close_gap(struct part *part, uint64_t gap)
{
	uint64_t end = end_of(part), i = gap + 1;

	for (; i < end && part->entries[i].address; i++) {
		if (home_of(part, part->entries[i].address) > gap)
			continue;
		part->entries[gap] = part->entries[i];
		gap = i;
	}
	part->entries[gap] = (struct record_live){ 0 };
}

static void drop(uint64_t address)
{
	struct part *part = part_of(hash_of(address));
	uint64_t end;

	inside_lock(&part->lock);
	end = end_of(part);
	for (uint64_t i = home_of(part, address); i < end && part->entries[i].address; i++) {
		if (part->entries[i].address != address)
			continue;
		close_gap(part, i);
		part->used--;
		break;
	}
	inside_unlock(&part->lock);
}

void record_live_apply(const struct record_event *event)
{
	uint32_t kind = event->stamp & 0xff;
	const struct record_live live = {
		.address = event->address,
		.node = event->node,
		.bytes = event->bytes < UINT32_MAX ? (uint32_t)event->bytes : UINT32_MAX,
	};

	if (kind >= RECORD_MALLOC && kind <= RECORD_REALLOC)
		insert(&live);
	else if (kind == RECORD_FREE || kind == RECORD_REALLOC_FREE)
		drop(event->address);
}

void record_live_start(void)
{
	uint64_t stride = record_header->live_capacity / PARTS;

	memset(parts, 0, sizeof(parts));
	for (uint64_t i = 0; record_header->live_capacity && i < PARTS; i++) {
		struct record_live *first =
			record_at(record_header->live_offset + i * stride * sizeof(*first));

		first->address = 1;
		parts[i].entries = first + 1;
		set_places(&parts[i], START_ENTRIES);
	}
}

// --- the hooks ------------------------------------------------------------------------------------
static uint32_t allocated(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                          const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);
	struct record_live live = { .address = address };

	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, bytes, extra, at);
		return 0;
	}
	live.node = record_paths_node(self->unwinder, at);
	live.bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
	insert(&live);
	record_thread_leave(self);
	return live.node;
}

static void freed(uint32_t kind, uint64_t address, const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);

	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, 0, 0, at);
		return;
	}
	drop(address);
	record_thread_leave(self);
}

// Our own malloc keeps the nodes with its blocks.
static uint32_t allocated_node(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                               const struct record_position *at)
{
	(void)kind, (void)address, (void)bytes, (void)extra;
	return record_event_stack(at);
}

const struct record_hooks record_live_hooks = { .allocated = allocated,
	                                        .freed = freed,
	                                        .stack = record_event_stack };
const struct record_hooks record_live_node_hooks = { .allocated = allocated_node,
	                                             .stack = record_event_stack };
