// SPDX-License-Identifier: MIT
// The live blocks: address -> size, stack, kind and thread in 16 bytes each. Open addressing with linear
// probing; what is removed leaves no marks (the blocks behind move up), and a block's place grows with
// its hash, so that a bigger table is filled from one end to the other. Called by stream.c.
#include "collect/collect_impl.h"

#include "base/checked.h"

#define ADDRESS_BITS 48
#define ADDRESS_MASK ((UINT64_C(1) << ADDRESS_BITS) - 1)
#define KIND_SHIFT   ADDRESS_BITS
#define KIND_MASK    7u
#define UPPER_SHIFT  (ADDRESS_BITS + 3)
#define NODE_BITS    24
#define NODE_MASK    ((1u << NODE_BITS) - 1)
#define LOWER_BITS   7 // of the thread
#define LOWER_MASK   ((1u << LOWER_BITS) - 1)
#define NO_THREAD    ((1u << 20) - 1)
#define BIG          (1u << 31) // the upper bits of the word are those of the size

enum {
	FIRST_CAPACITY = 1 << 12,
	SMALL_CAPACITY = 1 << 17, // 2 MiB: half empty, for speed
	BREATH_SLOTS = 1 << 15,
};

_Static_assert(RECORD_NONE <= KIND_MASK && RECORD_MALLOC <= KIND_MASK &&
                       RECORD_CALLOC <= KIND_MASK && RECORD_ALIGNED <= KIND_MASK &&
                       RECORD_REALLOC <= KIND_MASK,
               "the kinds of live blocks have room in a slot");

static uint64_t address_of(const struct collect_slot *slot)
{
	return slot->word & ADDRESS_MASK;
}

static uint64_t bytes_of(const struct collect_slot *slot)
{
	return (slot->node & BIG ? slot->word >> UPPER_SHIFT << 32 : 0) | slot->bytes;
}

static uint32_t thread_of(const struct collect_slot *slot)
{
	uint32_t lower = slot->node >> NODE_BITS & LOWER_MASK;
	uint32_t upper = slot->node & BIG ? 0 : (uint32_t)(slot->word >> UPPER_SHIFT);
	uint32_t thread = upper << LOWER_BITS | lower;

	return thread == (slot->node & BIG ? LOWER_MASK : NO_THREAD) ? LOG_NO_THREAD : thread;
}

static struct collect_slot slot_make(const struct log_live *block)
{
	bool is_big = block->bytes >> 32;
	uint32_t most = is_big ? LOWER_MASK : NO_THREAD;
	uint32_t thread = block->thread < most ? block->thread : most;
	uint64_t upper = is_big ? block->bytes >> 32 : thread >> LOWER_BITS;

	return (struct collect_slot){
		.word = block->address | (uint64_t)(block->kind & KIND_MASK) << KIND_SHIFT |
		        upper << UPPER_SHIFT,
		.bytes = (uint32_t)block->bytes,
		.node = (block->node <= NODE_MASK ? block->node : 0) |
		        (thread & LOWER_MASK) << NODE_BITS | (is_big ? BIG : 0),
	};
}

static void set_capacity(struct collect_live *live, uint64_t capacity)
{
	live->capacity = capacity;
	live->limit = capacity <= SMALL_CAPACITY ? capacity / 2 : capacity / 5 * 4;
	live->slots = os_page_source.resize(NULL, 0, capacity * sizeof(*live->slots));
}

void collect_live_init(struct collect_live *live)
{
	*live = (struct collect_live){ .count = 0 };
	set_capacity(live, FIRST_CAPACITY);
}

void collect_live_deinit(struct collect_live *live)
{
	os_release(live->slots, live->capacity * sizeof(*live->slots));
}

static void breathe(const struct collect_live *live)
{
	if (live->breathe)
		live->breathe(live->context);
}

// The slot of the address, or the empty one where it belongs.
static struct collect_slot *find(const struct collect_live *live, uint64_t address)
{
	struct collect_slot *slot = &live->slots[collect_live_home(live->capacity, address)];
	const struct collect_slot *end = live->slots + live->capacity;

	while (slot->word && address_of(slot) != address)
		if (++slot == end)
			slot = live->slots;
	return slot;
}

// Old pages are given back as soon as they are copied.
static void resize(struct collect_live *live, uint64_t capacity)
{
	struct collect_live old = *live;
	uint64_t done = 0;

	set_capacity(live, capacity);
	while (done < old.capacity) {
		uint64_t end =
			done + BREATH_SLOTS < old.capacity ? done + BREATH_SLOTS : old.capacity;

		for (uint64_t i = done; i < end; i++)
			if (old.slots[i].word)
				*find(live, address_of(&old.slots[i])) = old.slots[i];
		os_release(old.slots + done, (end - done) * sizeof(*old.slots));
		done = end;
		breathe(live);
	}
}

static uint64_t grown(uint64_t capacity)
{
	return capacity < SMALL_CAPACITY ? capacity * 2
	                                 : round_up(capacity + capacity / 5, BREATH_SLOTS);
}

bool collect_live_put(struct collect_live *live, const struct log_live *block, uint64_t *ret_old)
{
	struct collect_slot *slot;
	bool was_live;

	slot = find(live, block->address);
	was_live = slot->word != 0;
	if (was_live)
		*ret_old = bytes_of(slot);
	*slot = slot_make(block);
	if (!was_live && ++live->count >= live->limit)
		resize(live, grown(live->capacity));
	return was_live;
}

// Closes the gap at a slot: what was pushed beyond it moves up.
static void close_gap(struct collect_live *live, uint64_t gap)
{
	for (uint64_t i = gap;;) {
		uint64_t place, way_of_gap, way;

		if (++i == live->capacity)
			i = 0;
		if (!live->slots[i].word)
			break;
		place = collect_live_home(live->capacity, address_of(&live->slots[i]));
		way = i >= place ? i - place : i + live->capacity - place;
		way_of_gap = i >= gap ? i - gap : i + live->capacity - gap;
		if (way < way_of_gap)
			continue;
		live->slots[gap] = live->slots[i];
		gap = i;
	}
	live->slots[gap].word = 0;
}

bool collect_live_take(struct collect_live *live, uint64_t address, uint64_t *ret_bytes)
{
	struct collect_slot *slot;

	if (!collect_live_fits(address, 0))
		return false;
	slot = find(live, address);
	if (!slot->word)
		return false;
	*ret_bytes = bytes_of(slot);
	close_gap(live, (uint64_t)(slot - live->slots));
	live->count--;
	if (live->capacity > SMALL_CAPACITY && live->count < live->capacity / 6)
		resize(live, round_up(live->capacity / 3, BREATH_SLOTS));
	return true;
}

bool collect_live_holds(const struct collect_live *live, uint64_t address)
{
	return collect_live_fits(address, 0) && find(live, address)->word != 0;
}

uint64_t collect_slot_address(const struct collect_slot *slot)
{
	return address_of(slot);
}

struct log_live collect_slot_block(const struct collect_slot *slot)
{
	return (struct log_live){
		.address = address_of(slot),
		.bytes = bytes_of(slot),
		.node = slot->node & NODE_MASK,
		.kind = slot->word >> KIND_SHIFT & KIND_MASK,
		.thread = thread_of(slot),
	};
}
