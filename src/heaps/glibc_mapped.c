// SPDX-License-Identifier: MIT
// Chunks with a mapping of their own (sysmalloc_mmap): {distance to the start of the
// mapping, size | IS_MMAPPED}. Nothing lists them, but mp_ counts them, so that a
// page scan of private memory can prove that it found all and nothing else.
//
// Up to 2.42 distance and size are the mapping together; in 2.43 (mmap_set_chunk) a
// header is missing at the end, and usable memory goes on over it. Both forms can
// be told apart, because only one makes whole pages. memalign moves the header into
// the mapping and leaves the old one behind at its start. 32-bit chunks begin 8
// bytes into the mapping where memory is aligned to 16.
#include <string.h>

#include "base/checked.h"
#include "heaps/glibc.h"

enum {
	MAPPED_STARTS, // at the start of a segment, and what follows without a gap
	MAPPED_PAGES,  // at any page
	MAPPED_MAX = 1 << 20,
};

struct mapped_scan {
	struct glibc *glibc;
	uint64_t limit; // end of the segment
	uint64_t at;    // scanned up to here
	int how;
};

static bool header_at(struct glibc *glibc, uint64_t chunk, uint64_t *ret_distance,
                      uint64_t *ret_head)
{
	unsigned word = glibc->layout.word;
	uint8_t bytes[16];

	if (target_read_some(glibc->target, chunk, bytes, 2 * word) != 2 * word)
		return false;
	*ret_distance = target_word(glibc->target, bytes) & ~1ull; // MMAP_HP of 2.43
	*ret_head = target_word(glibc->target, bytes + word);
	return true;
}

// The bytes of the mapping of a chunk with this header; 0 when it is none.
static uint64_t mapping_bytes(const struct glibc_layout *layout, uint64_t distance, uint64_t head,
                              bool *ret_short)
{
	uint64_t size = head & ~(uint64_t)CHUNK_FLAGS, bytes;

	if ((head & CHUNK_FLAGS) != CHUNK_IS_MMAPPED || !checked_add(distance, size, &bytes))
		return 0;
	*ret_short = bytes % layout->page != 0;
	if (*ret_short)
		bytes += 2 * layout->word;
	return bytes % layout->page == 0 && size >= layout->minimum ? bytes : 0;
}

// memalign in a mapping that starts at start: the chunk that is really used, behind the stale one.
static void follow_alignment(struct glibc *glibc, uint64_t start, uint64_t bytes, uint64_t *chunk,
                             uint64_t *head, bool *is_short)
{
	uint64_t header = 2 * glibc->layout.word, stale = *chunk;

	for (uint64_t alignment = 2 * glibc->layout.align; alignment < bytes; alignment *= 2) {
		uint64_t at = round_up(stale + header, alignment) - header, distance, found;
		bool found_short;

		if (at <= stale || at + header >= start + bytes)
			continue;
		if (!header_at(glibc, at, &distance, &found) || distance != at - start ||
		    mapping_bytes(&glibc->layout, distance, found, &found_short) != bytes)
			continue;
		*chunk = at;
		*head = found;
		*is_short = found_short;
		return;
	}
}

// The mapped chunk whose mapping starts at start and ends before limit.
static bool mapped_at(struct glibc *glibc, uint64_t start, uint64_t limit, struct glibc_mapped *ret)
{
	const struct glibc_layout *layout = &glibc->layout;
	uint64_t chunk = round_up(start + 2 * layout->word, layout->align) - 2 * layout->word;
	uint64_t distance, head;
	bool is_short;

	if (!header_at(glibc, chunk, &distance, &head) || distance != chunk - start)
		return false;
	uint64_t bytes = mapping_bytes(layout, distance, head, &is_short);
	if (!bytes || bytes > limit - start)
		return false;
	follow_alignment(glibc, start, bytes, &chunk, &head, &is_short);
	uint64_t size = head & ~(uint64_t)CHUNK_FLAGS;
	*ret = (struct glibc_mapped){ start, start + bytes, chunk + 2 * layout->word,
		                      size - (is_short ? 1 : 2) * layout->word };
	return true;
}

static void scan_present(void *context, uint64_t start, uint64_t end)
{
	struct mapped_scan *scan = context;
	struct glibc *glibc = scan->glibc;
	uint64_t page = glibc->layout.page;
	uint64_t at = round_up(start > scan->at ? start : scan->at, page);

	while (at < end && at < scan->limit && glibc->mapped.n < MAPPED_MAX) {
		struct glibc_mapped mapped;

		if (mapped_at(glibc, at, scan->limit, &mapped)) {
			vec_push(&glibc->mapped, mapped);
			at = mapped.end;
		} else if (scan->how == MAPPED_STARTS) {
			at = scan->limit;
		} else {
			at += page;
		}
	}
	scan->at = at;
}

static bool may_hold_chunks(const struct target_segment *segment)
{
	if (segment->shared || !segment->readable || !(segment->protection & TARGET_WRITE) ||
	    (segment->file && !segment->file->anonymous))
		return false;
	return !segment->name || strncmp(segment->name, "[anon", 5) == 0 || segment->name[0] == '/';
}

