// SPDX-License-Identifier: MIT
// Which memory each arena has. An arena of a thread has heaps of HEAP_MAX_SIZE,
// chained newest first through heap_info.prev (malloc/arena.c). The main arena has
// the brk memory from mp_.sbrk_base on; when brk failed, or always in a second
// libc, it goes on in mappings of its own, which nothing lists: these are told by
// chains of chunks that run from a page to a pair of fenceposts or to the top.
#include <stdlib.h>

#include "base/checked.h"
#include "heaps/glibc.h"

enum { PIECES_HEAPS_MAX = 1 << 20 }; // heaps of one arena: 64 TiB

static void piece_add(struct glibc *glibc, uint64_t start, uint64_t end, uint32_t arena, bool gaps)
{
	if (start < end)
		vec_push(&glibc->pieces, ((struct glibc_piece){ start, end, arena, gaps }));
}

// The first address from at on that a chunk can have: its memory is aligned, not itself.
static uint64_t chunk_align(const struct glibc_layout *layout, uint64_t at)
{
	uint64_t header = 2 * layout->word;

	return round_up(at + header, layout->align) - header;
}

// What the kernel mapped behind the used part of a heap: kept for later, nobody's data.
static void reserve_rest(struct glibc *glibc, uint64_t start, uint64_t end, uint32_t zone)
{
	const struct target *target = glibc->target;

	for (size_t i = target_segment_index(target, start); i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];

		if (segment->start >= end || segment->file || segment->shared)
			return;
		uint64_t from = segment->start > start ? segment->start : start;
		build_range(glibc->build, from, segment->end < end ? segment->end : end,
		            HEAP_RANGE_RESERVED, zone);
	}
}

static void broken_heap(struct glibc *glibc, struct glibc_arena *arena, uint64_t heap,
                        uint64_t owner)
{
	if (arena->locked) {
		arena->in_transit++;
		return;
	}
	struct heap_fault fault = { .zone = arena->zone,
		                    .address = heap,
		                    .what = "owner of the heap",
		                    .expected = arena->address,
		                    .found = owner };
	build_fault(glibc->build, &fault,
	            "the heap at 0x%llx belongs to 0x%llx instead of the arena at 0x%llx",
	            (unsigned long long)heap, (unsigned long long)owner,
	            (unsigned long long)arena->address);
}

// heap_info: ar_ptr, prev, size, mprotect_size.
static bool heap_words(struct glibc *glibc, uint64_t heap, uint64_t words[3])
{
	unsigned word = glibc->layout.word;

	for (unsigned i = 0; i < 3; i++)
		if (!peek_word(&glibc->peek, heap + i * word, &words[i]))
			return false;
	return true;
}

static void arena_heaps(struct glibc *glibc, uint32_t index)
{
	const struct glibc_layout *layout = &glibc->layout;
	struct glibc_arena *arena = &glibc->arenas.v[index];
	uint64_t mask = layout->heap_max - 1, newest = arena->top & ~mask;

	if (!layout->heap_info_bytes || !arena->top)
		return;
	uint64_t heap = newest, words[3] = { 0 };
	for (unsigned i = 0; heap && i < PIECES_HEAPS_MAX; i++, heap = words[1]) {
		if (heap & mask || !heap_words(glibc, heap, words) || words[0] != arena->address) {
			broken_heap(glibc, arena, heap, heap & mask ? heap : words[0]);
			return;
		}
		uint64_t size = words[2];
		if (size > layout->heap_max || size < layout->heap_info_bytes)
			return broken_heap(glibc, arena, heap, size);
		bool first = heap == (arena->address & ~mask);
		uint64_t start = heap + layout->heap_info_bytes;
		if (first)
			start = arena->address + layout->state_bytes;
		start = chunk_align(layout, start);
		uint64_t end = heap + size;
		if (heap == newest && arena->top_end > arena->top && arena->top_end <= end &&
		    !arena->locked)
			end = arena->top_end;
		build_range(glibc->build, heap, start, HEAP_RANGE_METADATA, arena->zone);
		piece_add(glibc, start, end, index, false);
		reserve_rest(glibc, end, heap + layout->heap_max, arena->zone);
		arena->pieces_bytes += size;
	}
}

