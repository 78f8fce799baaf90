// SPDX-License-Identifier: MIT
// Where runs come from. Extents of address space are cut into runs from their start; a run never
// changes its place or length. Lengths come in classes, so that the run of a freed block fits later
// ones: it waits in the queue of its class until so much address space was freed after it as the
// quarantine asks for. Runs of one page, which nearly all blocks need, are opened in batches.
//
// The first page of an extent and the page behind every run are never opened, so each block has a
// page that faults on both sides.
//
// A signal handler may interrupt a thread that holds the lock, and allocate and free. It gets no guarded
// block then, and leaves the run that it frees in a list for the next holder. Around forks and while all
// blocks are verified, there are no signals.
#include "guard/guard_impl.h"

#include <errno.h>

enum {
	EXTENT_BYTES = 1 << 30,
	SAMPLE_EXTENT_BYTES = 4 << 20,
	EXTENT_LIMIT_PART = 16,     // of RLIMIT_AS, one extent: the program needs addresses, too
	SAMPLE_LIMIT_PART = 16,     // all extents of the sampled mode
	EXTENT_BYTES_MIN = 1 << 20, // when address space is short
	COMMIT_BYTES = 2 << 20,     // what one page of page tables covers
	CLASS_ONE_PAGE = 2,         // strides of up to 16 pages are their own class
	CLASS_COUNT = 160,
	CLASSES_TRIED = 8, // how much longer a run may be when there is no other
	BATCH = 32,
	CLOCK_SHIFT = 4, // freed_at counts units of 16 pages
};

// Runs by region and runs with mappings of their own come from different extents, as the latter
// split the mapping that they lie in.
struct cursor {
	uint64_t next, committed, end;
	struct guard_extent *extent;
};

struct queue {
	uint32_t first, last;
};

static struct inside_lock lock;
static int owner; // thread that holds the lock over a fork, and how often
static unsigned owner_depth;
static uint64_t owner_signals;    // of the owner, blocked before
static __thread unsigned holding; // the thread has or waits for the lock

static struct cursor cursors[2]; // by region, own mappings
static struct queue queues[CLASS_COUNT];
static uint32_t prepared; // first of the open runs of one page
static uint64_t freed_pages, extent_bytes;
static uint32_t late; // first of the runs that were freed without the lock

static bool owns(void)
{
	return __atomic_load_n(&owner, __ATOMIC_RELAXED) == guard_thread_id();
}

void guard_lock(void)
{
	if (owns())
		return;
	holding++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	inside_lock(&lock);
}

void guard_unlock(void)
{
	if (owns())
		return;
	inside_unlock(&lock);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	holding--;
}

bool guard_interrupts(void)
{
	return holding || malloc_cache_busy();
}

bool guard_locked(void)
{
	return __atomic_load_n(&lock.state, __ATOMIC_RELAXED) != 0;
}

void guard_fork_prepare(void)
{
	uint64_t signals;

	if (owns()) {
		owner_depth++;
		return;
	}
	signals = inside_signals_block();
	inside_lock(&lock);
	owner_signals = signals;
	__atomic_store_n(&owner, guard_thread_id(), __ATOMIC_RELAXED);
	owner_depth = 1;
}

void guard_fork_parent(void)
{
	uint64_t signals = owner_signals;

	if (--owner_depth)
		return;
	__atomic_store_n(&owner, 0, __ATOMIC_RELAXED);
	inside_unlock(&lock);
	inside_signals_restore(signals);
}

void guard_fork_child(void)
{
	bool owned = owner_depth;

	guard_thread_forget();
	owner_depth = 0;
	owner = 0;
	lock = (struct inside_lock){ 0 };
	if (owned)
		inside_signals_restore(owner_signals);
}

// Strides: 2 to 16 pages, then four steps for each doubling. Class 17 has 20 pages, 18 has 24.
static unsigned class_of(uint64_t stride)
{
	unsigned shift;

	if (stride <= 16)
		return (unsigned)stride;
	shift = 61 - (unsigned)__builtin_clzll(stride - 1);
	return 16 + (shift - 2) * 4 + (unsigned)((stride - 1) >> shift) - 3;
}

static uint64_t class_stride(unsigned class)
{
	if (class <= 16)
		return class;
	return (uint64_t)((class - 17) % 4 + 5) << ((class - 17) / 4 + 2);
}

static uint32_t queue_pop(struct queue *queue)
{
	uint32_t number = queue->first;

	if (number)
		queue->first = guard_record_at(number)->next;
	return number;
}

static void queue_push(struct queue *queue, uint32_t number)
{
	guard_record_at(number)->next = 0;
	if (queue->first)
		guard_record_at(queue->last)->next = number;
	else
		queue->first = number;
	queue->last = number;
}

