// SPDX-License-Identifier: MIT
// The functions of a guarded zone, and the zones themselves: the default one, and one around each
// core zone that the program creates. All share the arena; a record says whose block it is. Entry
// calls the default zone's functions for malloc and friends, by tail calls, so that the return
// address seen here is the program's.
#include "guard/guard_impl.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define CALLER caller_or(__builtin_return_address(0))

enum { OPTION_CLEAR = 1 }; // of malloc_with_options

__thread void *guard_caller;

static __thread int thread_id;
static bool told_unguarded;
static uint32_t unused_zones; // list of indexes, by next_unused

int guard_thread_id(void)
{
	if (!thread_id)
		thread_id = inside_thread_id();
	return thread_id;
}

void guard_thread_forget(void)
{
	thread_id = 0;
}

static void *caller_or(void *return_address)
{
	void *caller = guard_caller;

	guard_caller = NULL;
	return caller ? caller : return_address;
}

static struct guard_zone *guarded(malloc_zone_t *zone)
{
	return (struct guard_zone *)zone;
}

// --- allocation ----------------------------------------------------------------------------------

static bool refuse_large(uint64_t bytes)
{
	if (guard_settings.sample_every || guard_settings.allow_large_requests ||
	    bytes <= guard_settings.large_request_bytes)
		return false;
	malloc_fault(MALLOC_FAULT_MISUSE,
	             "*** request for %zu bytes, more than %zu: probably a size gone "
	             "wrong; set MALLOC_ALLOW_LARGE_REQUESTS if it is meant",
	             bytes, guard_settings.large_request_bytes);
	return false;
}

static void tell_unguarded(void)
{
	if (guard_settings.sample_every ||
	    __atomic_exchange_n(&told_unguarded, true, __ATOMIC_RELAXED))
		return;
	malloc_message("*** Guard Malloc: the system gives no more guarded pages (limits: address "
	               "space, MALLOC_MAXIMUM_VM, vm.max_map_count); some blocks are not guarded "
	               "from now on");
}

static void *create_unguarded(const struct guard_zone *own, const struct guard_request *request)
{
	if (request->alignment > guard_settings.vector_size)
		return own->core->memalign(own->core, request->alignment, request->bytes);
	if (request->zero)
		return own->core->calloc(own->core, 1, request->bytes);
	return own->core->malloc(own->core, request->bytes);
}

