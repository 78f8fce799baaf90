// SPDX-License-Identifier: MIT
// Runs the mark phase of scan over the memory of a target: inside a clone, where nothing needs to be
// copied (clone.c), else over images of its segments. Called by memory.c.
#include "graph/graph_impl.h"

#include <assert.h>

static_assert(sizeof(struct heap_block) == sizeof(struct scan_block), "one table for both");
static_assert((int)HEAP_USED == (int)SCAN_USED, "one table for both");

static void range_add(void *context, uint64_t start, uint64_t end)
{
	struct graph_memory *memory = context;

	if (start < end)
		vec_push(&memory->ranges, ((struct scan_range){ start, end }));
}

static struct error *ranges_collect(struct graph_own *own)
{
	const struct heap_block *blocks = own->graph.heaps->blocks;
	size_t i;

	own->memory->ranges.n = 0;
	for (i = 0; i < own->roots->range_count; i++) {
		const struct root_range *range = &own->roots->ranges[i];

		TRY(target_present(own->graph.target, range->start, range->end, range_add,
		                   own->memory));
	}
	own->memory->root_range_count = own->memory->ranges.n;
	for (i = 0; i < own->kept.n; i++) {
		const struct heap_block *block = &blocks[own->kept.v[i]];

		range_add(own->memory, block->hb_address, block->hb_address + block->hb_size);
	}
	return NULL;
}

static void values_collect(struct graph_own *own)
{
	size_t i;

	own->memory->values.n = own->memory->image_roots.n = 0;
	for (i = 0; i < own->roots->value_count; i++)
		vec_push(&own->memory->values, own->roots->values[i].value);
}

// --- over images ---------------------------------------------------------------------------------
// Everything writable, and what else the roots and the heaps lie in (memory made read-only).
static struct error *images_load(struct graph_own *own)
{
	struct target *target = own->graph.target;
	const struct heaps *heaps = own->graph.heaps;
	size_t i;

	TRY(target_load(target, 0, 0));
	for (i = 0; i < own->roots->range_count; i++)
		TRY(target_load(target, own->roots->ranges[i].start, own->roots->ranges[i].end));
	for (i = 0; i < heaps->range_count; i++) {
		const struct heap_range *range = &heaps->ranges[i];

		if (range->kind == HEAP_RANGE_BLOCKS)
			TRY(target_load(target, range->start, range->end));
	}
	return NULL;
}

static void images_collect(struct graph_own *own, struct scan_input *input)
{
	const struct target *target = own->graph.target;
	struct scan_image *images =
		arena_array(&own->arena, target->segment_count, sizeof(*images));
	size_t i;

	for (i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];

		if (!segment->image || !segment->readable)
			continue;
		images[input->image_count++] =
			(struct scan_image){ segment->start, segment->contents_end,
			                     (uintptr_t)segment->image };
	}
	input->images = images;
}

static struct error *images_mark(struct graph_own *own, struct scan_input *input)
{
	struct graph_memory *memory = own->memory;
	struct scan_plan plan;

	TRY(images_load(own));
	images_collect(own, input);
	if (!scan_measure(input, &plan))
		return error_new(ERROR_DAMAGED, "the table of blocks is not in order");
	memory->job_bytes = plan.bytes;
	memory->job = scan_fill(input, &plan, graph_pages(own)->resize(NULL, 0, plan.bytes));
	scan_mark(memory->job);
	return NULL;
}

static void job_release(struct graph_own *own)
{
	struct graph_memory *memory = own->memory;

	if (memory->job_bytes)
		graph_pages(own)->resize(memory->job, memory->job_bytes, 0);
	memory->job = NULL;
	memory->job_bytes = 0;
}

struct error *graph_memory_mark(struct graph_own *own, bool trace)
{
	struct scan_input input;
	struct error *error;

	job_release(own);
	TRY(ranges_collect(own));
	values_collect(own);
	input = (struct scan_input){
		.blocks = (const struct scan_block *)own->graph.heaps->blocks,
		.block_count = own->graph.heaps->block_count,
		.kept = own->kept.v,
		.kept_count = own->kept.n,
		.ranges = own->memory->ranges.v,
		.range_count = own->memory->ranges.n,
		.values = own->memory->values.v,
		.value_count = own->memory->values.n,
		.word_bytes = own->graph.target->word_bytes,
		.trace = trace,
	};
	error = graph_clone_mark(own, &input);
	if (!error || error->kind != ERROR_UNSUPPORTED)
		return error;
	return images_mark(own, &input);
}

void graph_memory_release(struct graph_own *own)
{
	job_release(own);
	vec_deinit(&own->memory->ranges);
	vec_deinit(&own->memory->clone_ranges);
	vec_deinit(&own->memory->values);
	vec_deinit(&own->memory->image_roots);
	vec_deinit(&own->memory->opaque);
}
