// SPDX-License-Identifier: MIT
// The mark phase. Freestanding: no library, no floating point, no writable data of its own, because
// it also runs as a flat image inside a clone of the target. scan_mark is called by graph and by
// the image's entry.
//
// Marking waits for memory, not for the processor: each step of an address (its slot, the size of
// its block, the contents of the block) is a miss of the caches. So every address passes through
// queues: the line a step needs is asked for when the address enters a queue and is there when it
// leaves. The queues are shorter than what a core can have under way at once.
#include "scan/scan_impl.h"

#define INLINE static inline __attribute__((always_inline))

enum {
	CANDIDATES = 32,
	HITS = 32,
	PIECES = 16,
	PIECE_BYTES = 2048, // big blocks are looked at in parts, which keeps the frontier short
	LINE_BYTES = 64,
};

// Where an address was found; filled with trace only.
struct place {
	uint32_t block; // SCAN_NO_BLOCK for a root
	uint32_t offset;
	uint64_t root;
};

// An address in the range of the heaps whose slot is on its way.
struct candidate {
	uint64_t value;
	const struct scan_granule *granule;
	struct place place;
};

// An address whose block is known, and its size on its way.
struct hit {
	uint64_t value, start;
	struct scan_granule *granule;
	uint32_t block;
	struct place place;
};

// Contents on their way.
struct piece {
	const uint8_t *here;
	uint64_t address, bytes;
	struct place place;
};

struct marker {
	struct scan_job *job;
	bool trace;
	const uint32_t *sizes;
	uint64_t *closed;
	struct scan_piece *frontier;
	uint64_t first, last; // frontier[first .. last) waits; first stays 0 without trace
	unsigned candidate_first, candidate_count;
	unsigned hit_first, hit_count;
	unsigned piece_first, piece_count;
	struct candidate candidates[CANDIDATES];
	struct hit hits[HITS];
	struct piece pieces[PIECES];
};

// The image may not call libgcc, and not every CPU of the architecture has the instruction.
INLINE unsigned count_bits(uint64_t bits)
{
	bits -= bits >> 1 & 0x5555555555555555u;
	bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
	return (unsigned)(bits * 0x0101010101010101u >> 56);
}

INLINE unsigned highest_bit(uint64_t bits)
{
	return 63 - (unsigned)__builtin_clzll(bits);
}

INLINE const struct scan_word *slot_word(const struct scan_job *job,
                                         const struct scan_granule *granule, uint64_t value)
{
	const struct scan_word *words = scan_at(job, granule->words_at);

	return &words[(value & (SCAN_GRANULE_BYTES - 1)) >> job->slot_shift >> 6];
}

// The last of the granule's blocks that starts at or before value, or the one before the granule.
static uint32_t list_block(const struct scan_job *job, const struct scan_granule *granule,
                           uint64_t value, uint64_t *ret_start)
{
	const uint64_t *list = scan_at(job, granule->list_at);
	uint32_t low = 0, high = granule->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (list[middle] <= value)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_start = low ? list[low - 1] : granule->previous_start;
	return granule->first + low - 1; // wraps to SCAN_NO_BLOCK when there is none before
}

INLINE uint32_t word_block(const struct scan_job *job, const struct scan_granule *granule,
                           uint64_t value, uint64_t *ret_start)
{
	const struct scan_word *word = slot_word(job, granule, value);
	unsigned slot = value >> job->slot_shift & 63;
	uint64_t starts = word->starts & ~(uint64_t)0 >> (63 - slot);
	uint64_t window = value >> job->slot_shift >> 6; // the 64 slots, counted from address 0
	uint32_t block = word->rank + count_bits(starts) - 1;

	if (starts) {
		*ret_start = (window << 6 | highest_bit(starts)) << job->slot_shift;
	} else if (word->back) {
		*ret_start = ((window - word->back) << 6 |
		              highest_bit(word[-(int64_t)word->back].starts))
		             << job->slot_shift;
	} else {
		*ret_start = granule->previous_start;
	}
	return block;
}

// The last block that starts at or before value, or SCAN_NO_BLOCK.
INLINE uint32_t block_before(const struct scan_job *job, const struct scan_granule *granule,
                             uint64_t value, uint64_t *ret_start)
{
	return granule->words_at ? word_block(job, granule, value, ret_start)
	                         : list_block(job, granule, value, ret_start);
}

