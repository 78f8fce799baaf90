// SPDX-License-Identifier: MIT
// Blocks of which a program said that they should be freed soon. They stand in a table of their own, by
// zone. A free through malloc_zone_free, malloc_zone_batch_free or malloc_zone_realloc takes them out
// at once; who was freed by the short way of free is found when the list is asked for, because the
// block is no longer live then.
#include "malloc/malloc.h"

#include <string.h>

#include "os/inside.h"

struct discharged {
	malloc_zone_t *zone;
	void *block;
};

// A zone that checks, and how many times enable was called.
struct checking {
	malloc_zone_t *zone;
	unsigned depth;
};

enum { CHECKING_MAX = 256 };

uint32_t malloc_discharged_count;
static struct inside_lock discharge_lock;
static struct discharged *table;
static size_t table_bytes;
static struct checking checking[CHECKING_MAX] INSIDE_RARELY;

static struct checking *find_checking(const malloc_zone_t *zone)
{
	for (unsigned i = 0; i < CHECKING_MAX; i++)
		if (checking[i].zone == zone)
			return &checking[i];
	return NULL;
}

static bool make_room(void)
{
	size_t bytes = table_bytes ? table_bytes * 2 : 1 << 16;
	struct discharged *larger;

	if ((malloc_discharged_count + 1) * sizeof(*table) <= table_bytes)
		return true;
	larger = inside_map(bytes, 4096, INSIDE_READ_WRITE);
	if (!larger)
		return false;
	if (table) {
		memcpy(larger, table, table_bytes);
		inside_unmap(table, table_bytes);
	}
	table = larger;
	table_bytes = bytes;
	return true;
}

static void set_count(uint32_t count)
{
	__atomic_store_n(&malloc_discharged_count, count, __ATOMIC_RELAXED);
}

// From the end, so that what is moved into a hole was seen.
static void remove_where(const malloc_zone_t *zone, const void *block)
{
	for (uint32_t i = malloc_discharged_count; i-- > 0;)
		if (zone ? table[i].zone == zone : table[i].block == block) {
			table[i] = table[malloc_discharged_count - 1];
			set_count(malloc_discharged_count - 1);
		}
}

void malloc_discharge_forget(const void *block)
{
	inside_lock(&discharge_lock);
	remove_where(NULL, block);
	inside_unlock(&discharge_lock);
}

MALLOC_EXPORT boolean_t malloc_zone_enable_discharge_checking(malloc_zone_t *zone)
{
	struct checking *row;

	zone = malloc_registry_real(zone);
	inside_lock(&discharge_lock);
	row = find_checking(zone);
	if (!row)
		row = find_checking(NULL);
	if (row) {
		row->zone = zone;
		row->depth++;
	}
	inside_unlock(&discharge_lock);
	return row != NULL;
}

MALLOC_EXPORT void malloc_zone_disable_discharge_checking(malloc_zone_t *zone)
{
	struct checking *row;

	zone = malloc_registry_real(zone);
	inside_lock(&discharge_lock);
	row = find_checking(zone);
	if (row && !--row->depth) {
		row->zone = NULL;
		remove_where(zone, NULL);
	}
	inside_unlock(&discharge_lock);
}

MALLOC_EXPORT void malloc_zone_discharge(malloc_zone_t *zone, void *memory)
{
	size_t bytes;
	malloc_zone_t *owner = malloc_registry_owner(memory, &bytes);

	zone = zone ? malloc_registry_real(zone) : owner;
	if (!owner || owner != zone)
		return;
	inside_lock(&discharge_lock);
	if (find_checking(zone) && make_room()) {
		remove_where(NULL, memory);
		table[malloc_discharged_count] = (struct discharged){ zone, memory };
		set_count(malloc_discharged_count + 1);
	}
	inside_unlock(&discharge_lock);
}

// The function is called without the lock, on a copy: it may free what it is shown.
MALLOC_EXPORT void malloc_zone_enumerate_discharged_pointers_f(
	malloc_zone_t *zone, void *context, void (*report)(void *context, void *memory, void *info))
{
	struct discharged *copy = NULL;
	uint32_t count;
	size_t copy_bytes, bytes;

	inside_lock(&discharge_lock);
	count = malloc_discharged_count;
	copy_bytes = table_bytes;
	if (count)
		copy = inside_map(copy_bytes, 4096, INSIDE_READ_WRITE);
	if (copy)
		memcpy(copy, table, count * sizeof(*copy));
	inside_unlock(&discharge_lock);
	if (!copy)
		return;
	zone = zone ? malloc_registry_real(zone) : NULL;
	for (uint32_t i = 0; i < count; i++)
		if ((!zone || copy[i].zone == zone) &&
		    malloc_registry_owner(copy[i].block, &bytes) == copy[i].zone)
			report(context, copy[i].block, NULL);
	inside_unmap(copy, copy_bytes);
}

// What clang makes of a ^{} expression (clang's Block-ABI-Apple document): its function comes third
// and takes the block itself before the arguments.
struct block_literal {
	void *class;
	int flags, reserved;
	void (*invoke)(void *self, void *memory, void *info);
};

static void call_block(void *context, void *memory, void *info)
{
	struct block_literal *block = context;

	block->invoke(block, memory, info);
}

MALLOC_EXPORT void malloc_zone_enumerate_discharged_pointers(malloc_zone_t *zone,
                                                             void *report_block)
{
	malloc_zone_enumerate_discharged_pointers_f(zone, report_block, call_block);
}

void malloc_discharge_fork_prepare(void)
{
	inside_lock(&discharge_lock);
}

void malloc_discharge_fork_parent(void)
{
	inside_unlock(&discharge_lock);
}

void malloc_discharge_fork_child(void)
{
	discharge_lock.state = 0;
}
