// SPDX-License-Identifier: MIT
// malloc: the allocator core and the zones, behind one zone interface (malloc_zone_t of
// include/malloc/malloc.h). It runs inside the program: no libc malloc, no stdio, no libc locks, no
// constructor order to rely on. Functions are thread-safe unless they say otherwise.
//
//   start.c      first use, settings, the published descriptor
//   classes.c    the sizes of blocks
//   meta.c       memory for the allocator's own records
//   map.c        address -> leaf, slice word, slab
//   extent.c     address space from the system, runs of slices, returning pages
//   slab.c       slabs of one class: shards, refill, flush
//   cache.c      the caches of threads, transit records, thread exit
//   depot.c      full bins that wait for a thread that needs them
//   large.c      blocks with a mapping of their own
//   keep.c       those that were freed, kept for the next ones
//   core.c       allocate, free, resize on a core zone
//   zone.c       core zones: table, creation, destruction
//   face.c       their function table, and blocks by the batch
//   registry.c   all zones, ours and the program's: list, making, ending, names
//   default_zone.c the zone that stands for the first one
//   zone_api.c, typed.c, zone_look.c   the functions of the public header
//   block_move.c those of include/heapwright/block_move.h
//   inspect.c    the block at an address, all blocks of a zone, the full check, what is free given back
//   thin.c       pages inside slabs that nobody uses, given back
//   task.c       finding the library in another process
//   stacks.c     what the recorder is told, and the stacks that it gives for blocks
//   walk.c, walk_memory.c   every block of a core zone, here or in another process
//   introspect.c the introspection table of core zones
//   discharge.c, purgeable.c   blocks that should go, blocks that may go
//   fork.c       the fixed order of locks around fork
//   message.c    what is written when the heap is misused
//   format.c     the formatter behind it
//
// Layout of everything a remote reader needs: layout/malloc.h.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout/malloc.h"
#include "layout/record.h"
#include "layout/record_hooks.h"
#include "include/malloc/malloc.h"

#define MALLOC_EXPORT     __attribute__((visibility("default")))
#define MALLOC_HIDDEN_TLS __attribute__((tls_model("initial-exec"), visibility("hidden")))

// What every program runs, or starts with: such functions lie together (see src/entry/libraries).
#define MALLOC_AT_START __attribute__((hot))
// The opposite: not among the code that every program brings in.
#define MALLOC_SELDOM __attribute__((cold))

// --- start.c --------------------------------------------------------------------------------------
struct malloc_settings {
	uint32_t features;      // enum malloc_feature, for the descriptor; NOTES keeps notes
	bool keep_destroyed;    // addresses of destroyed zones are never used again
	bool continue_on_error; // messages about misuse do not end the program
	bool abort_on_error;    // out of memory ends it too (MallocErrorAbort)
	bool stop_on_error;     // after a message about misuse: SIGSTOP (MallocErrorStop)
	bool sleep_on_error;    // or an hour's sleep (MallocErrorSleep)
	int log;                // descriptor for messages; 2 is stderr, -1 none
	// Not 0: malloc_fast answers nothing, so that each call reaches the zones. A tool that attaches
	// sets a bit of its own (layout/record_attach.h).
	uint64_t every_call;
};

// Called once, by entry, before it answers its first call; without it everything is off.
MALLOC_AT_START void malloc_start(const struct malloc_settings *settings);
extern struct malloc_settings malloc_settings; // as given; read only

// Sets every_call later. Threads that run already follow when they come the long way.
void malloc_core_see_every_call(void);
enum { MALLOC_EVERY_CALL_TOOL = 2 };
extern MALLOC_EXPORT struct malloc_descriptor heapwright_malloc;

// --- the paths that must be short ------------------------------------------------------------------
// The calling thread's cache. Before its first call, after its end and while every_call is set it is
// malloc_no_cache, which is always empty and always full.
extern MALLOC_HIDDEN_TLS __thread struct malloc_thread *malloc_cache;
extern struct malloc_thread malloc_no_cache;

