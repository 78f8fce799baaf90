// SPDX-License-Identifier: MIT
// The functions of the public header that look at zones: check, print, statistics, log, pressure, and
// the zones of another process.
#include "malloc/malloc.h"

#include <string.h>

#include "os/inside.h"

// --- each zone or all of them -------------------------------------------------------------------------
static void on_zones(malloc_zone_t *zone_or_null, bool (*each)(void *, malloc_zone_t *),
                     void *context)
{
	if (zone_or_null)
		each(context, malloc_registry_real(zone_or_null));
	else
		malloc_registry_each(each, context);
}

static bool check_one(void *context, malloc_zone_t *zone)
{
	boolean_t *sound = context;

	if (zone->introspect && zone->introspect->check && !zone->introspect->check(zone))
		*sound = false;
	return true;
}

MALLOC_EXPORT boolean_t malloc_zone_check(malloc_zone_t *zone)
{
	boolean_t sound = true;

	on_zones(zone, check_one, &sound);
	return sound;
}

static bool print_one(void *context, malloc_zone_t *zone)
{
	if (zone->introspect && zone->introspect->print)
		zone->introspect->print(zone, *(boolean_t *)context);
	return true;
}

MALLOC_EXPORT void malloc_zone_print(malloc_zone_t *zone, boolean_t verbose)
{
	on_zones(zone, print_one, &verbose);
}

static bool log_one(void *address, malloc_zone_t *zone)
{
	if (zone->introspect && zone->introspect->log)
		zone->introspect->log(zone, address);
	return true;
}

MALLOC_EXPORT void malloc_zone_log(malloc_zone_t *zone, void *address)
{
	on_zones(zone, log_one, address);
}

static bool add_statistics(void *context, malloc_zone_t *zone)
{
	malloc_statistics_t *sum = context, one = { 0 };

	if (!zone->introspect || !zone->introspect->statistics)
		return true;
	zone->introspect->statistics(zone, &one);
	sum->blocks_in_use += one.blocks_in_use;
	sum->size_in_use += one.size_in_use;
	sum->max_size_in_use += one.max_size_in_use;
	sum->size_allocated += one.size_allocated;
	return true;
}

MALLOC_EXPORT void malloc_zone_statistics(malloc_zone_t *zone, malloc_statistics_t *stats)
{
	memset(stats, 0, sizeof(*stats));
	on_zones(zone, add_statistics, stats);
}

static bool add_free_blocks(void *context, malloc_zone_t *zone)
{
	struct malloc_zone_sums sums;

	if (malloc_core_index(zone) != UINT32_MAX) {
		malloc_core_sums(zone, &sums);
		*(size_t *)context += sums.free_blocks;
	}
	return true;
}

MALLOC_EXPORT struct mstats mstats(void)
{
	malloc_statistics_t sum;
	struct mstats ret = { 0 };

	malloc_zone_statistics(NULL, &sum);
	malloc_registry_each(add_free_blocks, &ret.chunks_free);
	ret.bytes_total = sum.size_allocated;
	ret.chunks_used = sum.blocks_in_use;
	ret.bytes_used = sum.size_in_use;
	ret.bytes_free = ret.bytes_total > ret.bytes_used ? ret.bytes_total - ret.bytes_used : 0;
	return ret;
}

struct relief {
	size_t goal, given;
};

static bool relieve_one(void *context, malloc_zone_t *zone)
{
	struct relief *relief = context;
	size_t left = relief->goal ? relief->goal - relief->given : 0;

	if (zone->version >= 8 && zone->pressure_relief)
		relief->given += zone->pressure_relief(zone, left);
	return !relief->goal || relief->given < relief->goal;
}

MALLOC_EXPORT size_t malloc_zone_pressure_relief(malloc_zone_t *zone, size_t goal)
{
	struct relief relief = { .goal = goal };

	on_zones(zone, relieve_one, &relief);
	return relief.given;
}

MALLOC_EXPORT void malloc_zone_print_ptr_info(void *ptr)
{
	char text[256];
	size_t bytes, count;
	malloc_zone_t *zone = malloc_registry_owner(ptr, &bytes);
	const char *name = zone ? zone->zone_name : NULL;

	if (zone)
		count = malloc_text(text, sizeof(text),
		                    "ptr %p is a block of %zu bytes in zone %p%s%s\n", ptr, bytes,
		                    (void *)zone, name ? " " : "", name ? name : "");
	else
		count = malloc_text(text, sizeof(text), "ptr %p is no block of a registered zone\n",
		                    ptr);
	inside_write(1, text, count);
}

// --- zones of another process -------------------------------------------------------------------------
static kern_return_t own_zones(task_t task, vm_address_t **addresses, unsigned *count)
{
	if (task && task != inside_process_id())
		return KERN_INVALID_ARGUMENT;
	malloc_registry_first();
	*addresses = (vm_address_t *)malloc_zones;
	*count = malloc_num_zones;
	return KERN_SUCCESS;
}

MALLOC_EXPORT kern_return_t malloc_get_all_zones(task_t task, memory_reader_t reader,
                                                 vm_address_t **addresses, unsigned *count)
{
	struct malloc_zone_list list;
	struct malloc_task there;
	kern_return_t error;
	void *local;

	if (!reader)
		return own_zones(task, addresses, count);
	error = malloc_task_open(task, reader, &there);
	if (!error)
		error = malloc_task_read(&there, (uintptr_t)&malloc_zone_list + there.slide, &list,
		                         sizeof(list));
	if (!error)
		error = reader(task, (vm_address_t)list.zones, list.count * sizeof(*list.zones),
		               &local);
	*count = error ? 0 : list.count;
	if (!error)
		*addresses = local;
	return error;
}

MALLOC_EXPORT kern_return_t malloc_get_wrapped_zone(task_t task, memory_reader_t reader,
                                                    vm_address_t zone_address,
                                                    vm_address_t *wrapped_zone_address)
{
	struct malloc_wrapper wrapper;
	malloc_introspection_t table;
	struct malloc_task there;
	kern_return_t error = malloc_task_open(task, reader, &there);

	*wrapped_zone_address = 0;
	if (!error)
		error = malloc_task_read(&there, zone_address, &wrapper, sizeof(wrapper.zone));
	if (error || wrapper.zone.version < 14 || !wrapper.zone.introspect)
		return error;
	error = malloc_task_read(&there, (uintptr_t)wrapper.zone.introspect, &table, sizeof(table));
	if (error || table.zone_type != MALLOC_ZONE_TYPE_WRAPPER)
		return error;
	return malloc_task_read(&there, zone_address + offsetof(struct malloc_wrapper, wrapped),
	                        wrapped_zone_address, sizeof(*wrapped_zone_address));
}