static void *create(malloc_zone_t *zone, struct guard_request *request)
{
	struct guard_zone *own = guarded(zone);
	bool failed = false;
	void *block = NULL;

	if (request->bytes > PTRDIFF_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	refuse_large(request->bytes);
	request->zone = (uint16_t)own->index;
	request->at_start = guard_settings.protect_before;
	if (guard_sample_take(request)) {
		block = guard_block_create(request);
		failed = !block;
	}
	if (!block)
		block = create_unguarded(own, request);
	// What nobody could serve says nothing about later blocks, nor does one moment in a handler.
	if (failed && block && !guard_interrupts())
		tell_unguarded();
	return block;
}

static uint64_t usual_alignment(void)
{
	return guard_settings.strict_size ? 1 : guard_settings.vector_size;
}

static void *zone_malloc(malloc_zone_t *zone, size_t bytes)
{
	struct guard_request request = { .bytes = bytes,
		                         .alignment = usual_alignment(),
		                         .caller = CALLER };

	if (guard_settings.sample_every && guard_sample_skip())
		return malloc_core_pass_allocate(bytes);
	return create(zone, &request);
}

static void *zone_calloc(malloc_zone_t *zone, size_t count, size_t bytes)
{
	struct guard_request request = { .alignment = usual_alignment(),
		                         .zero = true,
		                         .caller = CALLER };

	if (!checked_mul(count, bytes, &request.bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return create(zone, &request);
}

static void *zone_valloc(malloc_zone_t *zone, size_t bytes)
{
	struct guard_request request = {
		.bytes = bytes, .alignment = GUARD_PAGE_BYTES, .zero = true, .caller = CALLER
	};

	return create(zone, &request);
}

static void *zone_memalign(malloc_zone_t *zone, size_t alignment, size_t bytes)
{
	struct guard_request request = { .bytes = bytes, .alignment = alignment, .caller = CALLER };

	return create(zone, &request);
}

static void *zone_malloc_with_options(malloc_zone_t *zone, size_t alignment, size_t bytes,
                                      uint64_t options)
{
	struct guard_request request = { .bytes = bytes,
		                         .alignment = alignment ? alignment : usual_alignment(),
		                         .zero = options & OPTION_CLEAR,
		                         .caller = CALLER };

	return create(zone, &request);
}

static unsigned zone_batch_malloc(malloc_zone_t *zone, size_t bytes, void **results, unsigned count)
{
	unsigned made = 0;
	void *caller = CALLER;

	for (; made < count; made++) {
		struct guard_request request = { .bytes = bytes,
			                         .alignment = usual_alignment(),
			                         .caller = caller };

		results[made] = create(zone, &request);
		if (!results[made])
			break;
	}
	return made;
}

// --- size and end --------------------------------------------------------------------------------

// Size 0 would say that the block is another's, so an empty block has size 1, of which nothing can
// be used.
static size_t told_size(const struct guard_record *record)
{
	return record->bytes ? record->bytes : 1;
}

bool guard_block_empty(const void *p)
{
	const struct guard_record *record = guard_block_live(p);

	return record && !record->bytes;
}

static size_t zone_size(malloc_zone_t *zone, const void *p)
{
	const struct guard_record *record = guard_block_live(p);
	struct guard_zone *own = guarded(zone);

	if (record)
		return record->zone == own->index ? told_size(record) : 0;
	return own->core->size(own->core, p);
}

// The core's blocks may belong to another zone than the one that was asked, as in free(p).
static bool free_unguarded(struct guard_zone *own, void *p)
{
	if (guard_record_covers((uintptr_t)p))
		return false;
	if (own->core->size(own->core, p))
		own->core->free(own->core, p);
	else if (malloc_core_size(p))
		malloc_core_free(p);
	else
		return false;
	return true;
}

static void end(malloc_zone_t *zone, void *p, void *caller)
{
	struct guard_record *record = guard_block_live(p);

	if (!p || (record && guard_block_end(record, caller)))
		return;
	if (!free_unguarded(guarded(zone), p))
		guard_report_pointer(p, false);
}

static void zone_free(malloc_zone_t *zone, void *p)
{
	end(zone, p, CALLER);
}

static void zone_free_definite_size(malloc_zone_t *zone, void *p, size_t bytes)
{
	(void)bytes;
	end(zone, p, CALLER);
}

static void zone_batch_free(malloc_zone_t *zone, void **blocks, unsigned count)
{
	void *caller = CALLER;

	for (unsigned i = 0; i < count; i++) {
		end(zone, blocks[i], caller);
		blocks[i] = NULL;
	}
}

static bool fits_in_place(const struct guard_record *record, size_t bytes)
{
	uint64_t start = round_down(record->block, GUARD_PAGE_BYTES);
	uint64_t open = (uint64_t)record->open_pages * GUARD_PAGE_BYTES;

	return guard_settings.realloc_in_place && bytes && bytes <= record->bytes &&
	       start + open - record->block - bytes < guard_settings.vector_size;
}

static void *move(malloc_zone_t *zone, void *p, size_t old_bytes, struct guard_request *request)
{
	void *block = create(zone, request);

	if (!block)
		return NULL;
	memcpy(block, p, old_bytes < request->bytes ? old_bytes : request->bytes);
	end(zone, p, request->caller);
	return block;
}

static void *zone_realloc(malloc_zone_t *zone, void *p, size_t bytes)
{
	struct guard_request request = { .bytes = bytes,
		                         .alignment = usual_alignment(),
		                         .caller = CALLER };
	struct guard_record *record = guard_block_live(p);
	struct guard_zone *own = guarded(zone);

	if (!p)
		return create(zone, &request);
	if (record && fits_in_place(record, bytes))
		return p;
	if (record)
		return move(zone, p, record->bytes, &request);
	if (!guard_record_covers((uintptr_t)p) && own->core->size(own->core, p))
		return own->core->realloc(own->core, p, bytes);
	if (!guard_record_covers((uintptr_t)p) && malloc_core_size(p))
		return malloc_core_resize(p, bytes);
	guard_report_pointer(p, true);
	errno = ENOMEM;
	return NULL;
}

static size_t zone_pressure_relief(malloc_zone_t *zone, size_t goal)
{
	return malloc_core_relieve(guarded(zone)->core, goal);
}

static boolean_t zone_claimed_address(malloc_zone_t *zone, void *p)
{
	const struct guard_record *record = guard_record_around((uintptr_t)p);

	return record && record->zone == guarded(zone)->index;
}

// --- zones ---------------------------------------------------------------------------------------

static void end_blocks_of(uint32_t index, void *caller)
{
	uint32_t count = __atomic_load_n(&guard_descriptor.record_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 1; i < count; i++) {
		struct guard_record *record = guard_record_at(i);
		uint32_t state = guard_state(record);

		if (record->zone == index && (state == GUARD_LIVE || state == GUARD_CHECKED))
			guard_block_end(record, caller);
	}
}

static void zone_destroy(malloc_zone_t *zone)
{
	struct guard_zone *own = guarded(zone);

	end_blocks_of(own->index, CALLER);
	own->core->destroy(own->core);
	own->core = NULL;
	guard_lock();
	own->next_unused = unused_zones;
	unused_zones = own->index;
	guard_unlock();
}

static const malloc_zone_t functions = {
	.size = zone_size,
	.malloc = zone_malloc,
	.calloc = zone_calloc,
	.valloc = zone_valloc,
	.free = zone_free,
	.realloc = zone_realloc,
	.destroy = zone_destroy,
	.batch_malloc = zone_batch_malloc,
	.batch_free = zone_batch_free,
	.introspect = &guard_introspection,
	.version = 16,
	.memalign = zone_memalign,
	.free_definite_size = zone_free_definite_size,
	.pressure_relief = zone_pressure_relief,
	.claimed_address = zone_claimed_address,
	.try_free_default = zone_free,
	.malloc_with_options = zone_malloc_with_options,
};

// Objects stay when their zone is destroyed, for the next one with their index. Under guard_lock.
static struct guard_zone *new_object(void)
{
	static struct guard_zone *objects;
	uint64_t *zones = (uint64_t *)guard_descriptor.zones;
	struct guard_zone *own;

	if (unused_zones) {
		own = (struct guard_zone *)zones[unused_zones];
		unused_zones = own->next_unused;
		return own;
	}
	if (!objects)
		objects = guard_metadata_map(GUARD_ZONES_MAX * sizeof(*objects));
	if (!objects || guard_descriptor.zone_count == GUARD_ZONES_MAX)
		return NULL;
	own = &objects[guard_descriptor.zone_count];
	own->index = guard_descriptor.zone_count;
	zones[own->index] = (uintptr_t)own;
	guard_descriptor.zone_count++;
	return own;
}

static malloc_zone_t *create_zone(malloc_zone_t *core)
{
	struct guard_zone *own;

	guard_lock();
	own = new_object();
	guard_unlock();
	if (!own)
		return NULL;
	own->zone = functions;
	own->zone.reserved2 = &guard_descriptor; // for the enumerator, which reads from outside
	own->core = core;
	return &own->zone;
}

malloc_zone_t *guard_zone_wrap(malloc_zone_t *core)
{
	return create_zone(core);
}

malloc_zone_t *guard_zone_create_first(void)
{
	guard_descriptor.zones = (uintptr_t)guard_metadata_map(GUARD_ZONES_MAX * sizeof(uint64_t));
	return guard_descriptor.zones ? create_zone(malloc_core_default()) : NULL;
}
