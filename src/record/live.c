// SPDX-License-Identifier: MIT
// Lite mode over a foreign malloc: which blocks live, and whose they are, in the shared mapping. Called
// through the hooks; read by tools, in the memory of the program.
//
// The table has parts, a lock for each, and the hash of an address chooses the part. A part has buckets of
// 16 entries. Blocks of the same 128 bytes want to lie in the same bucket, side by side. What finds that
// bucket full lies in one of three others, by the hash of its whole address. Nothing is moved but when a
// part grows, which it does by half when nine tenths of it are used, and nothing is marked as deleted.
//
// While the program has one thread no lock is taken, since an atomic operation waits for all stores before
// it, which have missed the cache; and the entry of a freed block is removed a few frees later, when it has
// come to the cache, or when the address is given out again.
//
// A signal handler that interrupts the recorder may find the lock of its own thread: its events are put
// aside and applied when the thread goes on (thread.c).
#include <string.h>

#include "record/record_impl.h"

enum {
	PARTS = RECORD_LIVE_PARTS,
	PART_BITS = 6,
	START_BUCKETS = 4,
	BUCKET = 16, // entries
	CHOICES = 4, // buckets in which an address may lie
	FULL_OF_32 = 29,
	LATE = 4,
	CACHE_LINE = 64,
	NEAR_SHIFT = 7,
	NEAR_PLACES = 1 << (NEAR_SHIFT - 5),
	PLACE_SHIFT = 5,
	GRANULE_SHIFT = 4,
};

struct part {
	_Alignas(CACHE_LINE) struct inside_lock lock;
	struct record_live *entries; // behind the one that tells their number
	uint64_t buckets;
	uint64_t used;
};

static struct part parts[PARTS];

// While the program has one thread: freed blocks whose entries are on their way to the cache. Who reads
// the table asks for blocks that live.
static uint64_t late[LATE];
static unsigned late_next;

// Where a part that grows is copied to; kept for the next one.
static struct {
	struct inside_lock lock;
	void *memory;
	size_t bytes;
} scratch;

static uint64_t hash_of(uint64_t value)
{
	uint64_t hash = value * UINT64_C(0x9e3779b97f4a7c15);

	hash ^= hash >> 32;
	return hash * UINT64_C(0xd6e8feb86659fd93);
}

static struct part *part_of(uint64_t address)
{
	return &parts[hash_of(address >> NEAR_SHIFT) >> (64 - PART_BITS)];
}

static struct record_live *bucket_of(const struct part *part, uint64_t address, unsigned choice)
{
	uint64_t hash =
		hash_of(choice ? (address >> GRANULE_SHIFT) + choice : address >> NEAR_SHIFT);

	return part->entries +
	       (uint64_t)((__uint128_t)(hash << PART_BITS) * part->buckets >> 64) * BUCKET;
}

static uint64_t address_of(const struct record_live *entry)
{
	uint64_t address;

	// Both halves at once; the plain function is a call in this room.
	__builtin_memcpy(&address, entry, sizeof(address));
	return address;
}

// Where in its bucket an address wants to lie: beside its neighbours.
static unsigned place_of(uint64_t address)
{
	unsigned place = (address >> PLACE_SHIFT) % NEAR_PLACES;

	return (place + (unsigned)hash_of(address >> NEAR_SHIFT) * NEAR_PLACES) % BUCKET;
}

// The entry of an address, or with 0 a free one where the address may lie.
static struct record_live *find(const struct part *part, uint64_t address, uint64_t wanted)
{
	unsigned place = place_of(address);

	for (unsigned choice = 0; choice < CHOICES; choice++) {
		struct record_live *bucket = bucket_of(part, address, choice);

		for (unsigned i = 0; i < BUCKET; i++)
			if (address_of(&bucket[(place + i) % BUCKET]) == wanted)
				return &bucket[(place + i) % BUCKET];
	}
	return NULL;
}

static void prefetch(uint64_t address)
{
	__builtin_prefetch(bucket_of(part_of(address), address, 0) + place_of(address), 1);
}

static uint64_t room_of_part(void)
{
	return record_header->live_capacity / PARTS - 1;
}

// The first entry of a part says how many of the others may be used.
static void set_buckets(struct part *part, uint64_t buckets)
{
	part->buckets = buckets;
	part->entries[-1].node = (uint32_t)(buckets * BUCKET);
}

static bool put(struct part *part, uint64_t address, uint32_t node)
{
	struct record_live *entry = find(part, address, 0);

	if (!entry)
		return false;
	entry->node = node;
	entry->address_low = (uint32_t)address;
	entry->address_high = (uint32_t)(address >> 32);
	part->used++;
	return true;
}

