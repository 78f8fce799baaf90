// SPDX-License-Identifier: MIT
// One block: where it lies in its run, its canaries, its birth and its end. A block ends at the end
// of its pages, as far as its alignment allows, so that an overrun meets the page behind at once;
// with protect_before it starts at their start. What is left of the pages is filled with the
// canary.
#include "guard/guard_impl.h"

#include <string.h>

#define BYTES_MAX (1ULL << 46)

struct place {
	uint64_t run_pages; // at least
	uint64_t pages;     // open
	uint64_t start, block;
};

static uint64_t open_end(const struct guard_record *record)
{
	return round_down(record->block, GUARD_PAGE_BYTES) +
	       (uint64_t)record->open_pages * GUARD_PAGE_BYTES;
}

// An empty block has no open page: any access to it faults. Its run has two pages, as runs of one
// page may be open already.
static void plan(const struct guard_request *request, struct place *ret)
{
	uint64_t alignment = request->alignment;
	uint64_t tail = request->at_start ? 1 : alignment;

	tail = tail < GUARD_PAGE_BYTES ? tail : GUARD_PAGE_BYTES;
	ret->pages = round_up(round_up(request->bytes, tail), GUARD_PAGE_BYTES) >> GUARD_PAGE_BITS;
	ret->run_pages = ret->pages;
	if (alignment > GUARD_PAGE_BYTES)
		ret->run_pages += (alignment >> GUARD_PAGE_BITS) - 1;
	if (!ret->pages)
		ret->run_pages += 2;
	if (guard_settings.sample_every && ret->run_pages < GUARD_SLOT_PAGES)
		ret->run_pages = GUARD_SLOT_PAGES;
}

static void settle(const struct guard_request *request, const struct guard_record *record,
                   struct place *ret)
{
	uint64_t open_bytes = ret->pages * GUARD_PAGE_BYTES;
	uint64_t alignment = request->alignment;

	ret->start = guard_run_end(record) - open_bytes;
	if (alignment > GUARD_PAGE_BYTES)
		ret->start = round_down(ret->start, alignment);
	else if (request->at_start && ret->pages)
		ret->start = record->run_start;
	ret->block = ret->start;
	if (!request->at_start && alignment < GUARD_PAGE_BYTES)
		ret->block = round_down(ret->start + open_bytes - request->bytes, alignment);
}

