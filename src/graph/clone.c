// SPDX-License-Identifier: MIT
// The mark phase inside a clone: the job and the image of scan are written into memory shared with
// it, and the image runs there with nothing copied. Called by mark.c.
//
// Memory that a fork leaves out or empties was copied before: its segments have images though the
// target is a clone. The words of roots in it go to the clone as values.
//
// Some other memory of a clone turns out to be unreadable only when it is touched (pages beyond the end of
// a file). What lies there is then left out and the whole is run
// again, a few times, before the caller has to use images.
#include "graph/graph_impl.h"

#include <string.h>

#include "base/checked.h"
#include "base/search.h"

#define FAULTS_MAX  32
#define PAGE_BYTES  4096u
#define STACK_BYTES (64u << 10)

// Whether code in a clone may look at the segment. A tracer can read what a process cannot.
static bool segment_open(const struct target_segment *segment)
{
	return segment->readable && (segment->protection & (TARGET_READ | TARGET_WRITE)) &&
	       segment->contents_end == segment->end;
}

// The first block that ends above address.
static size_t block_above(const struct heaps *heaps, uint64_t address)
{
	return first_index(heaps->block_count, i,
	                   heaps->blocks[i].hb_address + heaps->blocks[i].hb_size > address);
}

static void opaque_collect(struct graph_own *own)
{
	const struct heaps *heaps = own->graph.heaps;
	const struct target *target = own->graph.target;
	struct graph_memory *memory = own->memory;
	size_t i, block, next = 0;

	memory->opaque.n = 0;
	for (i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];

		if (segment_open(segment))
			continue;
		block = block_above(heaps, segment->start);
		if (block < next)
			block = next;
		for (; block < heaps->block_count && heaps->blocks[block].hb_address < segment->end;
		     block++)
			vec_push(&memory->opaque, (uint32_t)block);
		next = block;
	}
}

// --- memory that the clone lacks -------------------------------------------------------------------
// Whether blocks lie in it, or in memory that was loaded for another reason: then images serve better.
static bool heaps_have_images(const struct graph_own *own)
{
	const struct target *target = own->graph.target;
	const struct heaps *heaps = own->graph.heaps;
	size_t i, block;

	for (i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];

		if (!segment->image)
			continue;
		block = block_above(heaps, segment->start);
		if (block < heaps->block_count && heaps->blocks[block].hb_address < segment->end)
			return true;
	}
	return false;
}

static void image_words(struct graph_own *own, const struct target_segment *segment, uint64_t start,
                        uint64_t end)
{
	const struct heaps *heaps = own->graph.heaps;
	const size_t word = own->graph.target->word_bytes;
	const struct heap_block *last = &heaps->blocks[heaps->block_count - 1];
	uint64_t low = heaps->blocks[0].hb_address;
	uint64_t span = last->hb_address + last->hb_size - low + 1, value = 0, at;

	for (at = round_up(start, word); at + word <= end; at += word) {
		memcpy(&value, segment->image + (at - segment->start), word);
		if (value - low >= span)
			continue;
		vec_push(&own->memory->values, value);
		vec_push(&own->memory->image_roots, at);
	}
}

static void ranges_split(struct graph_own *own)
{
	const struct target *target = own->graph.target;
	struct graph_memory *memory = own->memory;
	size_t i, k;

	memory->clone_ranges.n = 0;
	for (i = 0; i < memory->ranges.n; i++) {
		struct scan_range rest = memory->ranges.v[i];

		k = target_segment_index(target, rest.start);
		for (; k < target->segment_count && rest.start < rest.end; k++) {
			const struct target_segment *segment = &target->segments[k];
			uint64_t end = rest.end < segment->end ? rest.end : segment->end;

			if (segment->start >= rest.end)
				break;
			if (!segment->image)
				vec_push(&memory->clone_ranges,
				         ((struct scan_range){ rest.start, end }));
			else if (own->graph.heaps->block_count)
				image_words(own, segment, rest.start, end);
			rest.start = end;
		}
	}
}

// --- memory that cannot be read --------------------------------------------------------------------
// Cuts a root short at the page of address; pages behind the first bad one are mostly bad too.
static bool range_cut(struct graph_memory *memory, uint64_t address)
{
	uint64_t page = round_down(address, PAGE_BYTES);
	size_t i;

	for (i = 0; i < memory->clone_ranges.n; i++) {
		struct scan_range *range = &memory->clone_ranges.v[i];

		if (address >= range->start && address < range->end) {
			range->end = page > range->start ? page : range->start;
			return true;
		}
	}
	return false;
}