extern uint64_t malloc_root[MALLOC_ROOT_LEAVES];

enum { MALLOC_TINY_MAX = 1024, MALLOC_SMALL_MAX = 32 << 10 };
extern const uint8_t malloc_class_of_small[]; // above MALLOC_TINY_MAX, by (size + 255) / 256

// 2^64 / size of the class, rounded up: an offset below 2^32 is a multiple of the size exactly when
// offset times this, modulo 2^64, is less than this (Lemire, Kaser, Kurz: Faster remainder by direct
// computation).
extern const uint64_t malloc_divisor[MALLOC_CLASSES_MAX];

// The word of the slice that holds address; MALLOC_NONE when it is not ours.
static inline uint32_t malloc_word_at(uintptr_t address)
{
	uint64_t leaf;

	if (address >> (MALLOC_SLICE_BITS + MALLOC_LEAF_BITS + MALLOC_ROOT_BITS))
		return MALLOC_NONE;
	leaf = __atomic_load_n(&malloc_root[address >> (MALLOC_SLICE_BITS + MALLOC_LEAF_BITS)],
	                       __ATOMIC_RELAXED);
	if (!leaf)
		return MALLOC_NONE;
	return __atomic_load_n(
		&((const struct malloc_leaf *)leaf)
			 ->words[address >> MALLOC_SLICE_BITS & (MALLOC_LEAF_SLICES - 1)],
		__ATOMIC_RELAXED);
}

// The leaf that was made first, of the GiB in which most programs have their heap. Written once, with the
// first memory of the heap, before anybody can have a block of it.
struct malloc_window {
	uint64_t first_slice;
	const uint32_t *words;
};
extern struct malloc_window malloc_window;

// The same word, for addresses that are ours more often than not.
static inline uint32_t malloc_word_of(uintptr_t address)
{
	uint64_t slice = (address >> MALLOC_SLICE_BITS) - malloc_window.first_slice;

	if (__builtin_expect(slice >= MALLOC_LEAF_SLICES, 0))
		return malloc_word_at(address);
	return __atomic_load_n(&malloc_window.words[slice], __ATOMIC_RELAXED);
}

// A block from a thread's cache, or NULL: then ask the zone that stands for malloc.
static inline void *malloc_fast_of(struct malloc_thread *thread, size_t bytes)
{
	struct malloc_bin *bin;
	uint64_t *top;
	uint64_t block;

	if (__builtin_expect(bytes > MALLOC_TINY_MAX, 0))
		return NULL;
	bin = &thread->bins[(bytes + 15) / 16];
	top = bin->top;
	if (__builtin_expect(top == bin->base, 0))
		return NULL;
	block = top[-1];
	__asm__ volatile("" ::: "memory");
	bin->top = top - 1;
	if (!block)
		__builtin_unreachable(); // so that the caller's test for NULL costs nothing
	return (void *)block;
}

static inline void *malloc_fast(size_t bytes)
{
	return malloc_fast_of(malloc_cache, bytes);
}

// In a bin without entries this word is of other records, which other threads may write just then.
static inline __attribute__((no_sanitize_thread)) uint64_t malloc_second_entry(const uint64_t *top)
{
	return top[-2];
}

// Whether the thread's cache took the block. If not, it is none of the first slices of slabs of the
// default zone, or no start of a block, or was freed just now, or the cache is full: ask the zone.
static inline bool malloc_fast_free_of(struct malloc_thread *thread, void *block)
{
	uintptr_t address = (uintptr_t)block;
	uint32_t class = malloc_word_of(address) - malloc_word(0, MALLOC_SLAB, 0);
	struct malloc_bin *bin;
	uint64_t *top;

	if (__builtin_expect(class >= MALLOC_CLASSES_MAX, 0))
		return false;
	if (__builtin_expect((address & (MALLOC_SLICE_BYTES - 1)) * malloc_divisor[class] >=
	                             malloc_divisor[class],
	                     0))
		return false;
	bin = &thread->bins[class];
	top = bin->top;
	// The zone looks again: below base lie words that may be anything.
	if (__builtin_expect(top == bin->limit, 0) || __builtin_expect(top[-1] == address, 0) ||
	    __builtin_expect(malloc_second_entry(top) == address, 0))
		return false;
	*top = address;
	__asm__ volatile("" ::: "memory");
	bin->top = top + 1;
	return true;
}