// Where the next memory begins that is known to be something else: a piece or another allocator's.
static uint64_t next_known(const struct glibc *glibc, size_t *piece, uint64_t at, uint64_t *ret_end)
{
	const struct heap_claim *claim = build_claim_behind(glibc->build, at);
	uint64_t start = claim ? claim->start : ~0ull;

	*ret_end = claim ? claim->end : ~0ull;
	while (*piece < glibc->pieces.n && glibc->pieces.v[*piece].end <= at)
		++*piece;
	if (*piece < glibc->pieces.n && glibc->pieces.v[*piece].start < start) {
		start = glibc->pieces.v[*piece].start;
		*ret_end = glibc->pieces.v[*piece].end;
	}
	return start;
}

// Calls back for what pieces and claims leave of a segment.
static void scan_segment(struct glibc *glibc, const struct target_segment *segment, int how)
{
	uint64_t at = segment->start, page = glibc->layout.page;
	size_t piece = 0;

	while (at < segment->end) {
		uint64_t behind, next = next_known(glibc, &piece, at, &behind);

		if (next >= segment->end)
			next = behind = segment->end;
		next = round_down(next, page);
		behind = round_up(behind, page);
		struct mapped_scan scan = { glibc, next, at, how };
		if (at < next && how == MAPPED_STARTS)
			scan_present(&scan, at, next);
		else if (at < next)
			(void)target_present(glibc->target, at, next, scan_present, &scan);
		at = behind;
	}
}

static uint64_t mapped_sum(const struct glibc *glibc)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < glibc->mapped.n; i++)
		sum += glibc->mapped.v[i].end - glibc->mapped.v[i].start;
	return sum;
}

static bool counters_close(const struct glibc *glibc)
{
	uint64_t sum = mapped_sum(glibc), counted = glibc->parameters.mmapped_bytes;

	return glibc->parameters.address && glibc->mapped.n == glibc->parameters.mapped_count &&
	       (sum == counted || (sum < counted && glibc_counter_drifts(&glibc->layout)));
}

// When exactly one or two candidates too many explain the difference of both counters, they are none.
static void drop_false(struct glibc *glibc)
{
	size_t n = glibc->mapped.n, too_many = n - glibc->parameters.mapped_count;
	uint64_t excess = mapped_sum(glibc) - glibc->parameters.mmapped_bytes;

	if (!glibc->parameters.address || n <= glibc->parameters.mapped_count || too_many > 2)
		return;
	for (size_t i = n; i-- > 0;) {
		uint64_t bytes = glibc->mapped.v[i].end - glibc->mapped.v[i].start;
		size_t other = i;

		if (too_many == 2)
			while (other-- > 0)
				if (bytes + glibc->mapped.v[other].end -
				            glibc->mapped.v[other].start ==
				    excess)
					break;
		if (too_many == 1 ? bytes != excess : other >= i)
			continue;
		size_t kept = 0;
		for (size_t k = 0; k < n; k++)
			if (k != i && k != other)
				glibc->mapped.v[kept++] = glibc->mapped.v[k];
		glibc->mapped.n = kept;
		return;
	}
}

void glibc_mapped_find(struct glibc *glibc)
{
	const struct target *target = glibc->target;

	if (glibc->parameters.address && !glibc->parameters.mapped_count &&
	    (!glibc->parameters.mmapped_bytes || glibc_counter_drifts(&glibc->layout)))
		return;
	for (int how = MAPPED_STARTS; how <= MAPPED_PAGES; how++) {
		glibc->mapped.n = 0;
		for (size_t i = 0; i < target->segment_count; i++)
			if (may_hold_chunks(&target->segments[i]))
				scan_segment(glibc, &target->segments[i], how);
		if (counters_close(glibc))
			return;
	}
	drop_false(glibc);
}

// A stop between mmap or munmap and their counting leaves a difference of one (the counters are
// changed without a lock, before munmap and after mmap): the caller may look again.
void glibc_mapped_check(struct glibc *glibc)
{
	const struct glibc_parameters *parameters = &glibc->parameters;

	if (!parameters->address || counters_close(glibc))
		return;
	uint64_t sum = mapped_sum(glibc);
	glibc->build->in_malloc = glibc->build->in_malloc ||
	                          glibc->mapped.n + 1 == parameters->mapped_count ||
	                          glibc->mapped.n == parameters->mapped_count + 1;
	if (glibc->mapped_zone == ~0u)
		glibc->mapped_zone = build_zone(glibc->build, "mmapped", "glibc", 0);
	struct heap_fault fault = { .zone = glibc->mapped_zone,
		                    .address = parameters->address,
		                    .what = "sum of mapped chunks",
		                    .expected = parameters->mmapped_bytes,
		                    .found = sum };
	build_fault(glibc->build, &fault,
	            "%zu chunks with %llu bytes were found, but malloc counts %u with %llu",
	            glibc->mapped.n, (unsigned long long)sum, parameters->mapped_count,
	            (unsigned long long)parameters->mmapped_bytes);
}