static const struct scan_big *big_block(const struct scan_job *job, uint32_t block)
{
	const struct scan_big *bigs = scan_at(job, job->bigs_at);
	uint64_t low = 0, high = job->big_count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (bigs[middle].block < block)
			low = middle + 1;
		else
			high = middle;
	}
	return &bigs[low];
}

INLINE uint64_t block_bytes(const struct scan_job *job, const uint32_t *sizes, uint32_t block)
{
	return sizes[block] == SCAN_BIG_BYTES ? big_block(job, block)->bytes : sizes[block];
}

uint32_t scan_find(const struct scan_job *job, uint64_t value, uint64_t *ret_start)
{
	const uint32_t *sizes = scan_at(job, job->sizes_at);
	const struct scan_granule *granule;
	uint32_t block;

	if (value - job->low >= job->span)
		return SCAN_NO_BLOCK;
	granule = scan_granule_at(job, value >> SCAN_GRANULE_BITS);
	if (!granule->number)
		return SCAN_NO_BLOCK;
	block = block_before(job, granule, value, ret_start);
	if (block == SCAN_NO_BLOCK || sizes[block] == SCAN_NOT_USED)
		return SCAN_NO_BLOCK;
	if (value != *ret_start && value - *ret_start >= block_bytes(job, sizes, block))
		return SCAN_NO_BLOCK;
	return block;
}

// --- the frontier ------------------------------------------------------------------------------
INLINE bool is_closed(const struct marker *marker, uint32_t block)
{
	return marker->closed[block / 64] >> (block % 64) & 1;
}

// Room is certain with trace (one piece per block and root); else the granule is looked at again.
static void frontier_add(struct marker *marker, struct scan_granule *granule, uint64_t address,
                         uint64_t bytes)
{
	if (marker->last == marker->job->frontier_capacity) {
		granule->overflowed = 1;
		marker->job->overflow_count++;
		return;
	}
	marker->frontier[marker->last++] = (struct scan_piece){ address, bytes };
}

// A block was reached: its contents are to be looked at.
static void block_add(struct marker *marker, struct scan_granule *granule, uint32_t block,
                      uint64_t start)
{
	uint64_t bytes = marker->sizes[block];

	if (bytes == SCAN_BIG_BYTES) {
		const struct scan_big *big = big_block(marker->job, block);

		bytes = big->opaque ? 0 : big->bytes;
	}
	if (bytes >= marker->job->word_bytes)
		frontier_add(marker, granule, start, bytes);
}

INLINE void hit_finish(struct marker *marker, const struct hit *hit)
{
	uint32_t block = hit->block;

	if (is_closed(marker, block))
		return;
	if (hit->value != hit->start &&
	    hit->value - hit->start >= block_bytes(marker->job, marker->sizes, block))
		return;
	marker->closed[block / 64] |= (uint64_t)1 << (block % 64);
	marker->job->reached_count++;
	if (marker->trace) {
		struct scan_owner *owners = scan_at(marker->job, marker->job->owners_at);

		owners[block] =
			(struct scan_owner){ hit->place.block, hit->place.offset, hit->place.root };
		if (hit->place.block != SCAN_NO_BLOCK)
			owners[block].where = hit->value - hit->start;
	}
	block_add(marker, hit->granule, block, hit->start);
}

static void hit_drop_first(struct marker *marker)
{
	const struct hit *hit = &marker->hits[marker->hit_first++ % HITS];

	marker->hit_count--;
	hit_finish(marker, hit);
}

static void candidate_finish(struct marker *marker, const struct candidate *candidate)
{
	struct hit *hit;
	uint64_t start;
	uint32_t block = block_before(marker->job, candidate->granule, candidate->value, &start);

	if (block == SCAN_NO_BLOCK || is_closed(marker, block))
		return;
	if (marker->hit_count == HITS)
		hit_drop_first(marker);
	__builtin_prefetch(&marker->sizes[block]);
	hit = &marker->hits[(marker->hit_first + marker->hit_count++) % HITS];
	hit->value = candidate->value;
	hit->start = start;
	hit->granule = (struct scan_granule *)(uintptr_t)candidate->granule;
	hit->block = block;
	if (marker->trace)
		hit->place = candidate->place;
}

static void candidate_drop_first(struct marker *marker)
{
	const struct candidate *candidate =
		&marker->candidates[marker->candidate_first++ % CANDIDATES];

	marker->candidate_count--;
	candidate_finish(marker, candidate);
}

