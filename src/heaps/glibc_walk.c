// SPDX-License-Identifier: MIT
// From chunk to chunk through a piece of an arena. A chunk is {prev_size, size and
// three flags}; it is free when the next one lacks PREV_INUSE, and then next's
// prev_size repeats its size (malloc.c, "Details of malloc chunks"). The walk must
// land on the top, or on a pair of fenceposts that ends an older heap.
//
// A header that cannot be is a fault; the walk goes on at the next place from which
// WALK_CHAIN chunks in a row make sense. When the arena is locked a split may be
// half done: the new header is not written yet, but the old end still points back
// to the chunk that is split, and what lies between is free.
#include "base/checked.h"
#include "heaps/glibc.h"

enum {
	WALK_TRANSIT = 4,  // contradictions that one half done malloc or free can leave in an arena
	WALK_SPLIT = 4096, // stale headers that can lie in a chunk that is being split
};

struct walk {
	struct glibc *glibc;
	const struct glibc_piece *piece;
	struct glibc_arena *arena;
	uint64_t range_start; // where the current run of blocks began
	size_t first;         // its first block
	ssize_t last;         // index of the block before, when its state is still open, or -1
	uint64_t last_chunk;
	struct glibc_free links; // of the block before, in case it is free
	bool closed;             // whether the current range was handed over
};

static inline bool chunk_possible(const struct glibc_layout *layout,
                                  const struct glibc_arena *arena, uint64_t at, uint64_t end,
                                  uint64_t head)
{
	uint64_t size = head & ~(uint64_t)CHUNK_FLAGS;

	return size >= layout->minimum && size % layout->align == 0 && size <= end - at &&
	       !(head & CHUNK_IS_MMAPPED) && !(arena->main && head & CHUNK_NON_MAIN);
}

// sysmalloc ends what it leaves with two headers of the size of a header, or of that and of 0.
static bool is_fencepost(struct glibc *glibc, struct window *window, uint64_t at, uint64_t head)
{
	unsigned word = glibc->layout.word;
	uint64_t size = head & ~(uint64_t)CHUNK_FLAGS;

	if (size != 2 * word)
		return false;
	const uint8_t *bytes = window_bytes(window, at, 4 * word);
	if (!bytes)
		return false;
	uint64_t second = target_word(glibc->target, bytes + 3 * word);
	return (second & CHUNK_PREV_INUSE) && ((second & ~(uint64_t)CHUNK_FLAGS) == 2 * word ||
	                                       (second & ~(uint64_t)CHUNK_FLAGS) == 0);
}

bool glibc_chain(struct glibc *glibc, struct window *window, const struct glibc_piece *piece,
                 uint64_t address, unsigned count, uint64_t *ret_end)
{
	const struct glibc_layout *layout = &glibc->layout;
	const struct glibc_arena *arena = &glibc->arenas.v[piece->arena];
	unsigned word = layout->word;
	uint64_t at = address, size = 0;
	bool in_piece = arena->top >= piece->start && arena->top < piece->end;

	for (unsigned n = 0; n < count; n++) {
		*ret_end = at;
		if ((in_piece && at == arena->top) || (at == piece->end && !in_piece))
			return n > 0;
		const uint8_t *bytes = at < piece->end ? window_bytes(window, at, 2 * word) : NULL;
		if (!bytes)
			return false;
		uint64_t before = target_word(glibc->target, bytes);
		uint64_t head = target_word(glibc->target, bytes + word);
		if (n && !(head & CHUNK_PREV_INUSE) && before != size)
			return false;
		if (n && is_fencepost(glibc, window, at, head)) {
			*ret_end = at + 4 * word;
			return true;
		}
		if (!chunk_possible(layout, arena, at, piece->end, head))
			return false;
		size = head & ~(uint64_t)CHUNK_FLAGS;
		at += size;
	}
	*ret_end = at;
	return true;
}

// --- contradictions -----------------------------------------------------------------------------------
static uint64_t block_before(const struct walk *walk)
{
	const struct heap_build *build = walk->glibc->build;

	return build->blocks.n > walk->first ? build->blocks.v[build->blocks.n - 1].hb_address : 0;
}

static void bad_size(struct walk *walk, uint64_t at, uint64_t head)
{
	if (walk->arena->locked && walk->arena->in_transit < WALK_TRANSIT) {
		walk->arena->in_transit++;
		return;
	}
	uint64_t before = block_before(walk);
	struct heap_fault fault = { .zone = walk->arena->zone,
		                    .address = at + walk->glibc->layout.word,
		                    .what = "size of the chunk",
		                    .found = head,
		                    .block_before = before };
	build_fault(
		walk->glibc->build, &fault,
		"the size of the chunk at 0x%llx is 0x%llx, which cannot be; the block at 0x%llx ends "
		"before it",
		(unsigned long long)at, (unsigned long long)head, (unsigned long long)before);
}