static bool quarantine_over(uint32_t number)
{
	uint32_t now = (uint32_t)(freed_pages >> CLOCK_SHIFT);
	uint64_t units = guard_settings.quarantine_bytes >> (GUARD_PAGE_BITS + CLOCK_SHIFT);

	return number && now - guard_record_at(number)->freed_at >= units;
}

// --- new runs ------------------------------------------------------------------------------------

static uint64_t usual_extent_bytes(void)
{
	uint64_t bytes = guard_settings.sample_every ? SAMPLE_EXTENT_BYTES : EXTENT_BYTES;
	uint64_t part = inside_address_limit() / EXTENT_LIMIT_PART;

	if (bytes <= part)
		return bytes;
	return part > EXTENT_BYTES_MIN ? round_down(part, GUARD_PAGE_BYTES) : EXTENT_BYTES_MIN;
}

// As much as wanted, or less when the system or MALLOC_MAXIMUM_VM has no more; not less than
// needed.
static void *map_extent(uint64_t needed, uint64_t *ret_bytes)
{
	uint64_t most = guard_settings.maximum_vm_bytes;
	uint64_t left = most > extent_bytes ? most - extent_bytes : 0;
	uint64_t bytes = usual_extent_bytes();

	if (guard_settings.sample_every &&
	    extent_bytes + bytes > inside_address_limit() / SAMPLE_LIMIT_PART)
		return NULL;
	bytes = needed > bytes ? needed : bytes;
	if (most && bytes > left)
		bytes = left < needed ? 0 : round_down(left, GUARD_PAGE_BYTES);
	while (bytes >= needed && bytes) {
		void *memory = inside_map(bytes, GUARD_PAGE_BYTES, INSIDE_NO_ACCESS);

		*ret_bytes = bytes;
		if (memory || bytes == needed)
			return memory;
		bytes = bytes / 2 > EXTENT_BYTES_MIN ? round_down(bytes / 2, GUARD_PAGE_BYTES) : 0;
		bytes = bytes > needed ? bytes : needed;
	}
	return NULL;
}

static int start_extent(struct cursor *cursor, uint64_t run_bytes)
{
	struct guard_extent *extents = (struct guard_extent *)guard_descriptor.extents;
	struct guard_extent *extent = extents + guard_descriptor.extent_count;
	uint64_t bytes;
	void *memory;

	if (guard_descriptor.extent_count == GUARD_EXTENTS)
		return -ENOMEM;
	memory = map_extent(run_bytes + GUARD_PAGE_BYTES, &bytes);
	if (!memory)
		return -ENOMEM;
	inside_name(memory, bytes, "heapwright guard");
	extent_bytes += bytes;
	extent->start = (uintptr_t)memory;
	extent->used = extent->start;
	extent->end = extent->start + bytes;
	__atomic_store_n(&guard_descriptor.extent_count, guard_descriptor.extent_count + 1,
	                 __ATOMIC_RELEASE);
	*cursor = (struct cursor){ .next = extent->start + GUARD_PAGE_BYTES,
		                   .committed = extent->start,
		                   .end = extent->end,
		                   .extent = extent };
	return 0;
}

static int commit(struct cursor *cursor, uint64_t end, bool own_mappings)
{
	uint64_t to = cursor->committed + COMMIT_BYTES;
	int error;

	if (end <= cursor->committed)
		return 0;
	to = to > end ? to : end;
	to = to < cursor->end ? to : cursor->end;
	error = guard_pages_commit(cursor->committed, to - cursor->committed, own_mappings);
	if (!error)
		cursor->committed = to;
	return error;
}

static uint32_t describe_run(struct cursor *cursor, uint64_t stride, bool own_mapping)
{
	uint64_t last_page = cursor->next + (stride - 1) * GUARD_PAGE_BYTES;
	uint32_t number = guard_record_create();
	struct guard_record *record;

	if (!number)
		return 0;
	record = guard_record_at(number);
	record->run_start = cursor->next;
	record->run_pages = (uint32_t)(stride - 1);
	record->flags = own_mapping ? GUARD_OWN_MAPPING : 0;
	if (guard_record_mark(cursor->next, number) || guard_record_mark(last_page, number))
		return 0;
	cursor->next += stride * GUARD_PAGE_BYTES;
	__atomic_store_n(&cursor->extent->used, cursor->next, __ATOMIC_RELEASE);
	return number;
}

static bool slots_are_used_up(void)
{
	return guard_settings.sample_every &&
	       guard_descriptor.record_count > guard_settings.sample_slots;
}