// False when the block was opaque before: then it is not what faulted.
static bool opaque_insert(struct graph_memory *memory, uint32_t block)
{
	size_t at = memory->opaque.n;

	while (at > 0 && memory->opaque.v[at - 1] > block)
		at--;
	if (at > 0 && memory->opaque.v[at - 1] == block)
		return false;
	(void)vec_add(&memory->opaque);
	memmove(&memory->opaque.v[at + 1], &memory->opaque.v[at],
	        (memory->opaque.n - 1 - at) * sizeof(*memory->opaque.v));
	memory->opaque.v[at] = block;
	return true;
}

static bool fault_avoid(struct graph_own *own, const struct error *error)
{
	const struct heaps *heaps = own->graph.heaps;
	size_t block;

	if (!error->has_address || own->memory->fault_count++ >= FAULTS_MAX)
		return false;
	if (range_cut(own->memory, error->address))
		return true;
	block = block_above(heaps, error->address);
	return block < heaps->block_count && heaps->blocks[block].hb_address <= error->address &&
	       opaque_insert(own->memory, (uint32_t)block);
}

// Shared memory: the job, then the image on pages of its own, then its stack.
struct layout {
	struct scan_plan plan;
	size_t image_at, stack_end;
};

static struct error *layout_make(const struct scan_input *input, struct layout *ret)
{
	size_t image_bytes;

	if (!scan_measure(input, &ret->plan))
		return error_new(ERROR_DAMAGED, "the table of blocks is not in order");
	scan_blob(&image_bytes);
	// Faults may make the table of opaque blocks longer.
	ret->image_at = round_up(
		ret->plan.bytes + FAULTS_MAX * sizeof(struct scan_big) + PAGE_BYTES, PAGE_BYTES);
	ret->stack_end = ret->image_at + round_up(image_bytes, PAGE_BYTES) + STACK_BYTES;
	return NULL;
}

static struct error *run_once(struct graph_own *own, struct scan_input *input,
                              const struct layout *layout, const struct target_shared *shared)
{
	struct scan_plan plan;
	const void *image;
	size_t image_bytes;

	input->opaque = own->memory->opaque.v;
	input->opaque_count = own->memory->opaque.n;
	if (!scan_measure(input, &plan) || plan.bytes > layout->image_at)
		return error_new(ERROR_UNSUPPORTED, "too much memory cannot be read in the clone");
	image = scan_blob(&image_bytes);
	memcpy(shared->here + layout->image_at, image, image_bytes);
	own->memory->job = scan_fill(input, &plan, shared->here);
	return target_run(own->graph.target, shared->there + layout->image_at, shared->there,
	                  shared->there + layout->stack_end);
}

static void input_set(struct graph_own *own, struct scan_input *input)
{
	input->opaque_count = own->memory->opaque.n;
	input->ranges = own->memory->clone_ranges.v;
	input->range_count = own->memory->clone_ranges.n;
	input->values = own->memory->values.v;
	input->value_count = own->memory->values.n;
	input->identity = true;
}

// Images serve after all.
static void input_reset(struct graph_own *own, struct scan_input *input)
{
	own->memory->job = NULL;
	own->memory->image_roots.n = 0;
	input->opaque = NULL;
	input->opaque_count = 0;
	input->ranges = own->memory->ranges.v;
	input->range_count = own->memory->ranges.n;
	input->value_count = own->roots->value_count;
	input->identity = false;
}

struct error *graph_clone_mark(struct graph_own *own, struct scan_input *input)
{
	struct target_shared shared;
	struct layout layout;
	struct error *error;

	if (heaps_have_images(own))
		return error_new(ERROR_UNSUPPORTED, "the heaps are loaded already");
	opaque_collect(own);
	ranges_split(own);
	input_set(own, input);
	error = layout_make(input, &layout);
	if (!error)
		error = target_share(own->graph.target, layout.stack_end, &shared);
	if (error) {
		input_reset(own, input);
		return error;
	}
	own->memory->fault_count = 0;
	while ((error = run_once(own, input, &layout, &shared)) && error->kind == ERROR_FAULT &&
	       fault_avoid(own, error))
		memset(shared.here, 0, layout.image_at);
	if (!error)
		return NULL;
	input_reset(own, input);
	if (error->kind == ERROR_FAULT)
		error = error_new(ERROR_UNSUPPORTED, "memory of the clone cannot be read");
	return error;
}