static inline bool malloc_fast_free(void *block)
{
	return malloc_fast_free_of(malloc_cache, block);
}

// Usable bytes of a block that somebody owns. 0 when it is not where malloc_fast_free looks.
static inline size_t malloc_fast_size(const void *block)
{
	uintptr_t address = (uintptr_t)block;
	uint32_t class = malloc_word_of(address) - malloc_word(0, MALLOC_SLAB, 0);

	if (__builtin_expect(class >= MALLOC_CLASSES_MAX || malloc_settings.every_call, 0) ||
	    __builtin_expect((address & (MALLOC_SLICE_BYTES - 1)) * malloc_divisor[class] >=
	                             malloc_divisor[class],
	                     0))
		return 0;
	return heapwright_malloc.class_bytes[class];
}

// --- cache.c --------------------------------------------------------------------------------------
// The calling thread is inside the core: it is in a signal handler that interrupted it there (or in a
// message of the core). Who waits then for a lock whose holder waits for the core, waits for itself.
bool malloc_cache_busy(void);

// --- zone.c ---------------------------------------------------------------------------------------
// The default zone's own allocator and new zones of it; both are complete malloc_zone_t. Pointers
// that are not theirs are a message (free, realloc) or 0 (size). errno is set to ENOMEM where malloc
// would; free keeps it.
MALLOC_AT_START malloc_zone_t *malloc_core_default(void);
MALLOC_SELDOM malloc_zone_t *malloc_core_create(void);

// The number of a core zone, as in slice words and the zone table; UINT32_MAX when it is none. The
// registry writes address (a wrapper, where there is one) and name of the record of that number.
MALLOC_AT_START uint32_t malloc_core_index(const malloc_zone_t *core);

// The most that was in use, as far as it was looked at: when a slab, a span or a large block was made,
// and here. What lay in caches of threads counts as in use. Now: what is in use now.
size_t malloc_core_most_in_use(const malloc_zone_t *core, size_t now);

// --- core.c ---------------------------------------------------------------------------------------
// The default zone without the detour of its function table.
void *malloc_core_allocate(size_t bytes);
void *malloc_core_allocate_zeroed(size_t count, size_t bytes);
void *malloc_core_allocate_aligned(size_t alignment, size_t bytes); // any alignment; rounds up
void *malloc_core_resize(void *block, size_t bytes);
void malloc_core_free(void *block);

// The same for who sees every call (malloc_settings.every_call) and passes nearly all of them on: with
// the speed of the short paths.
void *malloc_core_pass_allocate(size_t bytes);
void *malloc_core_pass_allocate_zeroed(size_t count, size_t bytes);
void malloc_core_pass_free(void *block);

// Usable bytes of a live block that starts at p in any core zone; 0 otherwise.
size_t malloc_core_size(const void *p);
size_t malloc_core_good_size(size_t bytes);

// --- inspect.c ------------------------------------------------------------------------------------
// What an address is. False when no memory of a core zone is there. The block is the one that holds
// the address, whatever its state; note is NULL when no feature keeps notes.
struct malloc_block {
	void *start;
	size_t bytes; // usable
	malloc_zone_t *zone;
	struct malloc_note *note;
	bool never_used; // above the slab's bump
	bool freed; // free in its slab: blocks in caches of threads are told by their note only
	bool whole_pages;
};
bool malloc_block_at(const void *address, struct malloc_block *ret);

// Calls each for every block of a core zone that may be live (by its note where there are notes), in
// ascending order within an extent, until it returns false. The zone may be in use: a block that
// changes hands meanwhile is seen or not.
void malloc_blocks_each(malloc_zone_t *zone,
                        bool (*each)(void *context, const struct malloc_block *), void *context);

