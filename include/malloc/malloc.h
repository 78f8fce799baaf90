// SPDX-License-Identifier: MIT
// Zones: heaps of their own, which a program creates, fills and destroys as a whole. Names and meaning
// are those of the header <malloc/malloc.h> of Mac OS X, so that programs written for it build here.
// Programs link -lheapwright or are started under it.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

// The Mach types that these functions need, in their meaning here: a task is a process id.
typedef int kern_return_t;
typedef int task_t;
typedef uintptr_t vm_address_t;
typedef size_t vm_size_t;
typedef int boolean_t;

typedef struct {
	vm_address_t address;
	vm_size_t size;
} vm_range_t;

typedef struct {
	unsigned blocks_in_use;
	size_t size_in_use;
	size_t max_size_in_use; // high water mark of size_in_use
	size_t size_allocated;  // kept in memory for the zone
} malloc_statistics_t;

// Reads size bytes at remote_address of a task; *local_memory is valid until the next call.
typedef kern_return_t memory_reader_t(task_t remote_task, vm_address_t remote_address,
                                      vm_size_t size, void **local_memory);

// What an enumerator yields and is asked for.
#define MALLOC_PTR_IN_USE_RANGE_TYPE   1 // blocks that the program owns
#define MALLOC_PTR_REGION_RANGE_TYPE   2 // memory that holds blocks
#define MALLOC_ADMIN_REGION_RANGE_TYPE 4 // memory for the allocator's own use
typedef void vm_range_recorder_t(task_t, void *context, unsigned type, vm_range_t *,
                                 unsigned count);

struct _malloc_zone_t;

typedef struct malloc_introspection_t {
	kern_return_t (*enumerator)(task_t task, void *context, unsigned type_mask,
	                            vm_address_t zone_address, memory_reader_t reader,
	                            vm_range_recorder_t recorder);
	size_t (*good_size)(struct _malloc_zone_t *zone, size_t size);
	boolean_t (*check)(struct _malloc_zone_t *zone); // whether the zone is consistent
	void (*print)(struct _malloc_zone_t *zone, boolean_t verbose);
	void (*log)(struct _malloc_zone_t *zone, void *address);
	void (*force_lock)(struct _malloc_zone_t *zone);
	void (*force_unlock)(struct _malloc_zone_t *zone);
	void (*statistics)(struct _malloc_zone_t *zone, malloc_statistics_t *stats);
	boolean_t (*zone_locked)(struct _malloc_zone_t *zone);
	boolean_t (*enable_discharge_checking)(struct _malloc_zone_t *zone);
	void (*disable_discharge_checking)(struct _malloc_zone_t *zone);
	void (*discharge)(struct _malloc_zone_t *zone, void *memory);
	void *enumerate_discharged_pointers;
	void (*reinit_lock)(struct _malloc_zone_t *zone);
	void (*print_task)(task_t task, unsigned level, vm_address_t zone_address,
	                   memory_reader_t reader, void *printer);
	void (*task_statistics)(task_t task, vm_address_t zone_address, memory_reader_t reader,
	                        malloc_statistics_t *stats);
	unsigned zone_type;
} malloc_introspection_t;

// A zone. Programs may fill one in themselves and register it; members from memalign on count only
// from the version that is named, and may be NULL.
typedef struct _malloc_zone_t {
	void *reserved1, *reserved2;
	size_t (*size)(struct _malloc_zone_t *zone,
	               const void *ptr); // 0 when it is not this zone's
	void *(*malloc)(struct _malloc_zone_t *zone, size_t size);
	void *(*calloc)(struct _malloc_zone_t *zone, size_t num_items, size_t size);
	void *(*valloc)(struct _malloc_zone_t *zone, size_t size); // on a page, zeroed
	void (*free)(struct _malloc_zone_t *zone, void *ptr);
	void *(*realloc)(struct _malloc_zone_t *zone, void *ptr, size_t size);
	void (*destroy)(struct _malloc_zone_t *zone);
	const char *zone_name;
	unsigned (*batch_malloc)(struct _malloc_zone_t *zone, size_t size, void **results,
	                         unsigned num_requested);
	void (*batch_free)(struct _malloc_zone_t *zone, void **to_be_freed,
	                   unsigned num_to_be_freed);
	struct malloc_introspection_t *introspect;
	unsigned version;
	void *(*memalign)(struct _malloc_zone_t *zone, size_t alignment, size_t size);   // 5
	void (*free_definite_size)(struct _malloc_zone_t *zone, void *ptr, size_t size); // 6
	size_t (*pressure_relief)(struct _malloc_zone_t *zone, size_t goal);             // 8
	boolean_t (*claimed_address)(struct _malloc_zone_t *zone, void *ptr);            // 10
	void (*try_free_default)(struct _malloc_zone_t *zone, void *ptr);                // 13
	void *(*malloc_with_options)(struct _malloc_zone_t *zone, size_t align, size_t size,
	                             uint64_t options); // 15
} malloc_zone_t;

malloc_zone_t *malloc_default_zone(void);
malloc_zone_t *malloc_create_zone(vm_size_t start_size, unsigned flags);
void malloc_destroy_zone(malloc_zone_t *zone);

#ifdef __cplusplus
}
#endif
