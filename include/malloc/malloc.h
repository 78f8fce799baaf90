// SPDX-License-Identifier: MIT
// Zones: heaps of their own, which a program creates, fills and destroys as a whole. Names and meaning
// are those of the header <malloc/malloc.h> of Mac OS X, so that programs written for it build here.
// Programs link -lheapwright or are started under it. What differs from Mac OS X: docs/zones.md.
//
// All functions are thread-safe, except that nobody may use a zone while it is destroyed. Sizes are
// bytes. A zone argument may not be NULL unless its function says so; malloc_default_zone() may stand
// wherever a zone may. Blocks of every zone may be given to free, realloc and malloc_usable_size too.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../heapwright/mach_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
	unsigned blocks_in_use;
	size_t size_in_use;
	size_t max_size_in_use; // most that was in use, looked at whenever the heap grows and here
	size_t size_allocated;  // kept in memory for the zone
} malloc_statistics_t;

// Reads size bytes at remote_address of a task; *local_memory is valid until the next call. NULL in
// place of a reader means the calling process.
typedef kern_return_t memory_reader_t(task_t remote_task, vm_address_t remote_address,
                                      vm_size_t size, void **local_memory);

// What an enumerator yields and is asked for.
#define MALLOC_PTR_IN_USE_RANGE_TYPE   1 // blocks that the program owns
#define MALLOC_PTR_REGION_RANGE_TYPE   2 // memory that holds blocks
#define MALLOC_ADMIN_REGION_RANGE_TYPE 4 // memory for the allocator's own use
#define MALLOC_ZONE_SPECIFIC_FLAGS     0xff00
typedef void vm_range_recorder_t(task_t, void *context, unsigned type, vm_range_t *,
                                 unsigned count);

// Prints like printf; what print_task is given.
typedef void print_task_printer_t(const char *format, ...);

// A type of what a block will hold: a hash of it in the low 32 bits, a summary in the high ones.
typedef unsigned long long malloc_type_id_t;

// malloc_zone_malloc_with_options: the block is zeroed.
#define MALLOC_OPTION_CLEAR              1
#define MALLOC_NP_OPTION_CLEAR           MALLOC_OPTION_CLEAR
#define MALLOC_ZONE_MALLOC_DEFAULT_ALIGN 8
typedef uint64_t malloc_options_t;
typedef malloc_options_t malloc_zone_malloc_options_t;

struct _malloc_zone_t;

// What a zone can tell of itself. enumerator, print_task and task_statistics look at the zone at
// zone_address in another process, through reader; a tool calls those of its own zone of the same kind.
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
#ifdef __BLOCKS__
	void (*enumerate_discharged_pointers)(struct _malloc_zone_t *zone,
	                                      void (^report)(void *memory, void *info));
#else
	void *enumerate_discharged_pointers;
#endif
	void (*reinit_lock)(struct _malloc_zone_t *zone); // 9, in the child of fork
	void (*print_task)(task_t task, unsigned level, vm_address_t zone_address,
	                   memory_reader_t reader, print_task_printer_t printer); // 11
	void (*task_statistics)(task_t task, vm_address_t zone_address, memory_reader_t reader,
	                        malloc_statistics_t *stats); // 12
	unsigned zone_type;                                  // 14: MALLOC_ZONE_TYPE_*
} malloc_introspection_t;

#define MALLOC_ZONE_TYPE_UNKNOWN 0
#define MALLOC_ZONE_TYPE_WRAPPER 2 // a malloc_zone_t * behind the malloc_zone_t says of what

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
	void *(*malloc_type_malloc)(struct _malloc_zone_t *zone, size_t size,
	                            malloc_type_id_t type); // 16, and all below
	void *(*malloc_type_calloc)(struct _malloc_zone_t *zone, size_t count, size_t size,
	                            malloc_type_id_t type);
	void *(*malloc_type_realloc)(struct _malloc_zone_t *zone, void *ptr, size_t size,
	                             malloc_type_id_t type);
	void *(*malloc_type_memalign)(struct _malloc_zone_t *zone, size_t alignment, size_t size,
	                              malloc_type_id_t type);
	void *(*malloc_type_malloc_with_options)(struct _malloc_zone_t *zone, size_t align,
	                                         size_t size, uint64_t options,
	                                         malloc_type_id_t type);
} malloc_zone_t;

// --- zones ----------------------------------------------------------------------------------------
// A zone that stands for the first registered one, whichever that is; it outlives all others.
malloc_zone_t *malloc_default_zone(void);

// A new, registered zone without a name; start_size and flags are accepted and have no effect. NULL
// when there is no memory or there are 65,535 zones already.
malloc_zone_t *malloc_create_zone(vm_size_t start_size, unsigned flags);

// Frees every block of a zone and the zone itself, at a cost that depends on its regions and not on its
// blocks. Nobody may use the zone or its blocks meanwhile or afterwards. The default zone and the
// default purgeable zone are refused with a message.
void malloc_destroy_zone(malloc_zone_t *zone);

