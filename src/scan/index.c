// SPDX-License-Identifier: MIT
// Lays out a job: the table of sizes and, per granule of 16 MiB, either a bitmap of starts with
// running counts (many blocks) or a list of addresses (few), so that the memory stays below 64
// bytes per block however the blocks are spread. Called by graph; needs the mark phase's structs
// only.
#include "scan/scan_impl.h"

// A bitmap takes 256 KiB per granule (slots of 16 bytes), which fewer blocks are not worth.
#define DENSE_BLOCKS 4096

#define SLOT_SHIFT_MAX 4

// Blocks that touch more address space than 64 TiB are no heap; the table for it would not fit.
#define GRANULES_MAX ((uint64_t)1 << 22)

#define FRONTIER_PIECES ((size_t)2 << 20)

// Walks through the granules that the blocks touch, in order.
struct granules {
	uint64_t number; // of the current one; below any when none was begun
	uint64_t previous_start;
	uint32_t first, count;
	bool begun;
};

// The parts of a job in order; every part begins at a multiple of 64.
static uint64_t part_add(uint64_t *bytes, uint64_t count, uint64_t element_bytes)
{
	uint64_t at = *bytes;

	*bytes = (at + count * element_bytes + 63) & ~(uint64_t)63;
	return at;
}

static bool is_big(const struct scan_block *block)
{
	return block->bytes >= SCAN_NOT_USED;
}

static uint64_t last_byte(const struct scan_block *block)
{
	return block->address + (block->bytes ? block->bytes - 1 : 0);
}

static unsigned slot_shift(uint64_t all_addresses)
{
	unsigned shift = (unsigned)__builtin_ctzll(all_addresses | 1 << SLOT_SHIFT_MAX);

	return shift;
}

static uint64_t words_per_granule(unsigned shift)
{
	return SCAN_GRANULE_BYTES >> shift >> 6;
}

// Calls each for every granule that a block touches, when all of its blocks are known. False when the
// blocks are not in order or too large.
static bool granules_walk(const struct scan_input *input,
                          void (*each)(void *context, const struct granules *granule),
                          void *context)
{
	struct granules current = { 0 };
	uint64_t touched = 0, current_end = 0, behind = 0;
	size_t i;

	for (i = 0; i < input->block_count; i++) {
		const struct scan_block *block = &input->blocks[i];
		uint64_t last = last_byte(block), number, end;

		if (block->address < behind || last < block->address || last == UINT64_MAX)
			return false;
		behind = last + 1;
		if (behind <=
		    current_end) { // the usual case: in the same granule as the one before
			current.count++;
			continue;
		}
		number = block->address >> SCAN_GRANULE_BITS;
		end = last >> SCAN_GRANULE_BITS;
		touched += end - number;
		if (touched > GRANULES_MAX)
			return false;
		if (!current.begun || current.number != number) {
			if (current.begun)
				each(context, &current);
			current = (struct granules){ number, i ? block[-1].address : 0, (uint32_t)i,
				                     0, true };
		}
		current.count++;
		for (; current.number < end; current.number++) {
			each(context, &current);
			current.first = (uint32_t)i + 1;
			current.count = 0;
			current.previous_start = block->address;
		}
		current_end = (current.number + 1) << SCAN_GRANULE_BITS;
	}
	if (current.begun)
		each(context, &current);
	return true;
}

static void granule_count(void *context, const struct granules *granule)
{
	struct scan_plan *plan = context;

	plan->granule_count++;
	if (granule->count >= DENSE_BLOCKS)
		plan->dense_count++;
	else
		plan->list_count += granule->count;
}

// The offsets of all parts. Returns the bytes of the whole.
static uint64_t parts_place(const struct scan_input *input, const struct scan_plan *plan,
                            struct scan_job *job, uint64_t *ret_words_at, uint64_t *ret_lists_at)
{
	uint64_t bytes = 0, count = input->block_count;

