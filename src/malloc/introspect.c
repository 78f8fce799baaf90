// SPDX-License-Identifier: MIT
// The introspection table of core zones: what a zone says of itself, here and in another process. All
// that lists or counts blocks rests on walk.c. Called through the table, also by wrappers of core zones.
#include "malloc/malloc.h"

#include <string.h>

#include "os/inside.h"

// --- enumerator ---------------------------------------------------------------------------------------
void malloc_ranges_flush(struct malloc_ranges *list)
{
	if (list->count)
		list->recorder(list->task, list->context, list->type, list->ranges, list->count);
	list->count = 0;
}

void malloc_ranges_add(struct malloc_ranges *list, unsigned type, uint64_t start, uint64_t bytes)
{
	if (!(list->mask & type))
		return;
	if (list->count == MALLOC_RANGES || list->type != type)
		malloc_ranges_flush(list);
	list->type = type;
	list->ranges[list->count++] = (vm_range_t){ start, bytes };
}

static void enumerate_block(void *context, uint64_t start, uint64_t bytes)
{
	malloc_ranges_add(context, MALLOC_PTR_IN_USE_RANGE_TYPE, start, bytes);
}

static void enumerate_region(void *context, const struct malloc_region *region)
{
	unsigned type = region->kind == MALLOC_REGION_METADATA ? MALLOC_ADMIN_REGION_RANGE_TYPE
	                                                       : MALLOC_PTR_REGION_RANGE_TYPE;

	malloc_ranges_add(context, type, region->start, region->end - region->start);
}

// The number of a zone of a process by its address; of ours also that of the core inside a wrapper.
static kern_return_t find_zone(const struct malloc_task *task, vm_address_t address, uint32_t *ret)
{
	if (!task->reader) {
		*ret = malloc_core_index((const malloc_zone_t *)address);
		if (*ret != UINT32_MAX)
			return KERN_SUCCESS;
	}
	return malloc_walk_find(task, address, ret);
}

static kern_return_t walk_zone(task_t process, vm_address_t address, memory_reader_t reader,
                               const struct malloc_visitor *visitor)
{
	struct malloc_task task;
	uint32_t number;
	kern_return_t error = malloc_task_open(process, reader, &task);

	if (!error)
		error = find_zone(&task, address, &number);
	return error ? error : malloc_walk(&task, number, visitor);
}

static kern_return_t zone_enumerator(task_t task, void *context, unsigned mask,
                                     vm_address_t address, memory_reader_t reader,
                                     vm_range_recorder_t recorder)
{
	struct malloc_ranges list = {
		.task = task, .context = context, .recorder = recorder, .mask = mask
	};
	struct malloc_visitor visitor = {
		.region = enumerate_region,
		.block = mask & MALLOC_PTR_IN_USE_RANGE_TYPE ? enumerate_block : NULL,
		.context = &list,
	};
	kern_return_t error;

	if (!recorder)
		return KERN_INVALID_ARGUMENT;
	error = walk_zone(task, address, reader, &visitor);
	if (!error)
		malloc_ranges_flush(&list);
	return error;
}

// --- sums ---------------------------------------------------------------------------------------------
static void sum_slab(void *context, uint64_t block_bytes, uint32_t live, uint32_t free)
{
	struct malloc_zone_sums *sums = context;

	sums->statistics.blocks_in_use += live;
	sums->statistics.size_in_use += live * block_bytes;
	sums->free_blocks += free;
}

// Where notes are kept a block's size is what its program may use of it.
static void sum_noted_slab(void *context, uint64_t block_bytes, uint32_t live, uint32_t free)
{
	struct malloc_zone_sums *sums = context;

	(void)block_bytes;
	sums->statistics.blocks_in_use += live;
	sums->free_blocks += free;
}

static void sum_noted_block(void *context, uint64_t start, uint64_t bytes)
{
	struct malloc_zone_sums *sums = context;

	(void)start;
	sums->statistics.size_in_use += bytes;
}

static void sum_region(void *context, const struct malloc_region *region)
{
	struct malloc_zone_sums *sums = context;

	if (region->kind != MALLOC_REGION_METADATA)
		sums->statistics.size_allocated += region->end - region->start;
}

static kern_return_t sum_zone(task_t task, vm_address_t address, memory_reader_t reader,
                              struct malloc_zone_sums *ret)
{
	bool noted = heapwright_malloc.features & MALLOC_FEATURE_NOTES;
	const struct malloc_visitor visitor = {
		.region = sum_region,
		.slab = noted ? sum_noted_slab : sum_slab,
		.block = noted ? sum_noted_block : NULL,
		.context = ret,
	};

	kern_return_t error;

	memset(ret, 0, sizeof(*ret));
	error = walk_zone(task, address, reader, &visitor);
	// The best bound that the published tables have.
	ret->statistics.max_size_in_use = ret->statistics.size_allocated;
	return error;
}

void malloc_core_sums(const malloc_zone_t *core, struct malloc_zone_sums *ret)
{
	sum_zone(0, (vm_address_t)core, NULL, ret);
	ret->statistics.max_size_in_use =
		malloc_core_most_in_use(core, ret->statistics.size_in_use);
}

static void zone_statistics(malloc_zone_t *zone, malloc_statistics_t *stats)
{
	struct malloc_zone_sums sums;

	malloc_core_sums(zone, &sums);
	*stats = sums.statistics;
}