static void bad_previous(struct walk *walk, uint64_t at, uint64_t expected, uint64_t found)
{
	if (walk->arena->locked && walk->arena->in_transit < WALK_TRANSIT) {
		walk->arena->in_transit++;
		return;
	}
	uint64_t before = block_before(walk);
	struct heap_fault fault = { .zone = walk->arena->zone,
		                    .address = at,
		                    .what = "size of the previous chunk",
		                    .expected = expected,
		                    .found = found,
		                    .block_before = before };
	build_fault(walk->glibc->build, &fault,
	            "the free chunk before 0x%llx has %llu bytes, but its end says %llu",
	            (unsigned long long)at, (unsigned long long)expected,
	            (unsigned long long)found);
}

static void bad_end(struct walk *walk, uint64_t at)
{
	if (walk->arena->locked && walk->arena->in_transit < WALK_TRANSIT) {
		walk->arena->in_transit++;
		return;
	}
	struct heap_fault fault = { .zone = walk->arena->zone,
		                    .address = at,
		                    .what = "end of the heap",
		                    .expected = walk->piece->end,
		                    .found = at,
		                    .block_before = block_before(walk) };
	build_fault(walk->glibc->build, &fault, "the chunks end at 0x%llx instead of 0x%llx",
	            (unsigned long long)at, (unsigned long long)walk->piece->end);
}

// --- going on ------------------------------------------------------------------------------------------
// Whether the chunk boundary at says that a free chunk which starts at the last chunk, or at hole,
// ends here: a split that is half done.
static bool points_back(const struct walk *walk, uint64_t at, uint64_t hole, uint64_t before,
                        uint64_t head)
{
	if (head & CHUNK_PREV_INUSE || !walk->arena->locked)
		return false;
	return before == at - hole || (walk->last >= 0 && before == at - walk->last_chunk);
}

// The next place from which the chunks make sense again; the end of the piece when there is none.
static uint64_t resync(struct walk *walk, uint64_t hole)
{
	struct glibc *glibc = walk->glibc;
	const struct glibc_layout *layout = &glibc->layout;
	struct window far;

	window_init(&far, glibc->target);
	uint64_t at = hole + layout->align, end;
	for (; at + layout->minimum <= walk->piece->end; at += layout->align) {
		const uint8_t *bytes = window_bytes(&glibc->window, at, 2 * layout->word);

		if (!bytes)
			break;
		uint64_t before = target_word(glibc->target, bytes);
		uint64_t head = target_word(glibc->target, bytes + layout->word);
		if (at == walk->arena->top)
			break;
		if (!chunk_possible(layout, walk->arena, at, walk->piece->end, head))
			continue;
		unsigned count = points_back(walk, at, hole, before, head) ? 2 : WALK_CHAIN;
		if (glibc_chain(glibc, &far, walk->piece, at, count, &end))
			break;
	}
	window_deinit(&far);
	bool reached = at + layout->minimum <= walk->piece->end;
	if (!reached && walk->arena->top > hole && walk->arena->top < walk->piece->end)
		return walk->arena->top;
	return reached ? at : walk->piece->end;
}

static void close_range(struct walk *walk, uint64_t end)
{
	walk->closed = true;
	build_range(walk->glibc->build, walk->range_start, end, HEAP_RANGE_BLOCKS,
	            walk->arena->zone);
}

static void open_range(struct walk *walk, uint64_t start)
{
	walk->closed = false;
	walk->range_start = start;
	walk->first = walk->glibc->build->blocks.n;
	walk->last = -1;
}

// What the header at says about the chunk before it.
static void settle_last(struct walk *walk, uint64_t at, uint64_t before, uint64_t head)
{
	struct heap_build *build = walk->glibc->build;

	if (walk->last < 0 || head & CHUNK_PREV_INUSE)
		return;
	struct heap_block *last = &build->blocks.v[walk->last];
	uint64_t size = at - walk->last_chunk;
	if (before == size || !walk->arena->locked || walk->arena->in_transit >= WALK_TRANSIT) {
		last->hb_state = HEAP_FREE;
		vec_push(&walk->glibc->frees, walk->links);
		if (before != size)
			bad_previous(walk, at, size, before);
		return;
	}
	// Half done: the end still tells the size of what was split or is being merged.
	ssize_t start = walk->last;
	uint64_t header = 2 * walk->glibc->layout.word;
	ssize_t stop = start > WALK_SPLIT ? start - WALK_SPLIT : 0;
	stop = stop < (ssize_t)walk->first ? (ssize_t)walk->first : stop;
	while (start >= stop && at - (build->blocks.v[start].hb_address - header) < before)
		start--;
	walk->arena->in_transit++;
	last->hb_state = HEAP_FREE;
	if (start < stop || at - (build->blocks.v[start].hb_address - header) != before)
		return;
	for (ssize_t i = start + 1; i <= walk->last; i++)
		build->blocks.v[i].hb_state = HEAP_FREE;
}