	part_add(&bytes, 1, sizeof(*job));
	job->granules_at = part_add(&bytes, plan->granule_capacity, sizeof(struct scan_granule));
	job->closed_at = part_add(&bytes, count / 64 + 1, sizeof(uint64_t));
	job->sizes_at = part_add(&bytes, count, sizeof(uint32_t));
	job->bigs_at = part_add(&bytes, plan->big_count, sizeof(struct scan_big));
	job->ranges_at = part_add(&bytes, input->range_count, sizeof(struct scan_range));
	job->values_at = part_add(&bytes, input->value_count, sizeof(uint64_t));
	job->images_at = part_add(&bytes, input->image_count, sizeof(struct scan_image));
	*ret_lists_at = part_add(&bytes, plan->list_count, sizeof(uint64_t));
	*ret_words_at = part_add(&bytes, plan->dense_count * words_per_granule(plan->slot_shift),
	                         sizeof(struct scan_word));
	job->owners_at = part_add(&bytes, input->trace ? count : 0, sizeof(struct scan_owner));
	job->frontier_at = part_add(&bytes, plan->frontier_capacity, sizeof(struct scan_piece));
	return bytes;
}

// A block waits at most once, so that block_count pieces always suffice; a heap whose half waits at once
// is rare enough for very large ones to be looked through again.
static size_t frontier_capacity(const struct scan_input *input)
{
	size_t most = input->block_count + 1, enough = input->block_count / 2 + FRONTIER_PIECES;

	if (input->trace)
		return most;
	if (input->frontier_capacity)
		return input->frontier_capacity;
	return most < enough ? most : enough;
}

bool scan_measure(const struct scan_input *input, struct scan_plan *ret)
{
	uint64_t all_addresses = 0, words_at, lists_at;
	struct scan_job job;
	size_t i;

	*ret = (struct scan_plan){ .big_count = input->opaque_count };
	for (i = 0; i < input->block_count; i++) {
		all_addresses |= input->blocks[i].address;
		ret->big_count += is_big(&input->blocks[i]);
	}
	ret->slot_shift = slot_shift(all_addresses);
	if (!granules_walk(input, granule_count, ret))
		return false;
	for (ret->granule_capacity = 16; ret->granule_capacity < 2 * ret->granule_count;)
		ret->granule_capacity *= 2;
	ret->frontier_capacity = frontier_capacity(input);
	ret->bytes = parts_place(input, ret, &job, &words_at, &lists_at);
	return true;
}

// --- filling -----------------------------------------------------------------------------------
struct filler {
	const struct scan_input *input;
	struct scan_job *job;
	uint64_t words_at, lists_at; // where the next granule's go
};

static void words_count(struct scan_word *words, uint64_t count, uint32_t first)
{
	uint64_t i, last = 0;
	bool any = false;

	for (i = 0; i < count; i++) {
		words[i].rank = first;
		words[i].back = any ? (uint32_t)(i - last) : 0;
		if (words[i].starts) {
			first += (uint32_t)__builtin_popcountll(words[i].starts);
			last = i;
			any = true;
		}
	}
}

static void words_fill(struct filler *filler, const struct granules *granule)
{
	struct scan_word *words = scan_at(filler->job, filler->words_at);
	uint64_t count = words_per_granule(filler->job->slot_shift);
	uint32_t i;

	for (i = 0; i < granule->count; i++) {
		uint64_t slot = (filler->input->blocks[granule->first + i].address &
		                 (SCAN_GRANULE_BYTES - 1)) >>
		                filler->job->slot_shift;

		words[slot >> 6].starts |= (uint64_t)1 << (slot & 63);
	}
	words_count(words, count, granule->first);
	filler->words_at += count * sizeof(*words);
}

static void list_fill(struct filler *filler, const struct granules *granule)
{
	uint64_t *list = scan_at(filler->job, filler->lists_at);
	uint32_t i;

	for (i = 0; i < granule->count; i++)
		list[i] = filler->input->blocks[granule->first + i].address;
	filler->lists_at += granule->count * sizeof(*list);
}

