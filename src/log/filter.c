// SPDX-License-Identifier: MIT
// The address filter of a block of events: runs of pages in which its blocks of memory lie, few enough
// to be small; runs that lie close are joined until they are. Single pages and mappings of gigabytes
// are both one run.
#include "log/log_impl.h"

#define PAGE_SHIFT     12
#define SEEN           4096 // pages remembered while gathering; a power of two
#define DIGIT_BITS     11
#define DIGITS         ((size_t)1 << DIGIT_BITS)
#define FEW_RUNS       16
#define EVENTS_PER_RUN 128

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

static void gather(run_vec *runs, const struct log_event *events, size_t count,
                   struct log_summary *summary)
{
	uint64_t seen[SEEN];

	memset(seen, 0xff, sizeof(seen));
	summary->low_address = UINT64_MAX;
	summary->high_address = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t last = last_byte(&events[i]), start, end;

		if (!has_memory(events[i].kind))
			continue;
		if (events[i].address < summary->low_address)
			summary->low_address = events[i].address;
		if (last > summary->high_address)
			summary->high_address = last;
		start = events[i].address >> PAGE_SHIFT;
		end = (last >> PAGE_SHIFT) + 1;
		if (end - start == 1 && seen[start % SEEN] == start)
			continue;
		seen[start % SEEN] = start;
		vec_push(runs, ((struct run){ start, end }));
	}
	if (summary->low_address > summary->high_address)
		summary->low_address = 0;
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

void log_add_filter(log_bytes *to, const struct log_event *events, size_t count,
                    struct log_summary *summary)
{
	size_t limit = FEW_RUNS + count / EVENTS_PER_RUN;
	run_vec runs, spare;
	uint64_t before = 0;

	vec_init(&runs, &os_page_source);
	vec_init(&spare, &os_page_source);
	gather(&runs, events, count, summary);
	sort(&runs, &spare);
	join(&runs, 0);
	for (uint64_t gap = 1; runs.n > limit; gap *= 2)
		join(&runs, gap);
	log_add_varint(to, runs.n);
	for (size_t i = 0; i < runs.n; i++) {
		log_add_varint(to, runs.v[i].start - before);
		log_add_varint(to, runs.v[i].end - runs.v[i].start);
		before = runs.v[i].end;
	}
	vec_deinit(&runs);
	vec_deinit(&spare);
}

bool log_filter_holds(struct log_cursor *filter, uint64_t address)
{
	uint64_t page = address >> PAGE_SHIFT, end = 0;

	for (uint64_t left = take_varint(filter); left && !filter->bad; left--) {
		uint64_t start = end + take_varint(filter);

		end = start + take_varint(filter);
		if (page < start)
			break;
		if (page < end)
			return true;
	}
	return filter->bad;
}