static void emit(struct walk *walk, uint64_t at, uint64_t size, const uint8_t *bytes)
{
	struct glibc *glibc = walk->glibc;
	unsigned word = glibc->layout.word;
	struct heap_block *block = vec_add(&glibc->build->blocks);

	block->hb_address = at + 2 * word;
	// Usable memory goes on over the next chunk's prev_size, if there is a next chunk.
	block->hb_size = size - (at + size + word <= walk->piece->end ? 1 : 2) * word;
	block->hb_zone = walk->arena->zone;
	walk->last = (ssize_t)glibc->build->blocks.n - 1;
	walk->last_chunk = at;
	walk->links = (struct glibc_free){ at, target_word(glibc->target, bytes + 2 * word),
		                           target_word(glibc->target, bytes + 3 * word) };
	if (glibc_vector_likely(glibc, block->hb_size, walk->links.next, walk->links.previous))
		vec_push(&glibc->vectors, block->hb_address);
	if (glibc_tcache_size(glibc, block->hb_size)) {
		uint64_t usable = block->hb_size;
		const uint8_t *memory = window_bytes(&glibc->window, at + 2 * word, usable);

		if (memory && glibc_tcache_likely(glibc, memory, usable))
			vec_push(&glibc->caches, block->hb_address);
	}
}

// Ends the walk at the top, which is free and no block.
static void finish_top(struct walk *walk, uint64_t at)
{
	struct heap_zone *zone = &walk->glibc->build->zones.v[walk->arena->zone];
	uint64_t size = walk->piece->end - at;

	zone->free_bytes += size;
	if (size > zone->largest_free_bytes)
		zone->largest_free_bytes = size;
	close_range(walk, walk->piece->end);
}

// Behind a pair of fenceposts: the end, or memory that somebody else got from sbrk.
static uint64_t pass_fenceposts(struct walk *walk, uint64_t at)
{
	unsigned word = walk->glibc->layout.word;
	uint64_t behind = at + 4 * word;

	if (!walk->piece->gaps || behind + walk->glibc->layout.minimum > walk->piece->end) {
		close_range(walk, walk->piece->end);
		return walk->piece->end;
	}
	close_range(walk, behind);
	walk->last = -1;
	uint64_t next = resync(walk, behind - walk->glibc->layout.align);
	open_range(walk, next);
	return next;
}

static uint64_t pass_damage(struct walk *walk, uint64_t at, uint64_t head)
{
	bad_size(walk, at, head);
	uint64_t next = resync(walk, at);
	if (next == walk->piece->end)
		close_range(walk, next);
	const uint8_t *bytes = next < walk->piece->end ? window_bytes(&walk->glibc->window, next,
	                                                              2 * walk->glibc->layout.word)
	                                               : NULL;
	if (bytes && walk->last >= 0) {
		uint64_t before = target_word(walk->glibc->target, bytes);

		head = target_word(walk->glibc->target, bytes + walk->glibc->layout.word);
		if (points_back(walk, next, next, before, head) &&
		    before != next - walk->last_chunk)
			walk->glibc->build->blocks.v[walk->last].hb_state = HEAP_FREE;
	}
	walk->last = -1;
	return next;
}

// An older heap whose top was not turned into a free chunk and fenceposts yet.
static void ends_without_fencepost(struct walk *walk, uint64_t at)
{
	struct heap_build *build = walk->glibc->build;

	close_range(walk, walk->piece->end);
	if (at == walk->piece->end && walk->arena->locked && walk->last >= 0) {
		build->blocks.v[walk->last].hb_state = HEAP_FREE;
		walk->arena->in_transit++;
	} else if (walk->last >= 0) {
		bad_end(walk, at);
	}
}

void glibc_walk(struct glibc *glibc, struct glibc_piece *piece)
{
	const struct glibc_layout *layout = &glibc->layout;
	struct walk walk = { .glibc = glibc,
		             .piece = piece,
		             .arena = &glibc->arenas.v[piece->arena] };
	unsigned word = layout->word;
	bool has_top = walk.arena->top >= piece->start && walk.arena->top < piece->end;
	uint64_t at = piece->start, end = piece->end;

	open_range(&walk, at);
	while (at < end) {
		const uint8_t *bytes = window_bytes(&glibc->window, at,
		                                    at + 4 * word <= end ? 4 * word : 2 * word);

		if (!bytes) {
			bad_end(&walk, at);
			close_range(&walk, end);
			return;
		}
		uint64_t before = target_word(glibc->target, bytes);
		uint64_t head = target_word(glibc->target, bytes + word);
		if (at == walk.arena->top) {
			settle_last(&walk, at, before, head);
			return finish_top(&walk, at);
		}
		uint64_t limit = has_top && at < walk.arena->top ? walk.arena->top : end;
		if (chunk_possible(layout, walk.arena, at, limit, head) && at + 4 * word <= end) {
			settle_last(&walk, at, before, head);
			uint64_t size = head & ~(uint64_t)CHUNK_FLAGS;
			emit(&walk, at, size, bytes);
			at += size;
		} else if (is_fencepost(glibc, &glibc->window, at, head)) {
			settle_last(&walk, at, before, head);
			at = pass_fenceposts(&walk, at);
		} else {
			at = pass_damage(&walk, at, head);
		}
		if (at == end && walk.closed)
			return;
	}
	ends_without_fencepost(&walk, at);
}