static void raise_peak(uint64_t live_bytes)
{
	uint64_t peak = __atomic_load_n(&guard_descriptor.peak_bytes, __ATOMIC_RELAXED);

	while (live_bytes > peak &&
	       !__atomic_compare_exchange_n(&guard_descriptor.peak_bytes, &peak, live_bytes, true,
	                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void count_birth(const struct guard_record *record)
{
	__atomic_fetch_add(&guard_descriptor.live_blocks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&guard_descriptor.open_bytes,
	                   (uint64_t)record->open_pages * GUARD_PAGE_BYTES, __ATOMIC_RELAXED);
	raise_peak(
		__atomic_add_fetch(&guard_descriptor.live_bytes, record->bytes, __ATOMIC_RELAXED));
}

static void count_end(const struct guard_record *record)
{
	__atomic_fetch_sub(&guard_descriptor.live_blocks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&guard_descriptor.open_bytes,
	                   (uint64_t)record->open_pages * GUARD_PAGE_BYTES, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&guard_descriptor.live_bytes, record->bytes, __ATOMIC_RELAXED);
}

// The address in the library itself where a call of another of its functions returns to says
// nothing.
static uint64_t place_of_call(const void *caller)
{
	uint64_t address = (uintptr_t)caller;

	if (address >= heapwright_malloc.text_start && address < heapwright_malloc.text_end)
		return 0;
	return address;
}

static void describe(struct guard_record *record, const struct guard_request *request,
                     const struct place *place)
{
	record->block = place->block;
	record->bytes = request->bytes;
	record->open_pages = (uint32_t)place->pages;
	record->allocated_by = (uint32_t)guard_thread_id();
	record->freed_by = 0;
	record->allocated_stack = record->freed_stack = 0;
	record->allocated_from = place_of_call(request->caller);
	record->freed_from = 0;
	record->flags =
		(record->flags & GUARD_OWN_MAPPING) | (request->at_start ? GUARD_BEFORE : 0);
	record->zone = request->zone;
}

static void fill(const struct guard_record *record, const struct guard_request *request)
{
	uint64_t end = record->block + record->bytes;

	if (!record->open_pages)
		return;
	guard_canary_fill(round_down(record->block, GUARD_PAGE_BYTES), record->block);
	guard_canary_fill(end, open_end(record));
	if (guard_settings.fill_space && !request->zero)
		memset((void *)record->block, guard_settings.fill_byte, record->bytes);
}

void *guard_block_create(const struct guard_request *request)
{
	struct guard_record *record;
	struct place place;
	bool opened;

	if (request->bytes > BYTES_MAX || request->alignment > BYTES_MAX)
		return NULL;
	plan(request, &place);
	record = guard_arena_take(place.run_pages, &opened);
	if (!record)
		return NULL;
	settle(request, record, &place);
	if ((!opened && place.pages && guard_pages_open(record, place.start, place.pages)) ||
	    guard_record_mark(place.block, guard_record_number(record))) {
		guard_arena_give(record);
		return NULL;
	}
	describe(record, request, &place);
	fill(record, request);
	count_birth(record);
	__atomic_store_n(&record->state, GUARD_LIVE, __ATOMIC_RELEASE);
	return (void *)place.block;
}

// Where malloc keeps the stack of a guarded block.
uint32_t *guard_block_stack(const void *block)
{
	struct guard_record *record = guard_record_marked((uintptr_t)block);

	return record && record->block == (uintptr_t)block ? &record->allocated_stack : NULL;
}

struct guard_record *guard_block_live(const void *p)
{
	struct guard_record *record = guard_record_marked((uintptr_t)p);
	uint32_t state = record ? guard_state(record) : GUARD_UNUSED;

	if ((state != GUARD_LIVE && state != GUARD_CHECKED) || record->block != (uintptr_t)p)
		return NULL;
	return record;
}

// Who verifies is not interrupted.
static bool leave_life(struct guard_record *record)
{
	while (!guard_state_change(record, GUARD_LIVE, GUARD_FREED)) {
		if (guard_state(record) != GUARD_CHECKED)
			return false;
		inside_yield();
	}
	return true;
}

bool guard_block_end(struct guard_record *record, void *caller)
{
	uint64_t start = round_down(record->block, GUARD_PAGE_BYTES);

	if (!leave_life(record))
		return false;
	record->freed_by = (uint32_t)guard_thread_id();
	record->freed_from = place_of_call(caller);
	record->freed_stack = malloc_told_stacks.here;
	if (guard_settings.check_header)
		guard_block_verify(record, true);
	count_end(record);
	if (!record->open_pages || !guard_pages_forbid(record, start, record->open_pages))
		guard_arena_give(record);
	return true;
}

bool guard_block_sound(const struct guard_record *record)
{
	uint64_t start = round_down(record->block, GUARD_PAGE_BYTES);

	return start >= record->run_start && record->open_pages <= record->run_pages &&
	       open_end(record) <= guard_run_end(record) &&
	       record->bytes <= open_end(record) - record->block &&
	       guard_record_marked(record->block) == record;
}

static bool verify_range(const struct guard_record *record, uint64_t start, uint64_t end,
                         bool fatal)
{
	uint64_t at = guard_canary_verify(start, end);

	if (at == end)
		return true;
	guard_report_damage(record, at, guard_canary_verify_end(at, end), fatal);
	return false;
}

bool guard_block_verify(const struct guard_record *record, bool fatal)
{
	uint64_t start = round_down(record->block, GUARD_PAGE_BYTES);
	bool whole;

	if (!record->open_pages)
		return true;
	whole = verify_range(record, start, record->block, fatal);
	return verify_range(record, record->block + record->bytes, open_end(record), fatal) &&
	       whole;
}
