// SPDX-License-Identifier: MIT
// What malloc_zone_* and readers ask of a guarded zone: its blocks (of this process or of another
// one, through a reader of its memory), sums, and whether all canaries are whole.
#include "guard/guard_impl.h"

#include <string.h>

static kern_return_t read_own(task_t task, vm_address_t address, vm_size_t bytes, void **ret)
{
	(void)task;
	(void)bytes;
	*ret = (void *)address;
	return KERN_SUCCESS;
}

struct walk {
	task_t task;
	memory_reader_t *reader;
	uint32_t zone;
	struct malloc_ranges found;
};

static void *read_bytes(struct walk *walk, uint64_t address, uint64_t bytes)
{
	void *local = NULL;

	return walk->reader(walk->task, address, bytes, &local) == KERN_SUCCESS ? local : NULL;
}

static kern_return_t walk_table(struct walk *walk, uint64_t table, uint32_t first, uint32_t count)
{
	const struct guard_record *records;

	records = read_bytes(walk, table, count * sizeof(*records));
	if (!records)
		return KERN_FAILURE;
	for (uint32_t i = first == 0; i < count; i++) {
		uint8_t state = records[i].state;

		if (records[i].zone == walk->zone &&
		    (state == GUARD_LIVE || state == GUARD_CHECKED))
			malloc_ranges_add(&walk->found, MALLOC_PTR_IN_USE_RANGE_TYPE,
			                  records[i].block, records[i].bytes);
	}
	return KERN_SUCCESS;
}

static kern_return_t walk_records(struct walk *walk, const struct guard_descriptor *descriptor)
{
	for (uint32_t first = 0; first < descriptor->record_count; first += GUARD_TABLE_RECORDS) {
		uint32_t left = descriptor->record_count - first;
		uint64_t at = descriptor->tables + first / GUARD_TABLE_RECORDS * sizeof(uint64_t);
		const uint64_t *table = read_bytes(walk, at, sizeof(*table));
		kern_return_t failed = KERN_FAILURE;

		if (table && *table)
			failed =
				walk_table(walk, *table, first,
			                   left < GUARD_TABLE_RECORDS ? left : GUARD_TABLE_RECORDS);
		if (failed)
			return failed;
	}
	return KERN_SUCCESS;
}

static kern_return_t walk_extents(struct walk *walk, const struct guard_descriptor *descriptor)
{
	const struct guard_extent *extents;

	extents =
		read_bytes(walk, descriptor->extents, descriptor->extent_count * sizeof(*extents));
	if (!extents)
		return KERN_FAILURE;
	for (uint32_t i = 0; i < descriptor->extent_count; i++)
		malloc_ranges_add(&walk->found, MALLOC_PTR_REGION_RANGE_TYPE, extents[i].start,
		                  extents[i].used - extents[i].start);
	return KERN_SUCCESS;
}

static kern_return_t enumerate(task_t task, void *context, unsigned types, vm_address_t address,
                               memory_reader_t reader, vm_range_recorder_t recorder)
{
	struct walk walk = {
		.task = task,
		.reader = reader ? reader : read_own,
		.found = { .task = task, .recorder = recorder, .context = context, .mask = types }
	};
	struct guard_descriptor descriptor;
	const struct guard_zone *zone = read_bytes(&walk, address, sizeof(*zone));
	const void *bytes;
	kern_return_t failed = KERN_SUCCESS;

	if (!zone)
		return KERN_FAILURE;
	walk.zone = zone->index;
	bytes = read_bytes(&walk, (uintptr_t)zone->zone.reserved2, sizeof(descriptor));
	if (!bytes)
		return KERN_FAILURE;
	memcpy(&descriptor, bytes, sizeof(descriptor));
	if (descriptor.version != GUARD_VERSION || descriptor.bytes != sizeof(descriptor))
		return KERN_FAILURE;
	if (types & MALLOC_PTR_REGION_RANGE_TYPE && walk.zone == 0)
		failed = walk_extents(&walk, &descriptor);
	if (!failed && types & MALLOC_PTR_IN_USE_RANGE_TYPE)
		failed = walk_records(&walk, &descriptor);
	if (failed)
		return failed;
	malloc_ranges_flush(&walk.found);
	// What is not guarded is in the core zone, which its table knows by the address of the wrapper.
	return malloc_core_introspection.enumerator(task, context, types, address, reader,
	                                            recorder);
}