static void granule_fill(void *context, const struct granules *granule)
{
	struct filler *filler = context;
	struct scan_granule *entry = scan_granule_at(filler->job, granule->number);

	entry->number = granule->number + 1;
	entry->previous_start = granule->previous_start;
	entry->first = granule->first;
	entry->count = granule->count;
	if (granule->count >= DENSE_BLOCKS) {
		entry->words_at = filler->words_at;
		words_fill(filler, granule);
	} else {
		entry->list_at = filler->lists_at;
		list_fill(filler, granule);
	}
}

static void sizes_fill(struct filler *filler)
{
	const struct scan_input *input = filler->input;
	uint32_t *sizes = scan_at(filler->job, filler->job->sizes_at);
	uint64_t *closed = scan_at(filler->job, filler->job->closed_at);
	struct scan_big *big = scan_at(filler->job, filler->job->bigs_at);
	size_t i, opaque = 0, kept = 0;

	for (i = 0; i < input->block_count; i++) {
		const struct scan_block *block = &input->blocks[i];
		bool is_opaque = opaque < input->opaque_count && input->opaque[opaque] == i;
		bool is_kept = kept < input->kept_count && input->kept[kept] == i;

		opaque += is_opaque;
		kept += is_kept;
		sizes[i] = (uint32_t)block->bytes;
		if (block->state != SCAN_USED) {
			sizes[i] = SCAN_NOT_USED;
		} else if (is_opaque || is_big(block)) {
			sizes[i] = SCAN_BIG_BYTES;
			*big++ = (struct scan_big){ (uint32_t)i, is_opaque, block->bytes };
		}
		if (block->state != SCAN_USED || is_kept)
			closed[i / 64] |= (uint64_t)1 << (i % 64);
	}
	filler->job->big_count =
		(uint64_t)(big - (struct scan_big *)scan_at(filler->job, filler->job->bigs_at));
}

static void roots_fill(const struct filler *filler)
{
	const struct scan_input *input = filler->input;
	struct scan_range *ranges = scan_at(filler->job, filler->job->ranges_at);
	uint64_t *values = scan_at(filler->job, filler->job->values_at);
	struct scan_image *images = scan_at(filler->job, filler->job->images_at);
	size_t i;

	for (i = 0; i < input->range_count; i++)
		ranges[i] = input->ranges[i];
	for (i = 0; i < input->value_count; i++)
		values[i] = input->values[i];
	for (i = 0; i < input->image_count; i++)
		images[i] = input->images[i];
}

// log2 of a power of two.
static unsigned log2_of(size_t power)
{
	return (unsigned)__builtin_ctzll(power);
}

struct scan_job *scan_fill(const struct scan_input *input, const struct scan_plan *plan,
                           void *memory)
{
	struct filler filler = { .input = input, .job = memory };
	struct scan_job *job = memory;

	job->bytes = parts_place(input, plan, job, &filler.words_at, &filler.lists_at);
	job->block_count = (uint32_t)input->block_count;
	if (input->block_count) {
		job->low = input->blocks[0].address;
		job->span = last_byte(&input->blocks[input->block_count - 1]) - job->low + 1;
	}
	job->word_bytes = input->word_bytes;
	job->slot_shift = plan->slot_shift;
	job->granule_shift = 64 - log2_of(plan->granule_capacity);
	job->granule_capacity = plan->granule_capacity;
	job->frontier_capacity = plan->frontier_capacity;
	job->identity = input->identity;
	job->trace = input->trace;
	job->range_count = input->range_count;
	job->value_count = input->value_count;
	job->image_count = input->image_count;
	sizes_fill(&filler);
	roots_fill(&filler);
	(void)granules_walk(input, granule_fill, &filler); // in order, as scan_measure found
	return job;
}