INLINE void candidate_add(struct marker *marker, uint64_t value, const struct place *place,
                          uint64_t offset)
{
	const struct scan_granule *granule =
		scan_granule_at(marker->job, value >> SCAN_GRANULE_BITS);
	struct candidate *candidate;

	if (!granule->number)
		return;
	if (marker->candidate_count == CANDIDATES)
		candidate_drop_first(marker);
	if (granule->words_at)
		__builtin_prefetch(slot_word(marker->job, granule, value));
	candidate = &marker->candidates[(marker->candidate_first + marker->candidate_count++) %
	                                CANDIDATES];
	candidate->value = value;
	candidate->granule = granule;
	if (marker->trace) {
		candidate->place = *place;
		if (place->block == SCAN_NO_BLOCK)
			candidate->place.root += offset;
		else
			candidate->place.offset += (uint32_t)offset;
	}
}

static void queues_empty(struct marker *marker)
{
	while (marker->candidate_count)
		candidate_drop_first(marker);
	while (marker->hit_count)
		hit_drop_first(marker);
}

// --- contents ----------------------------------------------------------------------------------
INLINE void words_scan(struct marker *marker, const struct piece *piece, const unsigned word_bytes)
{
	const uint64_t low = marker->job->low, span = marker->job->span;
	uint64_t i = -piece->address & (word_bytes - 1);

	for (; i + word_bytes <= piece->bytes; i += word_bytes) {
		uint64_t value = 0;

		__builtin_memcpy(&value, piece->here + i, word_bytes);
		if (value - low < span)
			candidate_add(marker, value, &piece->place, i);
	}
}

static void piece_drop_first(struct marker *marker)
{
	const struct piece *piece = &marker->pieces[marker->piece_first++ % PIECES];

	marker->piece_count--;
	marker->job->seen_bytes += piece->bytes;
	if (marker->job->word_bytes == 8)
		words_scan(marker, piece, 8);
	else
		words_scan(marker, piece, 4);
}