// Gives back what is free beyond what is worth keeping; goal 0: all. Returns the bytes given back.
size_t malloc_core_relieve(malloc_zone_t *zone_or_null, size_t goal);

// Full self-check of the metadata of a zone (NULL: all); false and a message when something is wrong.
bool malloc_core_check(malloc_zone_t *zone_or_null);

// --- stacks.c -------------------------------------------------------------------------------------
// What the recorder wants to be told; all NULL while nothing is recorded. Filled in by entry, once.
extern struct record_hooks malloc_hooks;

// Tells it of a block that malloc made, before the program has it, and keeps the node of its stack with
// the block, which may start within a block of the core (edges). NULL is allowed.
void malloc_record_new(uint32_t kind, void *block, size_t bytes, uint32_t extra,
                       const struct record_position *at);
// Of a block that goes back, before it does. Foreign pointers and NULL are allowed.
void malloc_record_free(uint32_t kind, void *block, const struct record_position *at);
// The node of the stack that allocated a block, 0 unknown.
uint32_t malloc_stack_of(const void *block);

// From now on stacks are kept with new blocks. While the program has one thread.
void malloc_keep_stacks(void);

// Where the node of a block lies that is none of the core's; set by Guard Malloc. NULL: nowhere.
extern uint32_t *(*malloc_stack_elsewhere)(const void *block);

// Only some blocks have a stack (a sample), and others are not told of: it is forgotten with its block.
extern bool malloc_stack_of_some;

// Whether frees are worth a stack: somebody keeps it, for messages.
extern bool malloc_stack_of_frees;

// The stacks that the next message of misuse in this thread prints behind its text: of the call (set by
// malloc_record_free), and of the block that it is about (set by who finds it). 0 none.
struct malloc_told_stacks {
	uint32_t here, allocated, freed;
};
extern MALLOC_HIDDEN_TLS __thread struct malloc_told_stacks malloc_told_stacks;
void malloc_stacks_print(void);

static inline bool malloc_records(void)
{
	return __builtin_expect(malloc_hooks.allocated != NULL, 0);
}

static inline bool malloc_records_frees(void)
{
	return malloc_records() && (malloc_hooks.freed || malloc_stack_of_frees);
}

// The same for the functions that a program calls: the position is that of their caller. Macros, since
// only the function itself knows its frame.
#define MALLOC_RECORD_NEW(kind, block, bytes, extra)                        \
	do {                                                                \
		if (malloc_records()) {                                     \
			struct record_position at = RECORD_POSITION_HERE(); \
			malloc_record_new(kind, block, bytes, extra, &at);  \
		}                                                           \
	} while (0)

#define MALLOC_RECORD_FREE(kind, block)                                     \
	do {                                                                \
		if (malloc_records_frees()) {                               \
			struct record_position at = RECORD_POSITION_HERE(); \
			malloc_record_free(kind, block, &at);               \
		}                                                           \
	} while (0)

// A realloc's second half: of a failed one, the old block is there again.
#define MALLOC_RECORD_RESIZED(old, moved, bytes)                                         \
	do {                                                                             \
		if (malloc_records()) {                                                  \
			struct record_position at = RECORD_POSITION_HERE();              \
			malloc_record_new(RECORD_REALLOC, (moved) ? (moved) : (old),     \
			                  (moved) ? (bytes) : malloc_size(old), 0, &at); \
		}                                                                        \
	} while (0)

// A preload stands before malloc and its family and tells of their calls, so that they do not (see
// entry/record.c). Who calls them in here tells for them, by the same macros.
extern bool malloc_told_before;

// Not any more when a tool that attached made them do it.
static inline bool malloc_tells_before(void)
{
	return malloc_told_before && !(malloc_settings.every_call & MALLOC_EVERY_CALL_TOOL);
}

// --- registry.c -----------------------------------------------------------------------------------
// The zone that stands for malloc and free: the core's, a feature's around it, or Guard Malloc.
void malloc_registry_start(malloc_zone_t *default_zone);