static void zone_task_statistics(task_t task, vm_address_t address, memory_reader_t reader,
                                 malloc_statistics_t *stats)
{
	struct malloc_zone_sums sums;

	sum_zone(task, address, reader, &sums);
	*stats = sums.statistics;
}

// --- print --------------------------------------------------------------------------------------------
struct class_row {
	uint64_t block_bytes;
	size_t live, free;
};

struct class_table {
	struct class_row rows[MALLOC_CLASSES_MAX];
	unsigned count;
	struct class_row larger; // all sizes that have no row
};

static void count_slab(void *context, uint64_t block_bytes, uint32_t live, uint32_t free)
{
	struct class_table *table = context;
	struct class_row *row = &table->larger;
	unsigned i;

	for (i = 0; i < table->count && table->rows[i].block_bytes != block_bytes; i++)
		;
	if (i < MALLOC_CLASSES_MAX && block_bytes <= MALLOC_SMALL_MAX) {
		row = &table->rows[i];
		row->block_bytes = block_bytes;
		table->count += i == table->count;
	}
	row->live += live;
	row->free += free;
}

static void print_table(const struct class_table *table, print_task_printer_t printer)
{
	for (unsigned i = 0; i < table->count; i++)
		printer("  size %6zu: %zu in use, %zu free\n", (size_t)table->rows[i].block_bytes,
		        table->rows[i].live, table->rows[i].free);
	if (table->larger.live)
		printer("  larger     : %zu in use\n", table->larger.live);
}

static void zone_print_task(task_t task, unsigned level, vm_address_t address,
                            memory_reader_t reader, print_task_printer_t printer)
{
	struct class_table table = { .count = 0 };
	struct malloc_visitor visitor = { .slab = count_slab, .context = &table };
	struct malloc_zone_sums sums;
	kern_return_t error = sum_zone(task, address, reader, &sums);

	if (error) {
		printer("zone %p: cannot be read (%d)\n", (void *)address, error);
		return;
	}
	printer("zone %p: %u blocks in use, %zu bytes in use, %zu blocks free, %zu bytes "
	        "allocated\n",
	        (void *)address, sums.statistics.blocks_in_use, sums.statistics.size_in_use,
	        sums.free_blocks, sums.statistics.size_allocated);
	if (level && !walk_zone(task, address, reader, &visitor))
		print_table(&table, printer);
}

static void print_plainly(const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	malloc_format(text, sizeof(text), format, arguments);
	va_end(arguments);
	malloc_print("%s", text);
}

static void zone_print(malloc_zone_t *zone, boolean_t verbose)
{
	if (zone->zone_name)
		malloc_print("%s: ", zone->zone_name);
	zone_print_task(0, verbose ? 1 : 0, (vm_address_t)zone, NULL, print_plainly);
}

// --- the rest -----------------------------------------------------------------------------------------
static size_t zone_good_size(malloc_zone_t *zone, size_t size)
{
	(void)zone;
	return malloc_core_good_size(size);
}

static boolean_t zone_check(malloc_zone_t *zone)
{
	return malloc_core_check(zone);
}

static void zone_log(malloc_zone_t *zone, void *address)
{
	size_t bytes;

	if (malloc_registry_owner(address, &bytes))
		malloc_message("zone %p: %p is a block of %zu bytes", (void *)zone, address, bytes);
	else
		malloc_message("zone %p: %p is no block", (void *)zone, address);
}

// All locks of the core at once: so an enumeration in the own process, or a fork by other means than
// libc's, meets consistent metadata. One thread may take it for several zones.
static int32_t lock_owner;
static uint32_t lock_depth;

static void zone_force_lock(malloc_zone_t *zone)
{
	int32_t self = inside_thread_id();

	(void)zone;
	if (__atomic_load_n(&lock_owner, __ATOMIC_RELAXED) != self) {
		malloc_core_lock();
		__atomic_store_n(&lock_owner, self, __ATOMIC_RELAXED);
	}
	lock_depth++;
}

static void zone_force_unlock(malloc_zone_t *zone)
{
	(void)zone;
	if (__atomic_load_n(&lock_owner, __ATOMIC_RELAXED) != inside_thread_id() || --lock_depth)
		return;
	__atomic_store_n(&lock_owner, 0, __ATOMIC_RELAXED);
	malloc_core_unlock();
}

static void zone_reinit_lock(malloc_zone_t *zone)
{
	(void)zone;
	if (!lock_depth)
		return;
	lock_depth = 0;
	lock_owner = 0;
	malloc_fork_child();
}

static boolean_t zone_locked(malloc_zone_t *zone)
{
	(void)zone;
	return __atomic_load_n(&lock_owner, __ATOMIC_RELAXED) != 0;
}

struct malloc_introspection_t malloc_core_introspection = {
	.enumerator = zone_enumerator,
	.good_size = zone_good_size,
	.check = zone_check,
	.print = zone_print,
	.log = zone_log,
	.force_lock = zone_force_lock,
	.force_unlock = zone_force_unlock,
	.statistics = zone_statistics,
	.zone_locked = zone_locked,
	.enable_discharge_checking = malloc_zone_enable_discharge_checking,
	.disable_discharge_checking = malloc_zone_disable_discharge_checking,
	.discharge = malloc_zone_discharge,
	.enumerate_discharged_pointers = malloc_zone_enumerate_discharged_pointers,
	.reinit_lock = zone_reinit_lock,
	.print_task = zone_print_task,
	.task_statistics = zone_task_statistics,
};
