// SPDX-License-Identifier: MIT
// The zone that malloc_default_zone returns: it has no blocks of its own but hands each call to the
// first registered zone, so that a program may keep it while it puts another zone in that place.
#include "malloc/malloc.h"

static size_t virtual_size(malloc_zone_t *zone, const void *p)
{
	zone = malloc_registry_first();
	return zone->size(zone, p);
}

static void *virtual_malloc(malloc_zone_t *zone, size_t size)
{
	zone = malloc_registry_first();
	return zone->malloc(zone, size);
}

static void *virtual_calloc(malloc_zone_t *zone, size_t count, size_t size)
{
	zone = malloc_registry_first();
	return zone->calloc(zone, count, size);
}

static void *virtual_valloc(malloc_zone_t *zone, size_t size)
{
	zone = malloc_registry_first();
	return zone->valloc(zone, size);
}

static void virtual_free(malloc_zone_t *zone, void *p)
{
	zone = malloc_registry_first();
	zone->free(zone, p);
}

static void *virtual_realloc(malloc_zone_t *zone, void *p, size_t size)
{
	zone = malloc_registry_first();
	return zone->realloc(zone, p, size);
}

static void virtual_destroy(malloc_zone_t *zone)
{
	malloc_destroy_zone(zone); // which refuses it
}

static unsigned virtual_batch_malloc(malloc_zone_t *zone, size_t size, void **results,
                                     unsigned count)
{
	return malloc_zone_batch_malloc(zone, size, results, count);
}

static void virtual_batch_free(malloc_zone_t *zone, void **blocks, unsigned count)
{
	malloc_zone_batch_free(zone, blocks, count);
}

static void *virtual_memalign(malloc_zone_t *zone, size_t alignment, size_t size)
{
	return malloc_zone_memalign(zone, alignment, size);
}

static void virtual_free_definite_size(malloc_zone_t *zone, void *p, size_t size)
{
	zone = malloc_registry_first();
	if (zone->version >= 6 && zone->free_definite_size)
		zone->free_definite_size(zone, p, size);
	else
		zone->free(zone, p);
}

static size_t virtual_pressure_relief(malloc_zone_t *zone, size_t goal)
{
	return malloc_zone_pressure_relief(zone, goal);
}

static boolean_t virtual_claimed_address(malloc_zone_t *zone, void *p)
{
	return malloc_zone_claimed_address(zone, p);
}

static void virtual_try_free_default(malloc_zone_t *zone, void *p)
{
	zone = malloc_registry_first();
	if (zone->version >= 13 && zone->try_free_default)
		zone->try_free_default(zone, p);
	else
		zone->free(zone, p);
}

static void *virtual_malloc_with_options(malloc_zone_t *zone, size_t align, size_t size,
                                         uint64_t options)
{
	return malloc_zone_malloc_with_options(zone, align, size, options);
}

static void *virtual_type_malloc(malloc_zone_t *zone, size_t size, malloc_type_id_t type)
{
	return malloc_type_zone_malloc(zone, size, type);
}

static void *virtual_type_calloc(malloc_zone_t *zone, size_t count, size_t size,
                                 malloc_type_id_t type)
{
	return malloc_type_zone_calloc(zone, count, size, type);
}

static void *virtual_type_realloc(malloc_zone_t *zone, void *p, size_t size, malloc_type_id_t type)
{
	return malloc_type_zone_realloc(zone, p, size, type);
}

static void *virtual_type_memalign(malloc_zone_t *zone, size_t alignment, size_t size,
                                   malloc_type_id_t type)
{
	return malloc_type_zone_memalign(zone, alignment, size, type);
}

static void *virtual_type_malloc_with_options(malloc_zone_t *zone, size_t align, size_t size,
                                              uint64_t options, malloc_type_id_t type)
{
	return malloc_type_zone_malloc_with_options(zone, align, size, options, type);
}

// Also asked for the other zones of a process, as this table is the one that a tool has at hand. When
// the first zone of another process is one that it wrote itself, the core's walk does not know it.
static vm_address_t real_address(task_t task, vm_address_t address, memory_reader_t reader)
{
	struct malloc_task there;
	vm_address_t *addresses;
	unsigned count;

	if (malloc_task_open(task, reader, &there) ||
	    address != (vm_address_t)&malloc_virtual_zone + there.slide)
		return address;
	if (malloc_get_all_zones(task, reader, &addresses, &count) || !count)
		return address;
	return addresses[0];
}