// What new zones become before the program gets them (a feature's wrapper); NULL: as they are. A
// wrapper's table says MALLOC_ZONE_TYPE_WRAPPER, and the core zone stands behind its malloc_zone_t.
extern malloc_zone_t *(*malloc_zone_wrap)(malloc_zone_t *core);

struct malloc_wrapper {
	malloc_zone_t zone;
	malloc_zone_t *wrapped;
};

// The registered zone that says a pointer is its own, and the size it says; NULL when none does.
malloc_zone_t *malloc_registry_owner(const void *p, size_t *ret_bytes);

// The first registered zone; the one of the start while there is none.
malloc_zone_t *malloc_registry_first(void);

// What malloc_default_zone returns (default_zone.c), and what a zone stands for: that one for the first
// registered zone, others for themselves.
extern malloc_zone_t malloc_virtual_zone;

static inline malloc_zone_t *malloc_registry_real(malloc_zone_t *zone)
{
	return zone == &malloc_virtual_zone ? malloc_registry_first() : zone;
}

// Calls each for every registered zone until it returns false; none of them can be unregistered
// meanwhile, so each may neither unregister nor destroy.
void malloc_registry_each(bool (*each)(void *context, malloc_zone_t *zone), void *context);

// malloc_zones and malloc_num_zones again, for readers of another process: a program that uses the
// exported ones may have them in its own data.
struct malloc_zone_list {
	malloc_zone_t **zones;
	unsigned count;
};
extern struct malloc_zone_list malloc_zone_list;

// Around fork, outside all locks of the core: also locks the zones of the program.
void malloc_registry_fork_prepare(void);
void malloc_registry_fork_parent(void);
void malloc_registry_fork_child(void);

// --- zone_api.c -----------------------------------------------------------------------------------
enum {
	MALLOC_LOGGED_ALLOCATED = MALLOC_LOG_TYPE_ALLOCATE | MALLOC_LOG_TYPE_HAS_ZONE,
	MALLOC_LOGGED_ALLOCATED_ZEROED = MALLOC_LOGGED_ALLOCATED | MALLOC_LOG_TYPE_CLEARED,
	MALLOC_LOGGED_FREED = MALLOC_LOG_TYPE_DEALLOCATE | MALLOC_LOG_TYPE_HAS_ZONE,
	MALLOC_LOGGED_REALLOCATED = MALLOC_LOGGED_ALLOCATED | MALLOC_LOGGED_FREED,
};

// Tells malloc_logger of a call (its arguments stand in include/malloc/malloc.h), unless the thread is
// muted. For calls that go the long way. May change errno.
void malloc_logger_call(uint32_t type, const malloc_zone_t *zone, uintptr_t arg2, uintptr_t arg3,
                        const void *result);

static inline void malloc_logger_tell(uint32_t type, const malloc_zone_t *zone, uintptr_t arg2,
                                      uintptr_t arg3, const void *result)
{
	if (__builtin_expect(malloc_logger != NULL, 0))
		malloc_logger_call(type, zone, arg2, arg3, result);
}

// --- task.c ---------------------------------------------------------------------------------------
// A process that runs on this library: its memory is read, nothing else.
struct malloc_task {
	task_t task;
	memory_reader_t *reader; // NULL: this process
	uintptr_t slide;         // its address of anything of the library minus ours
	bool careful;            // this process, read by the kernel: an error instead of a fault
};

// Finds the library in a process: at the same addresses as here, else by its file in /proc/PID/maps.
// KERN_FAILURE when it is not there.
kern_return_t malloc_task_open(task_t task, memory_reader_t reader, struct malloc_task *ret);
kern_return_t malloc_task_read(const struct malloc_task *task, uint64_t address, void *buffer,
                               size_t bytes);

// --- walk.c ---------------------------------------------------------------------------------------
// What a walk over a core zone meets, in ascending order of addresses. Functions may be NULL; without
// block the walk is faster. Blocks in transit count as free.
struct malloc_visitor {
	void (*region)(void *context, const struct malloc_region *region);
	void (*block)(void *context, uint64_t start, uint64_t bytes); // live
	// For every slab (and span and large block, of one block): what is in it.
	void (*slab)(void *context, uint64_t block_bytes, uint32_t live, uint32_t free);
	void *context;
};