static size_t good_size(malloc_zone_t *zone, size_t bytes)
{
	(void)zone;
	return bytes;
}

static boolean_t check(malloc_zone_t *zone)
{
	(void)zone;
	return guard_check();
}

// Guarded blocks of one zone; the other numbers are those of the process and told by the first zone.
static void guarded_statistics(malloc_zone_t *zone, malloc_statistics_t *ret)
{
	uint32_t index = ((const struct guard_zone *)zone)->index;
	uint32_t count = __atomic_load_n(&guard_descriptor.record_count, __ATOMIC_ACQUIRE);

	*ret = (malloc_statistics_t){ 0 };
	for (uint32_t i = 1; i < count; i++) {
		const struct guard_record *record = guard_record_at(i);
		uint32_t state = guard_state(record);

		if (record->zone != index || (state != GUARD_LIVE && state != GUARD_CHECKED))
			continue;
		ret->blocks_in_use++;
		ret->size_in_use += record->bytes;
		ret->size_allocated += (size_t)record->open_pages * GUARD_PAGE_BYTES;
	}
	ret->max_size_in_use = index ? ret->size_in_use : guard_descriptor.peak_bytes;
}

static void statistics(malloc_zone_t *zone, malloc_statistics_t *ret)
{
	malloc_zone_t *core = ((const struct guard_zone *)zone)->core;
	malloc_statistics_t unguarded;

	guarded_statistics(zone, ret);
	malloc_core_introspection.statistics(core, &unguarded);
	ret->blocks_in_use += unguarded.blocks_in_use;
	ret->size_in_use += unguarded.size_in_use;
	ret->max_size_in_use += unguarded.max_size_in_use;
	ret->size_allocated += unguarded.size_allocated;
}

static void print(malloc_zone_t *zone, boolean_t verbose)
{
	malloc_statistics_t sums;

	guarded_statistics(zone, &sums);
	malloc_print("Guard Malloc zone %p: %u blocks, %zu bytes asked for, %zu bytes of pages\n",
	             (void *)zone, sums.blocks_in_use, sums.size_in_use, sums.size_allocated);
	for (uint32_t i = 1; verbose && i < guard_descriptor.record_count; i++) {
		const struct guard_record *record = guard_record_at(i);

		if (guard_state(record) == GUARD_LIVE &&
		    record->zone == ((const struct guard_zone *)zone)->index)
			malloc_print("  %p %zu bytes, thread %u\n", (void *)record->block,
			             record->bytes, record->allocated_by);
	}
}

static void log_block(malloc_zone_t *zone, void *address)
{
	(void)zone;
	(void)address;
}

static void force_lock(malloc_zone_t *zone)
{
	(void)zone;
	guard_fork_prepare();
}

static void force_unlock(malloc_zone_t *zone)
{
	(void)zone;
	guard_fork_parent();
}

static void reinit_lock(malloc_zone_t *zone)
{
	(void)zone;
	guard_fork_child();
}

static boolean_t zone_locked(malloc_zone_t *zone)
{
	(void)zone;
	return guard_locked();
}

struct malloc_introspection_t guard_introspection = {
	.enumerator = enumerate,
	.good_size = good_size,
	.check = check,
	.print = print,
	.log = log_block,
	.force_lock = force_lock,
	.force_unlock = force_unlock,
	.statistics = statistics,
	.zone_locked = zone_locked,
	.reinit_lock = reinit_lock,
	.zone_type = MALLOC_ZONE_TYPE_WRAPPER,
};