static kern_return_t virtual_enumerator(task_t task, void *context, unsigned mask,
                                        vm_address_t address, memory_reader_t reader,
                                        vm_range_recorder_t recorder)
{
	const malloc_introspection_t *table = &malloc_core_introspection;

	address = real_address(task, address, reader);
	if (!reader)
		table = ((malloc_zone_t *)address)->introspect;
	return table->enumerator(task, context, mask, address, reader, recorder);
}

static size_t virtual_good_size(malloc_zone_t *zone, size_t size)
{
	zone = malloc_registry_first();
	return zone->introspect->good_size(zone, size);
}

static boolean_t virtual_check(malloc_zone_t *zone)
{
	return malloc_zone_check(zone);
}

static void virtual_print(malloc_zone_t *zone, boolean_t verbose)
{
	malloc_zone_print(zone, verbose);
}

static void virtual_log(malloc_zone_t *zone, void *address)
{
	malloc_zone_log(zone, address);
}

static void virtual_force_lock(malloc_zone_t *zone)
{
	zone = malloc_registry_first();
	zone->introspect->force_lock(zone);
}

static void virtual_force_unlock(malloc_zone_t *zone)
{
	zone = malloc_registry_first();
	zone->introspect->force_unlock(zone);
}

static void virtual_statistics(malloc_zone_t *zone, malloc_statistics_t *stats)
{
	malloc_zone_statistics(zone, stats);
}

static boolean_t virtual_zone_locked(malloc_zone_t *zone)
{
	zone = malloc_registry_first();
	return zone->version >= 5 && zone->introspect->zone_locked
	               ? zone->introspect->zone_locked(zone)
	               : 0;
}

static boolean_t virtual_enable_discharge_checking(malloc_zone_t *zone)
{
	return malloc_zone_enable_discharge_checking(zone);
}

static void virtual_disable_discharge_checking(malloc_zone_t *zone)
{
	malloc_zone_disable_discharge_checking(zone);
}

static void virtual_discharge(malloc_zone_t *zone, void *memory)
{
	malloc_zone_discharge(zone, memory);
}

static void virtual_reinit_lock(malloc_zone_t *zone)
{
	zone = malloc_registry_first();
	if (zone->version >= 9 && zone->introspect->reinit_lock)
		zone->introspect->reinit_lock(zone);
}

static void virtual_print_task(task_t task, unsigned level, vm_address_t address,
                               memory_reader_t reader, print_task_printer_t printer)
{
	malloc_core_introspection.print_task(task, level, real_address(task, address, reader),
	                                     reader, printer);
}

static void virtual_task_statistics(task_t task, vm_address_t address, memory_reader_t reader,
                                    malloc_statistics_t *stats)
{
	malloc_core_introspection.task_statistics(task, real_address(task, address, reader), reader,
	                                          stats);
}

static struct malloc_introspection_t virtual_introspection = {
	.enumerator = virtual_enumerator,
	.good_size = virtual_good_size,
	.check = virtual_check,
	.print = virtual_print,
	.log = virtual_log,
	.force_lock = virtual_force_lock,
	.force_unlock = virtual_force_unlock,
	.statistics = virtual_statistics,
	.zone_locked = virtual_zone_locked,
	.enable_discharge_checking = virtual_enable_discharge_checking,
	.disable_discharge_checking = virtual_disable_discharge_checking,
	.discharge = virtual_discharge,
	.enumerate_discharged_pointers = malloc_zone_enumerate_discharged_pointers,
	.reinit_lock = virtual_reinit_lock,
	.print_task = virtual_print_task,
	.task_statistics = virtual_task_statistics,
};

malloc_zone_t malloc_virtual_zone = {
	.size = virtual_size,
	.malloc = virtual_malloc,
	.calloc = virtual_calloc,
	.valloc = virtual_valloc,
	.free = virtual_free,
	.realloc = virtual_realloc,
	.destroy = virtual_destroy,
	.zone_name = "DefaultMallocZone",
	.batch_malloc = virtual_batch_malloc,
	.batch_free = virtual_batch_free,
	.introspect = &virtual_introspection,
	.version = 16,
	.memalign = virtual_memalign,
	.free_definite_size = virtual_free_definite_size,
	.pressure_relief = virtual_pressure_relief,
	.claimed_address = virtual_claimed_address,
	.try_free_default = virtual_try_free_default,
	.malloc_with_options = virtual_malloc_with_options,
	.malloc_type_malloc = virtual_type_malloc,
	.malloc_type_calloc = virtual_type_calloc,
	.malloc_type_realloc = virtual_type_realloc,
	.malloc_type_memalign = virtual_type_memalign,
	.malloc_type_malloc_with_options = virtual_type_malloc_with_options,
};

MALLOC_EXPORT malloc_zone_t *malloc_default_zone(void)
{
	return &malloc_virtual_zone;
}