// Exact while nobody else uses the zone; else what changes hands meanwhile is seen or not. It
// allocates memory from the system only. An error when the memory cannot be read or makes no sense.
kern_return_t malloc_walk(const struct malloc_task *task, uint32_t zone_number,
                          const struct malloc_visitor *visitor);

// The number of the core zone that a program knows under an address.
kern_return_t malloc_walk_find(const struct malloc_task *task, uint64_t zone_address,
                               uint32_t *ret_number);

// --- introspect.c ---------------------------------------------------------------------------------
// The table that core zones point to.
extern struct malloc_introspection_t malloc_core_introspection;

// What an enumerator hands to its recorder, gathered so that one call tells many. Of one thread.
enum { MALLOC_RANGES = 256 };
struct malloc_ranges {
	task_t task;
	void *context;
	vm_range_recorder_t *recorder;
	unsigned mask;        // types that are asked for
	unsigned type, count; // of the ranges that wait
	vm_range_t ranges[MALLOC_RANGES];
};

// A range of one type, unless that is not asked for. Flush ends the list: it tells what still waits.
void malloc_ranges_add(struct malloc_ranges *list, unsigned type, uint64_t start, uint64_t bytes);
void malloc_ranges_flush(struct malloc_ranges *list);

// What malloc_zone_statistics says, and besides how many free blocks there are.
struct malloc_zone_sums {
	malloc_statistics_t statistics;
	size_t free_blocks;
};
void malloc_core_sums(const malloc_zone_t *core, struct malloc_zone_sums *ret);

// --- discharge.c ----------------------------------------------------------------------------------
// A block is about to be freed; costs a load while nobody discharges.
extern uint32_t malloc_discharged_count;
void malloc_discharge_forget(const void *block);
void malloc_discharge_fork_prepare(void);
void malloc_discharge_fork_parent(void);
void malloc_discharge_fork_child(void);

// --- fork.c ---------------------------------------------------------------------------------------
// Around fork, by entry: parent before, parent after, child after.
void malloc_fork_prepare(void);
void malloc_fork_parent(void);
void malloc_fork_child(void);

// Every lock of the core, for one who wants to see it at rest. Until the other call the thread may
// neither allocate nor free.
void malloc_core_lock(void);
void malloc_core_unlock(void);

// --- message.c ------------------------------------------------------------------------------------
// One message in Apple's form: "prog(pid,0xthread) malloc: TEXT". Written with one call to the log and
// kept in the ring of the descriptor. Formats: those of malloc_format. No allocation, no locks of libc;
// may be called from a signal handler.
void malloc_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum malloc_fault {
	MALLOC_FAULT_MISUSE,     // bad pointer given to free, realloc and the like
	MALLOC_FAULT_CORRUPTION, // memory of the heap was overwritten
	MALLOC_FAULT_NO_MEMORY,  // only ends the program when asked for
};

// A message, then the advice to set a breakpoint in malloc_error_break, then malloc_error_break
// itself, then: SIGTRAP here when a debugger traces the program, else the end by SIGABRT unless
// continue_on_error is set. May return.
void malloc_fault(enum malloc_fault fault, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void malloc_fault_va(enum malloc_fault fault, const char *format, va_list arguments);

// Text without prefix for the log, not kept in the ring: what the print functions write.
void malloc_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

// --- format.c -------------------------------------------------------------------------------------
// The formatter behind all of these: as much as fits, NUL at the end; returns the characters written.
// Knows %d %i %u %x %X %p %c %s %% with l, ll, z, h, a width, 0 and - before it, %.*s, and %y: an
// unsigned number of bytes, as 5b, 10KB, 3MB.
size_t malloc_format(char *buffer, size_t bytes, const char *format, va_list arguments);
size_t malloc_text(char *buffer, size_t bytes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
