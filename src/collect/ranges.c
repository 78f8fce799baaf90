// SPDX-License-Identifier: MIT
// The mappings that the program made and has: ranges, because munmap may take a part. Called by
// stream.c.
#include "collect/collect_impl.h"

#include <string.h>

#include "base/search.h"

void collect_ranges_init(struct collect_ranges *ranges)
{
	vec_init(&ranges->ranges, &os_page_source);
	ranges->bytes = 0;
}

void collect_ranges_deinit(struct collect_ranges *ranges)
{
	vec_deinit(&ranges->ranges);
}

// The first range that ends behind the address.
static size_t find(const struct collect_ranges *ranges, uint64_t address)
{
	return first_index(ranges->ranges.n, i, ranges->ranges.v[i].end > address);
}

// Makes room for, or takes away, elements at a place.
static void shift(struct collect_ranges *ranges, size_t at, size_t out, size_t in)
{
	size_t behind = ranges->ranges.n - at - out;

	vec_reserve(&ranges->ranges, ranges->ranges.n + in);
	if (behind)
		memmove(&ranges->ranges.v[at + in], &ranges->ranges.v[at + out],
		        behind * sizeof(*ranges->ranges.v));
	ranges->ranges.n = at + in + behind;
}

// A range that wraps around is cut at the end of the address space.
static uint64_t end_of(uint64_t start, uint64_t bytes)
{
	return bytes > UINT64_MAX - start ? UINT64_MAX : start + bytes;
}

void collect_ranges_take(struct collect_ranges *ranges, uint64_t start, uint64_t bytes)
{
	uint64_t end = end_of(start, bytes);
	size_t first = find(ranges, start), last = first;
	struct collect_range rest[2];
	size_t kept = 0;

	for (; last < ranges->ranges.n && ranges->ranges.v[last].start < end; last++) {
		struct collect_range *range = &ranges->ranges.v[last];

		ranges->bytes -= range->end - range->start;
		if (range->start < start) {
			rest[kept] = *range;
			rest[kept++].end = start;
		}
		if (range->end > end) {
			rest[kept] = *range;
			rest[kept++].start = end;
		}
	}
	if (last == first)
		return;
	shift(ranges, first, last - first, kept);
	for (size_t i = 0; i < kept; i++) {
		ranges->ranges.v[first + i] = rest[i];
		ranges->bytes += rest[i].end - rest[i].start;
	}
}

void collect_ranges_put(struct collect_ranges *ranges, uint64_t start, uint64_t bytes,
                        uint32_t node, uint32_t thread)
{
	uint64_t end = end_of(start, bytes);
	size_t at;

	if (end == start)
		return;
	collect_ranges_take(ranges, start, bytes);
	at = find(ranges, start);
	shift(ranges, at, 0, 1);
	ranges->ranges.v[at] = (struct collect_range){ start, end, node, thread };
	ranges->bytes += end - start;
}