// --- blocks ---------------------------------------------------------------------------------------
// These behave as malloc, calloc, free and realloc, on a zone: 16-byte alignment, a block also for 0
// bytes, NULL and ENOMEM when there is no memory. valloc: on a page, zeroed. memalign: NULL unless the
// alignment is a power of two and at least sizeof(void *). The caller owns what they return until it
// gives it to a function that frees.
void *malloc_zone_malloc(malloc_zone_t *zone, size_t size);
void *malloc_zone_calloc(malloc_zone_t *zone, size_t num_items, size_t size);
void *malloc_zone_valloc(malloc_zone_t *zone, size_t size);
void *malloc_zone_realloc(malloc_zone_t *zone, void *ptr, size_t size);
void *malloc_zone_memalign(malloc_zone_t *zone, size_t alignment, size_t size);
void malloc_zone_free(malloc_zone_t *zone, void *ptr);

// As aligned_alloc on a zone; zone may be NULL for the default one. align
// MALLOC_ZONE_MALLOC_DEFAULT_ALIGN asks for nothing; of any other one size must be a multiple, else the
// answer is NULL. errno says nothing.
void *malloc_zone_malloc_with_options(malloc_zone_t *zone, size_t align, size_t size,
                                      malloc_options_t options);

// Up to count blocks of size bytes at once; returns how many there are. Our zones fill the request
// as long as there is memory; a zone without this ability answers 0.
unsigned malloc_zone_batch_malloc(malloc_zone_t *zone, size_t size, void **results, unsigned count);

// Frees count blocks of one zone; NULLs among them are skipped. The array may be overwritten.
void malloc_zone_batch_free(malloc_zone_t *zone, void **to_be_freed, unsigned count);

// realloc that frees the old block when it fails.
void *reallocf(void *ptr, size_t size);
void *reallocarrayf(void *ptr, size_t count, size_t size);

// --- what a pointer is ----------------------------------------------------------------------------
// The zone of a block, by its start; NULL for everything else.
malloc_zone_t *malloc_zone_from_ptr(const void *ptr);

// Usable bytes of a live block of any zone, by its start; 0 for everything else.
size_t malloc_size(const void *ptr);

// The size of the block that a request for size bytes gets from the default zone.
size_t malloc_good_size(size_t size);

// Whether memory of a zone (of any zone) may be at an address. No is certain, yes is not.
boolean_t malloc_claimed_address(void *ptr);
boolean_t malloc_zone_claimed_address(malloc_zone_t *zone, void *ptr);

// --- memory that the system may take ------------------------------------------------------------
// A zone whose blocks of more than 32 KiB may be made purgeable: while they are, their contents may
// go when the system needs memory. Blocks of other zones and smaller ones are left as they are.
malloc_zone_t *malloc_default_purgeable_zone(void);
void malloc_make_purgeable(void *ptr);

// 0 when the contents are intact, EFAULT when at least one page of them was lost and reads as zero.
int malloc_make_nonpurgeable(void *ptr);

// Gives back to the system what a zone (NULL: all, until goal is met) keeps in reserve, and purgeable
// contents. goal 0: as much as possible. Returns the bytes given back.
size_t malloc_zone_pressure_relief(malloc_zone_t *zone, size_t goal);

// --- registered zones -----------------------------------------------------------------------------
// A registered zone is asked about pointers that belong to no zone of ours, and is listed. Registering
// twice, and unregistering what is not registered, is a message and no change. The zone must stay
// valid until unregister returns, which waits until nobody asks it any more.
void malloc_zone_register(malloc_zone_t *zone);
void malloc_zone_unregister(malloc_zone_t *zone);

// The name is copied unless it lies in memory that cannot change; NULL takes it away. What
// malloc_get_zone_name returns is valid until the next name or the end of the zone.
void malloc_set_zone_name(malloc_zone_t *zone, const char *name);
const char *malloc_get_zone_name(malloc_zone_t *zone);

// The addresses of all zones of a process. With a reader *addresses is what it returned last, so it is
// valid until the next read; else until a zone comes or goes. Another process is found when it runs on
// the same library file as the caller, or when it is a fork of the caller.
kern_return_t malloc_get_all_zones(task_t task, memory_reader_t reader, vm_address_t **addresses,
                                   unsigned *count);

// The zone that a zone in a process wraps; 0 when it wraps none.
kern_return_t malloc_get_wrapped_zone(task_t task, memory_reader_t reader,
                                      vm_address_t zone_address,
                                      vm_address_t *wrapped_zone_address);

extern malloc_zone_t **malloc_zones; // read only; the first is the default zone
extern unsigned malloc_num_zones;

// --- looking at zones -----------------------------------------------------------------------------
// Whether a zone (NULL: every zone) is consistent; a message says what is not.
boolean_t malloc_zone_check(malloc_zone_t *zone);

// What is in a zone (NULL: in each), to the log of the library. What a pointer is, to stdout.
void malloc_zone_print(malloc_zone_t *zone, boolean_t verbose);
void malloc_zone_print_ptr_info(void *ptr);

// Says in the log what an address in a zone (NULL: in each) is now.
void malloc_zone_log(malloc_zone_t *zone, void *address);

