// SPDX-License-Identifier: MIT
// Live blocks while events pass: an open-addressed index over a dense array, so that growing never needs
// both sizes at once; mappings, of which there are few, as a sorted array whose ranges can be cut.
// Called by state.c, sums.c and growth.c.
#include <string.h>

#include "base/search.h"
#include "history/history_impl.h"

#define FIRST_INDEX_COUNT 4096

void history_table_init(struct history_table *table)
{
	*table = (struct history_table){ .free_slot = UINT64_MAX };
	vec_init(&table->blocks, &os_page_source);
	vec_init(&table->mappings, &os_page_source);
}

static void index_free(struct history_table *table)
{
	if (table->index)
		os_page_source.resize(table->index, table->index_count * sizeof(uint32_t), 0);
}

void history_table_deinit(struct history_table *table)
{
	index_free(table);
	vec_deinit(&table->blocks);
	vec_deinit(&table->mappings);
}

static size_t place_of(const struct history_table *table, uint64_t address)
{
	uint64_t hash = (address >> 3) * 0x9e3779b97f4a7c15u;

	return (size_t)(hash >> 32) & (table->index_count - 1);
}

// Where the address stands in the index, or the empty place where it would.
static size_t index_find(const struct history_table *table, uint64_t address)
{
	size_t at = place_of(table, address);

	while (table->index[at] && table->blocks.v[table->index[at] - 1].address != address)
		at = (at + 1) & (table->index_count - 1);
	return at;
}

static void index_resize(struct history_table *table, size_t count)
{
	index_free(table);
	table->index_count = count;
	table->index = os_page_source.resize(NULL, 0, table->index_count * sizeof(uint32_t));
	for (size_t i = 0; i < table->blocks.n; i++)
		if (table->blocks.v[i].address)
			table->index[index_find(table, table->blocks.v[i].address)] =
				(uint32_t)i + 1;
}

static bool is_full(size_t index_count, uint64_t blocks)
{
	return blocks > index_count / 4 * 3;
}

void history_table_reserve(struct history_table *table, uint64_t blocks)
{
	size_t count = table->index_count ? table->index_count : FIRST_INDEX_COUNT;

	while (is_full(count, blocks))
		count *= 2;
	if (count > table->index_count)
		index_resize(table, count);
}

// Moves later entries of the run back, so that no search ends early.
static void index_remove(struct history_table *table, size_t at)
{
	size_t mask = table->index_count - 1, next = at;

	for (;;) {
		size_t home;

		next = (next + 1) & mask;
		if (!table->index[next])
			break;
		home = place_of(table, table->blocks.v[table->index[next] - 1].address);
		if (((next - home) & mask) < ((next - at) & mask))
			continue;
		table->index[at] = table->index[next];
		at = next;
	}
	table->index[at] = 0;
}

static size_t slot_new(struct history_table *table)
{
	size_t slot = (size_t)table->free_slot;

	if (table->free_slot == UINT64_MAX) {
		slot = table->blocks.n;
		(void)vec_add(&table->blocks);
	} else {
		table->free_slot = table->blocks.v[slot].event;
	}
	return slot;
}

void history_table_put(struct history_table *table, const struct history_block *block)
{
	size_t at, slot;

	if (!block->address)
		return;
	if (is_full(table->index_count, table->live_count + 1))
		history_table_reserve(table, table->live_count + 1);
	at = index_find(table, block->address);
	if (table->index[at]) { // its free was lost
		slot = table->index[at] - 1;
		table->live_bytes -= table->blocks.v[slot].bytes;
	} else {
		slot = slot_new(table);
		table->index[at] = (uint32_t)slot + 1;
		table->live_count++;
	}
	table->blocks.v[slot] = *block;
	table->live_bytes += block->bytes;
}

static bool table_take(struct history_table *table, uint64_t address, struct history_block *ret)
{
	size_t at, slot;

	if (!table->live_count)
		return false;
	at = index_find(table, address);
	if (!table->index[at])
		return false;
	slot = table->index[at] - 1;
	*ret = table->blocks.v[slot];
	index_remove(table, at);
	table->blocks.v[slot] = (struct history_block){ .event = table->free_slot };
	table->free_slot = slot;
	table->live_count--;
	table->live_bytes -= ret->bytes;
	return true;
}

// --- mappings ------------------------------------------------------------------------------------
static size_t mapping_index(const struct history_table *table, uint64_t address)
{
	return first_index(table->mappings.n, i,
	                   table->mappings.v[i].address + table->mappings.v[i].bytes > address);
}

static void mapping_insert(struct history_table *table, size_t at,
                           const struct history_block *mapping)
{
	(void)vec_add(&table->mappings);
	memmove(&table->mappings.v[at + 1], &table->mappings.v[at],
	        (table->mappings.n - 1 - at) * sizeof(*mapping));
	table->mappings.v[at] = *mapping;
}

static void mapping_remove(struct history_table *table, size_t at)
{
	table->mappings.n--;
	memmove(&table->mappings.v[at], &table->mappings.v[at + 1],
	        (table->mappings.n - at) * sizeof(*table->mappings.v));
}

// Takes [start, end) out of what is mapped; the parts that go are told.
static void unmap(struct history_table *table, uint64_t start, uint64_t end,
                  const struct log_event *death, uint64_t number)
{
	for (size_t i = mapping_index(table, start);
	     i < table->mappings.n && table->mappings.v[i].address < end;) {
		struct history_block whole = table->mappings.v[i], gone = whole, rest = whole;
		uint64_t whole_end = whole.address + whole.bytes;

		gone.address = whole.address > start ? whole.address : start;
		gone.bytes = (whole_end < end ? whole_end : end) - gone.address;
		mapping_remove(table, i);
		rest.bytes = gone.address - whole.address;
		if (rest.bytes)
			mapping_insert(table, i++, &rest);
		rest.address = gone.address + gone.bytes;
		rest.bytes = whole_end - rest.address;
		if (rest.bytes)
			mapping_insert(table, i++, &rest);
		if (table->died)
			table->died(table->context, &gone, death, number);
	}
}

static void apply_mapping(struct history_table *table, uint64_t number,
                          const struct log_event *event)
{
	struct history_block made = history_block_made(number, event);
	uint64_t end;

	if (event->extra & RECORD_FAILED || !event->bytes ||
	    !checked_add(event->address, event->bytes, &end))
		return;
	unmap(table, event->address, end, event, number);
	if (event->kind != RECORD_MAP)
		return;
	mapping_insert(table, mapping_index(table, event->address), &made);
	if (table->made)
		table->made(table->context, &made);
}

struct history_block history_block_made(uint64_t number, const struct log_event *event)
{
	return (struct history_block){
		.address = event->address,
		.bytes = event->bytes,
		.event = number,
		.time_ns = event->time_ns,
		.node = event->node,
		.thread = event->thread < HISTORY_NO_THREAD ? event->thread : HISTORY_NO_THREAD,
		.kind = event->kind,
	};
}

void history_table_apply(struct history_table *table, uint64_t number,
                         const struct log_event *event)
{
	struct history_block block;

	if (history_is_allocation(event->kind)) {
		block = history_block_made(number, event);
		history_table_put(table, &block);
		if (table->made)
			table->made(table->context, &block);
	} else if (history_is_free(event->kind)) {
		if (table_take(table, event->address, &block) && table->died)
			table->died(table->context, &block, event, number);
	} else if (history_is_mapping(event->kind)) {
		apply_mapping(table, number, event);
	}
}