static uint32_t create_run(unsigned class)
{
	uint64_t stride = class_stride(class);
	uint64_t bytes = stride * GUARD_PAGE_BYTES;
	bool own_mapping = !guard_pages_by_region(stride);
	struct cursor *cursor = &cursors[own_mapping];

	if (slots_are_used_up())
		return 0;
	if (cursor->end - cursor->next < bytes && start_extent(cursor, bytes))
		return 0;
	if (!commit(cursor, cursor->next + bytes, own_mapping))
		return describe_run(cursor, stride, own_mapping);
	if (own_mapping || guard_pages_by_region(stride))
		return 0;
	return create_run(class); // with a mapping of its own, from now on
}

// --- runs to use ---------------------------------------------------------------------------------

static uint32_t take_number(unsigned class, unsigned classes_tried)
{
	uint32_t number;

	if (quarantine_over(queues[class].first))
		return queue_pop(&queues[class]);
	number = create_run(class);
	for (unsigned i = class; !number && i < class + classes_tried && i < CLASS_COUNT; i++)
		number = queue_pop(&queues[i]);
	return number;
}

static struct guard_record *as_prepared(uint32_t number)
{
	struct guard_record *record = guard_record_at(number);

	__atomic_store_n(&record->state, GUARD_PREPARED, __ATOMIC_RELEASE);
	return record;
}

static void push_prepared(const uint32_t *numbers, unsigned count)
{
	while (count--) {
		guard_record_at(numbers[count])->next = prepared;
		prepared = numbers[count];
	}
}

// 0 also for a run with a mapping of its own: when the program locks its memory, that is noticed where
// a run is made, which may be in the middle of a batch.
static uint32_t take_for_batch(void)
{
	uint32_t number = take_number(CLASS_ONE_PAGE, 1);

	if (!number || !(guard_record_at(number)->flags & GUARD_OWN_MAPPING))
		return number;
	queue_push(&queues[CLASS_ONE_PAGE], number);
	return 0;
}

// The lock is let go for the system calls: other threads may fill up as well.
static void prepare_batch(void)
{
	uint32_t numbers[BATCH];
	void *pages[BATCH];
	unsigned count = 0;
	int error;

	while (count < BATCH) {
		uint32_t number = take_for_batch();

		if (!number)
			break;
		pages[count] = (void *)as_prepared(number)->run_start;
		numbers[count++] = number;
	}
	guard_unlock();
	error = count ? inside_guard_remove_many(pages, count, GUARD_PAGE_BYTES) : -ENOMEM;
	if (!error)
		inside_touch_many(pages, count);
	guard_lock();
	if (!error)
		push_prepared(numbers, count);
	else
		for (unsigned i = 0; i < count; i++)
			queue_push(&queues[CLASS_ONE_PAGE], numbers[i]);
}

static uint32_t take_prepared(void)
{
	uint32_t number;

	if (!prepared)
		prepare_batch();
	number = prepared;
	if (number)
		prepared = guard_record_at(number)->next;
	return number;
}

static void put_freed(uint32_t number)
{
	struct guard_record *record = guard_record_at(number);
	uint64_t stride = (uint64_t)record->run_pages + 1;

	freed_pages += stride;
	record->freed_at = (uint32_t)(freed_pages >> CLOCK_SHIFT);
	queue_push(&queues[class_of(stride)], number);
}

static void put_late(uint32_t number)
{
	uint32_t *next = &guard_record_at(number)->next;

	*next = __atomic_load_n(&late, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&late, next, number, true, __ATOMIC_RELEASE,
	                                    __ATOMIC_RELAXED))
		;
}

static void take_late(void)
{
	uint32_t next, number;

	for (number = __atomic_exchange_n(&late, 0, __ATOMIC_ACQUIRE); number; number = next) {
		next = guard_record_at(number)->next;
		put_freed(number);
	}
}

struct guard_record *guard_arena_take(uint64_t pages, bool *ret_opened)
{
	unsigned class = class_of(pages + 1);
	uint32_t number = 0;

	*ret_opened = false;
	if (class >= CLASS_COUNT || guard_interrupts())
		return NULL;
	guard_lock();
	if (__atomic_load_n(&late, __ATOMIC_RELAXED))
		take_late();
	if (class == CLASS_ONE_PAGE && guard_pages_by_region(class)) {
		number = take_prepared();
		*ret_opened = number != 0;
	}
	if (!number)
		number = take_number(class, CLASSES_TRIED);
	guard_unlock();
	return number ? as_prepared(number) : NULL;
}

void guard_arena_give(struct guard_record *record)
{
	uint32_t number = guard_record_number(record);

	if (guard_interrupts()) {
		put_late(number);
		return;
	}
	guard_lock();
	put_freed(number);
	guard_unlock();
}

int guard_arena_start(void)
{
	guard_descriptor.extents =
		(uintptr_t)guard_metadata_map(GUARD_EXTENTS * sizeof(struct guard_extent));
	guard_descriptor.extent_bytes = sizeof(struct guard_extent);
	return guard_descriptor.extents ? 0 : -ENOMEM;
}