// Exact while nobody else uses the zone; NULL: the sum of all zones. Walks the zone.
void malloc_zone_statistics(malloc_zone_t *zone, malloc_statistics_t *stats);

struct mstats {
	size_t bytes_total;
	size_t chunks_used, bytes_used;
	size_t chunks_free, bytes_free;
};
struct mstats mstats(void); // of all zones

// A line in the log, after the name of the program. Allocates nothing; knows the usual conversions
// without floating point, and %y for an unsigned number of bytes (5b, 10KB, 3MB).
void malloc_printf(const char *format, ...);

// Does nothing; every message about misuse calls it, for breakpoints.
void malloc_error_break(void);

// --- discharge ------------------------------------------------------------------------------------
// A program says that a block should be freed soon, and may list those that are not freed yet. Only
// between enable and disable, which nest; the last disable forgets. Pointers that were freed are no
// longer listed.
boolean_t malloc_zone_enable_discharge_checking(malloc_zone_t *zone); // false: it cannot
void malloc_zone_disable_discharge_checking(malloc_zone_t *zone);
void malloc_zone_discharge(malloc_zone_t *zone, void *memory); // zone NULL: the one of memory
#ifdef __BLOCKS__
void malloc_zone_enumerate_discharged_pointers(malloc_zone_t *zone,
                                               void (^report)(void *memory, void *info));
#else
void malloc_zone_enumerate_discharged_pointers(malloc_zone_t *zone, void *report_block);
#endif
// The same without blocks; zone NULL: all zones.
void malloc_zone_enumerate_discharged_pointers_f(malloc_zone_t *zone, void *context,
                                                 void (*report)(void *context, void *memory,
                                                                void *info));

// --- who watches ----------------------------------------------------------------------------------
// Called, while it is not NULL, by every function of this header that allocates or frees: after the
// allocation, before a block is freed. By malloc and its kin only while a debugging feature or Guard
// Malloc makes all calls slow (docs/zones.md).
// type: MALLOC_LOG_TYPE_*; arg1 is the zone. Then arg2 is the size of an allocation, or the block that
// is freed; of realloc arg2 is the old block and arg3 the size. It may be called by several threads at
// once and must not call malloc without muting its thread.
typedef void malloc_logger_t(uint32_t type, uintptr_t arg1, uintptr_t arg2, uintptr_t arg3,
                             uintptr_t result, uint32_t num_hot_frames_to_skip);
extern malloc_logger_t *malloc_logger;
#define MALLOC_LOG_TYPE_ALLOCATE   2
#define MALLOC_LOG_TYPE_DEALLOCATE 4
#define MALLOC_LOG_TYPE_HAS_ZONE   8
#define MALLOC_LOG_TYPE_CLEARED    64

// Of the calling thread; with DisableMallocStackLogging its calls are not told to malloc_logger.
typedef struct {
	uintptr_t DisableExpensiveDebuggingOptions : 1;
	uintptr_t DisableProbGuardSampling : 1;
	uintptr_t DisableMallocStackLogging : 1;
} malloc_thread_options_t;
malloc_thread_options_t malloc_get_thread_options(void);
void malloc_set_thread_options(malloc_thread_options_t options);

// --- typed calls ----------------------------------------------------------------------------------
// What compilers for Mac OS X make of calls whose type they know. The type is handed to zones of
// version 16; ours do without it.
void *malloc_type_malloc(size_t size, malloc_type_id_t type);
void *malloc_type_calloc(size_t count, size_t size, malloc_type_id_t type);
void malloc_type_free(void *ptr, malloc_type_id_t type);
void *malloc_type_realloc(void *ptr, size_t size, malloc_type_id_t type);
void *malloc_type_valloc(size_t size, malloc_type_id_t type);
void *malloc_type_aligned_alloc(size_t alignment, size_t size, malloc_type_id_t type);
int malloc_type_posix_memalign(void **ret, size_t alignment, size_t size, malloc_type_id_t type);
void *malloc_type_zone_malloc(malloc_zone_t *zone, size_t size, malloc_type_id_t type);
void *malloc_type_zone_calloc(malloc_zone_t *zone, size_t count, size_t size,
                              malloc_type_id_t type);
void malloc_type_zone_free(malloc_zone_t *zone, void *ptr, malloc_type_id_t type);
void *malloc_type_zone_realloc(malloc_zone_t *zone, void *ptr, size_t size, malloc_type_id_t type);
void *malloc_type_zone_valloc(malloc_zone_t *zone, size_t size, malloc_type_id_t type);
void *malloc_type_zone_memalign(malloc_zone_t *zone, size_t alignment, size_t size,
                                malloc_type_id_t type);
void *malloc_type_zone_malloc_with_options(malloc_zone_t *zone, size_t align, size_t size,
                                           malloc_options_t options, malloc_type_id_t type);
unsigned malloc_type_zone_batch_malloc(malloc_zone_t *zone, size_t size, void **results,
                                       unsigned count, malloc_type_id_t type);

#ifdef __cplusplus
}
#endif