// --- the main arena -------------------------------------------------------------------------------------
// The end of the private memory around address that has no gap.
static uint64_t contiguous_end(const struct target *target, uint64_t address)
{
	size_t i = target_segment_index(target, address);

	if (i == target->segment_count || target->segments[i].start > address)
		return address;
	const char *name = target->segments[i].name;
	uint64_t end = target->segments[i].end;
	// A brk area that was split (by mprotect, or by naming a part of it) has its name in each part.
	for (i++; name && i < target->segment_count && target->segments[i].start == end &&
	          target->segments[i].name && !target->segments[i].file;
	     i++)
		end = target->segments[i].end;
	return end;
}

static bool is_anonymous_private(const struct target_segment *segment)
{
	return segment->readable && segment->protection & TARGET_WRITE && !segment->shared &&
	       (!segment->file || segment->file->anonymous) &&
	       (!segment->name || segment->name[0] != '[' || segment->name[1] == 'a');
}

static bool claimed(const struct glibc *glibc, uint64_t start, uint64_t end)
{
	const struct heap_claim *other = build_claim_behind(glibc->build, start);

	if (other && other->start < end)
		return true;
	for (size_t i = 0; i < glibc->pieces.n; i++)
		if (glibc->pieces.v[i].start < end && start < glibc->pieces.v[i].end)
			return true;
	return false;
}

// A mapping that the main arena took in place of brk memory: from a page on, chunk after chunk.
static void scattered_in(struct glibc *glibc, const struct target_segment *segment)
{
	struct window window;

	window_init(&window, glibc->target);
	struct glibc_arena *arena = &glibc->arenas.v[0];
	for (uint64_t at = segment->start; at < segment->end;) {
		struct glibc_piece piece = { chunk_align(&glibc->layout, at), segment->end, 0,
			                     false };

		if (arena->top >= piece.start && arena->top < segment->end)
			piece.end = arena->top_end < segment->end ? arena->top_end : segment->end;
		uint64_t end = 0;
		if (!glibc_chain(glibc, &window, &piece, piece.start, ~0u, &end) ||
		    end <= piece.start) {
			at += glibc->layout.page;
			continue;
		}
		end = arena->top <= end && arena->top >= piece.start ? arena->top_end : end;
		piece_add(glibc, piece.start, end, 0, false);
		arena->pieces_bytes += end - at;
		at = round_up(end, glibc->layout.page);
	}
	window_deinit(&window);
}

static void main_scattered(struct glibc *glibc)
{
	const struct target *target = glibc->target;

	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];

		if (is_anonymous_private(segment) && !claimed(glibc, segment->start, segment->end))
			scattered_in(glibc, segment);
	}
}

static void main_pieces(struct glibc *glibc)
{
	struct glibc_arena *arena = &glibc->arenas.v[0];
	uint64_t base = glibc->parameters.sbrk_base;
	const struct target_segment *at_top = target_segment_at(glibc->target, arena->top);

	if (!base && !glibc->parameters.address && at_top && !arena->noncontiguous)
		base = at_top->start;
	if (base) {
		uint64_t end = contiguous_end(glibc->target, base);
		bool top_inside = arena->top >= base && arena->top < end;

		// Inside malloc the size of the top may not be written yet.
		if (top_inside && arena->top_end <= end && !arena->locked)
			end = arena->top_end;
		const struct target_segment *segment = target_segment_at(glibc->target, base);
		bool brk = segment && (!segment->name || segment->name[0] == '[');
		if (brk && (top_inside || arena->noncontiguous)) {
			piece_add(glibc, chunk_align(&glibc->layout, base), end, 0, true);
			arena->pieces_bytes += end - base;
		}
		if (top_inside && !arena->noncontiguous)
			return;
	}
	if (arena->top)
		main_scattered(glibc);
}

static int compare_pieces(const void *a, const void *b)
{
	const struct glibc_piece *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void glibc_pieces(struct glibc *glibc)
{
	struct glibc_arena *main_arena = &glibc->arenas.v[0];

	build_range(glibc->build, main_arena->address,
	            main_arena->address + glibc->layout.state_bytes, HEAP_RANGE_METADATA,
	            main_arena->zone);
	for (uint32_t i = 1; i < glibc->arenas.n; i++)
		arena_heaps(glibc, i);
	main_pieces(glibc);
	if (glibc->pieces.n)
		qsort(glibc->pieces.v, glibc->pieces.n, sizeof(*glibc->pieces.v), compare_pieces);
	size_t kept = 0;
	for (size_t i = 0; i < glibc->pieces.n; i++) // damaged rings may claim memory twice
		if (!kept || glibc->pieces.v[kept - 1].end <= glibc->pieces.v[i].start)
			glibc->pieces.v[kept++] = glibc->pieces.v[i];
	glibc->pieces.n = kept;
}
