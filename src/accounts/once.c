// SPDX-License-Identifier: MIT
// Counts a page once that several processes (or mappings) hold: the numbers of the page frames that were
// met are kept in a set. Only pages that are mapped more than once are looked up. Called by footprint.c;
// relies on os/pages.c, and so on CAP_SYS_ADMIN.
#include "accounts/accounts_impl.h"

#define FIRST_SLOTS ((size_t)1 << 14)
#define SPARSE      8 // a mapping this many times bigger than what is in it is asked what is there

struct once {
	struct arena arena; // holds this struct
	struct os_frame_facts facts;
	VEC(uint64_t) slots; // 0: free; open addressing, a power of two
	size_t used;
	struct os_ranges present; // of the mapping at work
};

struct once *once_open(void)
{
	struct arena arena;
	struct once *once;

	if (!os_frames_visible())
		return NULL;
	arena_init(&arena, &os_page_source);
	once = arena_alloc(&arena, sizeof(*once));
	once->arena = arena;
	os_frame_facts_open(&once->facts);
	vec_init(&once->present.ranges, &os_page_source);
	vec_init(&once->slots, &os_page_source);
	vec_reserve(&once->slots, FIRST_SLOTS);
	once->slots.n = FIRST_SLOTS;
	return once;
}

void once_close(struct once *once)
{
	struct arena arena = once->arena;

	os_frame_facts_close(&once->facts);
	vec_deinit(&once->slots);
	vec_deinit(&once->present.ranges);
	arena_deinit(&arena);
}

// Fibonacci hashing: neighbouring frames spread.
static uint64_t *slot_of(struct once *once, uint64_t number)
{
	size_t mask = once->slots.n - 1;
	size_t at = (number * 0x9e3779b97f4a7c15ull >> 20) & mask;

	while (once->slots.v[at] && once->slots.v[at] != number)
		at = (at + 1) & mask;
	return &once->slots.v[at];
}

static void grow(struct once *once)
{
	struct once old = *once;

	vec_init(&once->slots, &os_page_source);
	vec_reserve(&once->slots, old.slots.n * 2);
	once->slots.n = old.slots.n * 2;
	for (size_t i = 0; i < old.slots.n; i++)
		if (old.slots.v[i])
			*slot_of(once, old.slots.v[i]) = old.slots.v[i];
	vec_deinit(&old.slots);
}

static bool met_before(struct once *once, uint64_t number)
{
	uint64_t *slot = slot_of(once, number);

	if (*slot)
		return true;
	*slot = number;
	if (++once->used * 2 > once->slots.n)
		grow(once);
	return false;
}

static void subtract(uint64_t *from, uint64_t bytes)
{
	*from -= bytes < *from ? bytes : *from;
}

// Where a mapping has shared pages of both kinds, the kernel's flag of the frame decides; anonymous pages
// are dirty, unless they were given up. What it takes out never exceeds what smaps counted.
static void take_out(struct once *once, struct mapped *mapped, const struct os_frame *frame)
{
	uint64_t page = os_page_bytes();
	bool dirty = mapped->shared_dirty_bytes >= page;
	bool given_up = !frame->of_file && mapped->share.reclaimable_bytes >= page;

	if (dirty && mapped->shared_clean_bytes >= page)
		dirty = (!frame->of_file && !given_up) ||
		        os_frame_is_dirty(&once->facts, frame->number);
	else if (!dirty && mapped->shared_clean_bytes < page)
		return;
	if (mapped->counts.wired_bytes)
		subtract(&mapped->share.wired_bytes, page);
	subtract(dirty ? &mapped->shared_dirty_bytes : &mapped->shared_clean_bytes, page);
	subtract(dirty      ? &mapped->share.dirty_bytes
	         : given_up ? &mapped->share.reclaimable_bytes
	                    : &mapped->share.clean_bytes,
	         page);
}

static void count_frame(struct once *once, struct mapped *mapped, const struct os_frame *frame)
{
	if (!frame->number || frame->exclusive)
		return;
	// The page of zeros costs nothing, and smaps does not count it.
	if (!frame->of_file && os_frame_is_zeros(&once->facts, frame->number))
		return;
	if (met_before(once, frame->number))
		take_out(once, mapped, frame);
}

static bool count_range(struct once *once, int pagemap, struct mapped *mapped, uint64_t start,
                        uint64_t end)
{
	struct os_frame frames[OS_FRAMES_MAX];
	uint64_t page = os_page_bytes();

	while (start < end) {
		size_t n = os_frames_read(pagemap, start, frames, (end - start) / page);

		if (!n)
			return false;
		for (size_t i = 0; i < n; i++)
			count_frame(once, mapped, &frames[i]);
		start += n * page;
	}
	return true;
}

static bool count_mapping(struct once *once, int pagemap, struct mapped *mapped)
{
	if ((mapped->end - mapped->start) / SPARSE <= mapped->resident_bytes)
		return count_range(once, pagemap, mapped, mapped->start, mapped->end);
	once->present.ranges.n = 0;
	if (os_present_ranges(pagemap, mapped->start, mapped->end, OS_PRESENT, &once->present))
		return false;
	for (size_t i = 0; i < once->present.ranges.n; i++)
		if (!count_range(once, pagemap, mapped, once->present.ranges.v[i].start,
		                 once->present.ranges.v[i].end))
			return false;
	return true;
}

bool once_count(struct once *once, int proc, int tid, struct mapped *mappings, size_t count)
{
	OS_DESCRIPTOR int pagemap = -1;

	if (os_pagemap_open(proc, tid, &pagemap))
		return false;
	for (size_t i = 0; i < count; i++)
		if ((mappings[i].shared_clean_bytes || mappings[i].shared_dirty_bytes) &&
		    !count_mapping(once, pagemap, &mappings[i]))
			return false;
	return true;
}
