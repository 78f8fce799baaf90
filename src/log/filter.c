// SPDX-License-Identifier: MIT
// The address filter of a block of events: runs of pages in which its blocks of memory lie, few enough
// to be small; runs that lie close are joined until they are. Single pages and mappings of gigabytes
// are both one run. Small blocks of memory that are strewn over many pages go into a hashed filter
// (granules.c) instead. Called by writer.c and reader.c.
#include "log/log_impl.h"

#define PAGE_SHIFT     12
#define SEEN           4096 // pages or blocks remembered while gathering; a power of two
#define DIGIT_BITS     11
#define DIGITS         ((size_t)1 << DIGIT_BITS)
#define FEW_RUNS       16
#define EVENTS_PER_RUN 128
#define SMALL_BYTES    4096  // what is longer is in the runs
#define FEW_EVENTS     16384 // decoded sooner than a finer filter is worth

struct run {
	uint64_t start, end; // pages, end excluded
};

typedef VEC(struct run) run_vec;

// Kinds whose address is one of the program's memory.
static bool has_memory(uint8_t kind)
{
	return (kind >= RECORD_MALLOC && kind <= RECORD_REMAP_FREE) || kind == RECORD_SHMAT ||
	       kind == RECORD_SHMDT || kind == RECORD_SHM_MAP || kind >= RECORD_RETAIN;
}

static uint64_t last_byte(const struct log_event *event)
{
	uint64_t last;

	if (!event->bytes)
		return event->address;
	return checked_add(event->address, event->bytes - 1, &last) ? last : UINT64_MAX;
}

static size_t seen_place(uint64_t address)
{
	return address * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (SEEN - 1);
}

// The blocks of memory of the events, most of those that come again left out.
static void gather(log_spans *spans, const struct log_event *events, size_t count,
                   struct log_summary *summary)
{
	struct log_span seen[SEEN];

	memset(seen, 0xff, sizeof(seen));
	summary->low_address = UINT64_MAX;
	summary->high_address = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t start = events[i].address, last = last_byte(&events[i]);
		struct log_span *before = &seen[seen_place(start)];

		if (!has_memory(events[i].kind))
			continue;
		if (start < summary->low_address)
			summary->low_address = start;
		if (last > summary->high_address)
			summary->high_address = last;
		if (before->start == start && before->last >= last && start != UINT64_MAX)
			continue;
		*before = (struct log_span){ start, last };
		vec_push(spans, *before);
	}
	if (summary->low_address > summary->high_address)
		summary->low_address = 0;
}

// Moves the small ones to the front; returns how many they are.
static size_t small_first(log_spans *spans)
{
	size_t small = 0;

	for (size_t i = 0; i < spans->n; i++) {
		struct log_span span = spans->v[i];

		if (span.last - span.start >= SMALL_BYTES)
			continue;
		spans->v[i] = spans->v[small];
		spans->v[small++] = span;
	}
	return small;
}

static void add_runs(run_vec *runs, const struct log_span *spans, size_t count)
{
	uint64_t seen[SEEN];

	memset(seen, 0xff, sizeof(seen));
	for (size_t i = 0; i < count; i++) {
		uint64_t start = spans[i].start >> PAGE_SHIFT;
		uint64_t end = (spans[i].last >> PAGE_SHIFT) + 1;

		if (end - start == 1 && seen[start % SEEN] == start)
			continue;
		seen[start % SEEN] = start;
		vec_push(runs, ((struct run){ start, end }));
	}
}

// By start, a digit at a time from the lowest; digits that are the same everywhere are left out.
static void sort(run_vec *runs, run_vec *spare)
{
	uint64_t all = 0, both = UINT64_MAX;

	if (!runs->n)
		return;
	for (size_t i = 0; i < runs->n; i++) {
		all |= runs->v[i].start;
		both &= runs->v[i].start;
	}
	vec_reserve(spare, runs->n);
	for (unsigned shift = 0; shift < 64 && (all ^ both) >> shift; shift += DIGIT_BITS) {
		size_t places[DIGITS] = { 0 }, place = 0;

		if (!((all ^ both) >> shift & (DIGITS - 1)))
			continue;
		for (size_t i = 0; i < runs->n; i++)
			places[runs->v[i].start >> shift & (DIGITS - 1)]++;
		for (size_t digit = 0; digit < DIGITS; digit++) {
			size_t count = places[digit];

			places[digit] = place;
			place += count;
		}
		for (size_t i = 0; i < runs->n; i++)
			spare->v[places[runs->v[i].start >> shift & (DIGITS - 1)]++] = runs->v[i];
		memcpy(runs->v, spare->v, runs->n * sizeof(*runs->v));
	}
}

// Joins sorted runs with at most gap pages between them.
static void join(run_vec *runs, uint64_t gap)
{
	size_t kept = 0;

	for (size_t i = 1; i < runs->n; i++) {
		struct run *last = &runs->v[kept], next = runs->v[i];

		if (next.start <= last->end || next.start - last->end <= gap) {
			if (next.end > last->end)
				last->end = next.end;
		} else {
			runs->v[++kept] = next;
		}
	}
	if (runs->n)
		runs->n = kept + 1;
}

// UINT64_MAX when the runs are too many to be written as they are.
static uint64_t bytes_of(const run_vec *runs, size_t limit)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < runs->n; i++)
		pages += runs->v[i].end - runs->v[i].start;
	return runs->n <= limit ? pages << PAGE_SHIFT : UINT64_MAX;
}

static void write_runs(log_bytes *to, const run_vec *runs)
{
	uint64_t before = 0;

	log_add_varint(to, runs->n);
	for (size_t i = 0; i < runs->n; i++) {
		log_add_varint(to, runs->v[i].start - before);
		log_add_varint(to, runs->v[i].end - runs->v[i].start);
		before = runs->v[i].end;
	}
}

void log_add_filter(log_bytes *to, const struct log_event *events, size_t count,
                    struct log_summary *summary)
{
	size_t limit = FEW_RUNS + count / EVENTS_PER_RUN, small;
	struct log_granules granules = { 0 };
	run_vec runs, spare;
	log_spans spans;

	vec_init(&runs, &os_page_source);
	vec_init(&spare, &os_page_source);
	vec_init(&spans, &os_page_source);
	vec_reserve(&spans, count);
	gather(&spans, events, count, summary);
	small = small_first(&spans);
	add_runs(&runs, spans.v, small);
	sort(&runs, &spare);
	join(&runs, 0);
	if (count > FEW_EVENTS)
		log_granules_plan(&granules, spans.v, small, count, bytes_of(&runs, limit));
	if (granules.shift)
		runs.n = 0;
	add_runs(&runs, spans.v + small, spans.n - small);
	sort(&runs, &spare);
	join(&runs, 0);
	for (uint64_t gap = 1; runs.n > limit; gap *= 2)
		join(&runs, gap);
	write_runs(to, &runs);
	log_add_granules(to, &granules, spans.v, small);
	vec_deinit(&runs);
	vec_deinit(&spare);
	vec_deinit(&spans);
}

static bool any_within(const uint64_t *addresses, size_t count, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t page = addresses[i] >> PAGE_SHIFT;

		if (page >= start && page < end)
			return true;
	}
	return false;
}

bool log_filter_holds(struct log_cursor *filter, const uint64_t *addresses, size_t count)
{
	uint64_t end = 0;

	for (uint64_t left = take_varint(filter); left && !filter->bad; left--) {
		uint64_t start = end + take_varint(filter);

		end = start + take_varint(filter);
		if (any_within(addresses, count, start, end))
			return true;
	}
	return filter->bad || log_granules_hold(filter, addresses, count);
}