// Where the first bytes of a piece are; *bytes becomes how many there are in one image, or, when
// NULL comes back, how many are in none.
static const uint8_t *image_at(const struct scan_job *job, uint64_t address, uint64_t *bytes)
{
	const struct scan_image *images = scan_at(job, job->images_at);
	uint64_t low = 0, high = job->image_count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (images[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == job->image_count)
		return NULL;
	if (address < images[low].start) {
		if (*bytes > images[low].start - address)
			*bytes = images[low].start - address;
		return NULL;
	}
	if (*bytes > images[low].end - address)
		*bytes = images[low].end - address;
	return (const uint8_t *)(uintptr_t)images[low].here + (address - images[low].start);
}

// Takes the first part of a piece of the frontier; the rest stays in it.
static struct scan_piece frontier_take(struct marker *marker, uint64_t limit)
{
	struct scan_piece *from = marker->trace ? &marker->frontier[marker->first]
	                                        : &marker->frontier[marker->last - 1];
	struct scan_piece taken = *from;

	if (taken.bytes > limit) {
		taken.bytes = limit;
		from->address += limit;
		from->bytes -= limit;
	} else if (marker->trace) {
		marker->first++;
	} else {
		marker->last--;
	}
	return taken;
}

static void piece_add(struct marker *marker, const uint8_t *here, struct scan_piece part,
                      const struct place *place)
{
	struct piece *piece;
	uint64_t i;

	if (marker->piece_count == PIECES)
		piece_drop_first(marker);
	for (i = 0; i < part.bytes && i < 4 * LINE_BYTES; i += LINE_BYTES)
		__builtin_prefetch(here + i);
	__builtin_prefetch(here + part.bytes - 1);
	piece = &marker->pieces[(marker->piece_first + marker->piece_count++) % PIECES];
	piece->here = here;
	piece->address = part.address;
	piece->bytes = part.bytes;
	if (marker->trace)
		piece->place = *place;
}

// With trace: which block the bytes belong to.
INLINE struct place place_of(const struct marker *marker, uint64_t address, bool root)
{
	struct place place = { SCAN_NO_BLOCK, 0, address };
	uint64_t start;

	if (root)
		return place;
	place.block = scan_find(marker->job, address, &start);
	place.offset = (uint32_t)(address - start);
	return place;
}

static void piece_fetch(struct marker *marker, struct scan_piece taken, bool root)
{
	while (taken.bytes) {
		uint64_t bytes = taken.bytes;
		const uint8_t *here = (const uint8_t *)(uintptr_t)taken.address;
		struct place place;

		if (!marker->job->identity)
			here = image_at(marker->job, taken.address, &bytes);
		if (marker->trace)
			place = place_of(marker, taken.address, root);
		if (here)
			piece_add(marker, here, (struct scan_piece){ taken.address, bytes },
			          &place);
		else
			marker->job->missing_bytes += bytes;
		taken.address += bytes;
		taken.bytes -= bytes;
	}
}

static void pieces_empty(struct marker *marker)
{
	while (marker->piece_count)
		piece_drop_first(marker);
	queues_empty(marker);
}

// Looks at everything in the frontier and at what comes into it meanwhile.
static void flood(struct marker *marker)
{
	do {
		while (marker->first < marker->last)
			piece_fetch(marker, frontier_take(marker, PIECE_BYTES), false);
		if (marker->piece_count)
			piece_drop_first(marker);
		else
			queues_empty(marker);
	} while (marker->first < marker->last || marker->piece_count || marker->candidate_count ||
	         marker->hit_count);
}

static void range_scan(struct marker *marker, struct scan_range range)
{
	while (range.start < range.end) {
		uint64_t bytes = range.end - range.start;

		if (bytes > PIECE_BYTES)
			bytes = PIECE_BYTES;
		piece_fetch(marker, (struct scan_piece){ range.start, bytes }, true);
		range.start += bytes;
		if (!marker->trace)
			flood(marker);
	}
	pieces_empty(marker);
}

// Words in memory come first, and of the values the later ones, which may be such words too: a
// variable says more about why a block is held than the register that it was in last.
static void roots_scan(struct marker *marker)
{
	const struct scan_job *job = marker->job;
	const struct scan_range *ranges = scan_at(job, job->ranges_at);
	const uint64_t *values = scan_at(job, job->values_at);
	uint64_t i;

	for (i = 0; i < job->range_count; i++)
		range_scan(marker, ranges[i]);
	for (i = job->value_count; i-- > 0;) {
		struct place place = { SCAN_NO_BLOCK, (uint32_t)i, 0 };

		if (values[i] - job->low < job->span)
			candidate_add(marker, values[i], &place, 0);
	}
	queues_empty(marker);
	flood(marker);
}

// --- blocks that were marked while the frontier was full -----------------------------------------
static void block_again(struct marker *marker, struct scan_granule *granule, uint32_t block,
                        uint64_t start)
{
	if (!is_closed(marker, block) || marker->sizes[block] == SCAN_NOT_USED)
		return;
	block_add(marker, granule, block, start);
	flood(marker);
}

static void granule_again(struct marker *marker, struct scan_granule *granule)
{
	const struct scan_job *job = marker->job;
	const struct scan_word *words = scan_at(job, granule->words_at);
	const uint64_t *list = scan_at(job, granule->list_at);
	uint64_t base = (granule->number - 1) << SCAN_GRANULE_BITS;
	uint64_t i;

	if (!granule->words_at) {
		for (i = 0; i < granule->count; i++)
			block_again(marker, granule, granule->first + (uint32_t)i, list[i]);
		return;
	}
	for (i = 0; i < SCAN_GRANULE_BYTES >> job->slot_shift >> 6; i++) {
		uint64_t starts = words[i].starts;
		uint32_t block = words[i].rank;

		for (; starts; starts &= starts - 1, block++)
			block_again(marker, granule, block,
			            base + ((i << 6 | (unsigned)__builtin_ctzll(starts))
			                    << job->slot_shift));
	}
}

// Each turn looks into at least the blocks that fit the frontier, and a block overflows only once,
// when it is marked: so this ends.
static void overflows_scan(struct marker *marker)
{
	struct scan_granule *table = scan_at(marker->job, marker->job->granules_at);
	uint64_t before, i;

	do {
		before = marker->job->overflow_count;
		for (i = 0; i < marker->job->granule_capacity; i++) {
			if (!table[i].overflowed)
				continue;
			table[i].overflowed = 0;
			granule_again(marker, &table[i]);
		}
	} while (marker->job->overflow_count != before);
}

void scan_mark(struct scan_job *job)
{
	struct marker marker;

	marker.job = job;
	marker.trace = job->trace;
	marker.sizes = scan_at(job, job->sizes_at);
	marker.closed = scan_at(job, job->closed_at);
	marker.frontier = scan_at(job, job->frontier_at);
	marker.first = marker.last = 0;
	marker.candidate_first = marker.candidate_count = 0;
	marker.hit_first = marker.hit_count = 0;
	marker.piece_first = marker.piece_count = 0;
	roots_scan(&marker);
	overflows_scan(&marker);
}