// --- growth ---------------------------------------------------------------------------------------
static bool put_all(struct part *part, const struct record_live *old, uint64_t count)
{
	memset(part->entries, 0, count * sizeof(*old));
	part->used = 0;
	for (uint64_t i = 0; i < count; i++)
		if (address_of(&old[i]) && !put(part, address_of(&old[i]), old[i].node))
			return false;
	return true;
}

static bool have_scratch(size_t bytes)
{
	if (bytes <= scratch.bytes)
		return true;
	if (scratch.memory)
		inside_unmap(scratch.memory, scratch.bytes);
	scratch.bytes = (2 * bytes + RECORD_PAGE_BYTES - 1) & -(size_t)RECORD_PAGE_BYTES;
	scratch.memory = inside_map(scratch.bytes, RECORD_PAGE_BYTES, INSIDE_READ_WRITE);
	record_own_list(scratch.memory, scratch.bytes);
	if (!scratch.memory)
		scratch.bytes = 0;
	return scratch.memory;
}

// By half, and by another half while some address still has no room.
static bool grow(struct part *part)
{
	uint64_t buckets = part->buckets, count = buckets * BUCKET;
	bool done = false;

	inside_lock(&scratch.lock);
	if (have_scratch(count * sizeof(struct record_live))) {
		memcpy(scratch.memory, part->entries, count * sizeof(struct record_live));
		while (!done && (buckets + buckets / 2) * BUCKET <= room_of_part()) {
			buckets += buckets / 2;
			set_buckets(part, buckets);
			done = put_all(part, scratch.memory, count);
		}
	}
	inside_unlock(&scratch.lock);
	return done;
}

// --- entries --------------------------------------------------------------------------------------
static bool hold(struct part *part)
{
	if (RECORD_LIKELY(record_threads_alone))
		return false;
	inside_lock(&part->lock);
	return true;
}

static void drop(uint64_t address)
{
	struct part *part = part_of(address);
	bool held = hold(part);
	struct record_live *entry = find(part, address, address);

	if (RECORD_LIKELY(entry)) {
		entry->address_low = entry->address_high = 0;
		part->used--;
	}
	if (held)
		inside_unlock(&part->lock);
}

static void drop_late(uint64_t address)
{
	unsigned i = late_next++ % LATE;
	uint64_t before = late[i];

	prefetch(address);
	late[i] = address;
	if (before)
		drop(before);
}

// The address is given out again.
static void drop_now(uint64_t address)
{
	for (unsigned i = 0; i < LATE; i++)
		if (RECORD_UNLIKELY(late[i] == address)) {
			late[i] = 0;
			drop(address);
		}
}

void record_live_drop_late_ones(void)
{
	for (unsigned i = 0; i < LATE; i++)
		if (late[i])
			drop_now(late[i]);
}

static void insert(uint64_t address, uint32_t node)
{
	struct part *part = part_of(address);
	bool held, done = true;

	if (RECORD_LIKELY(record_threads_alone))
		drop_now(address);
	held = hold(part);
	if (RECORD_UNLIKELY(part->used * 32 >= part->buckets * BUCKET * FULL_OF_32))
		grow(part);
	if (RECORD_UNLIKELY(!put(part, address, node)))
		done = grow(part) && put(part, address, node);
	if (held)
		inside_unlock(&part->lock);
	if (!done)
		__atomic_fetch_add(&record_header->lost, 1, __ATOMIC_RELAXED);
}

void record_live_apply(const struct record_event *event)
{
	uint32_t kind = event->stamp & 0xff;

	if (kind >= RECORD_MALLOC && kind <= RECORD_REALLOC)
		insert(event->address, event->node);
	else if (kind == RECORD_FREE || kind == RECORD_REALLOC_FREE)
		drop(event->address);
}

void record_live_start(void)
{
	uint64_t stride = record_header->live_capacity / PARTS;

	memset(parts, 0, sizeof(parts));
	memset(late, 0, sizeof(late));
	scratch.lock = (struct inside_lock){ 0 };
	for (uint64_t i = 0; record_header->live_capacity && i < PARTS; i++) {
		struct record_live *first =
			record_at(record_header->live_offset + i * stride * sizeof(*first));

		first->address_low = 1;
		parts[i].entries = first + 1;
		set_buckets(&parts[i], START_BUCKETS);
	}
}

// --- the hooks ------------------------------------------------------------------------------------
static uint32_t allocated(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                          const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);
	uint32_t node;

	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, bytes, extra, at);
		return 0;
	}
	prefetch(address);
	node = record_paths_node(self->unwinder, at);
	insert(address, node);
	record_thread_leave(self);
	return node;
}

static void freed(uint32_t kind, uint64_t address, const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);

	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, 0, 0, at);
		return;
	}
	if (RECORD_LIKELY(record_threads_alone))
		drop_late(address);
	else
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
