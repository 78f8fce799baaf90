// SPDX-License-Identifier: MIT
// What a recorder keeps in the memory of its program (layout/record.h): the table of stacks, and in lite
// mode over a malloc that is not ours the table of live blocks. All numbers are the program's and may
// be rubbish. Called by heaps.c when all blocks are known.
#include <string.h>

#include "heaps/heaps_impl.h"
#include "layout/record.h"
#include "layout/snapshot.h"

struct heap_recorder {
	struct target *target;
	const struct snapshot_node *nodes; // NULL: they are in the target
	size_t node_count;
	uint64_t address; // of the header
	struct record_header header;
};

static bool table_fits(const struct record_header *header, uint64_t offset, uint64_t count,
                       uint64_t each)
{
	uint64_t bytes;

	return !__builtin_mul_overflow(count, each, &bytes) && offset <= header->total_bytes &&
	       bytes <= header->total_bytes - offset;
}

static bool makes_sense(const struct record_header *header)
{
	return !memcmp(header->magic, RECORD_MAGIC, sizeof(header->magic)) &&
	       header->version == RECORD_VERSION && header->bytes == sizeof(*header) &&
	       header->node_bytes == sizeof(struct record_node) &&
	       header->live_bytes == sizeof(struct record_live) &&
	       table_fits(header, header->nodes_offset, header->node_capacity,
	                  header->node_bytes) &&
	       table_fits(header, header->live_offset, header->live_capacity, 1);
}

// The memory that a program shares with its collector, by the name of its file.
static uint64_t find_shared(const struct target *target)
{
	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];

		if (segment->file && !segment->file_offset &&
		    strstr(segment->file->path, "memfd:" RECORD_NAME))
			return segment->start;
	}
	return 0;
}

static const char tool_data[] = "Performance tool data"; // as Mac OS X calls it

// What the recorder keeps are words of the program, but no references of it.
static void claim_memory(struct heap_build *build, const struct heap_recorder *recorder)
{
	uint32_t count = recorder->header.own_count;

	if (!build->zones.n)
		return;
	build_range_typed(build, recorder->address,
	                  recorder->address + recorder->header.total_bytes, HEAP_RANGE_METADATA,
	                  HEAP_NO_ZONE, tool_data);
	for (uint32_t i = 0; i < count && i < RECORD_OWN_RANGES; i++) {
		const struct record_range *range = &recorder->header.own[i];

		if (range->start < range->end)
			build_range_typed(build, range->start, range->end, HEAP_RANGE_METADATA,
			                  HEAP_NO_ZONE, tool_data);
	}
}

struct heap_recorder *recorder_open(struct heap_build *build)
{
	struct heap_recorder *recorder = arena_alloc(build->arena, sizeof(*recorder));

	recorder->target = build->target;
	recorder->nodes = build->nodes;
	recorder->node_count = build->node_count;
	if (build->nodes)
		return recorder;
	recorder->address = build->recorder ? build->recorder : find_shared(build->target);
	if (!recorder->address ||
	    target_read(build->target, recorder->address, &recorder->header,
	                sizeof(recorder->header)) ||
	    !makes_sense(&recorder->header))
		return NULL;
	claim_memory(build, recorder);
	if (recorder->header.mode == RECORD_LITE && !build->recorder)
		recorder_read_live(build, recorder->address + recorder->header.live_offset,
		                   recorder->header.live_capacity);
	return recorder;
}

const char *recorder_log(const struct heap_recorder *recorder)
{
	const char *path = recorder->header.log_path;

	return *path && memchr(path, '\0', sizeof(recorder->header.log_path)) ? path : NULL;
}

static size_t recorded_frames(const struct heap_recorder *recorder, uint32_t node,
                              struct heap_frame *frames, size_t most, bool *ret_truncated)
{
	size_t n = 0;

	while (node && node <= recorder->node_count) {
		const struct snapshot_node *record = &recorder->nodes[node - 1];

		*ret_truncated = n == most || record->flags & SNAPSHOT_NODE_TRUNCATED;
		if (n == most)
			break;
		frames[n++] = (struct heap_frame){ record->address & RECORD_NODE_ADDRESS,
			                           !(record->flags & SNAPSHOT_NODE_EXACT) };
		node = record->parent;
	}
	return n;
}

// A parent's id is below its child's, so a damaged table cannot lead in circles.
size_t recorder_frames(const struct heap_recorder *recorder, uint32_t node,
                       struct heap_frame *frames, size_t most, bool *ret_truncated)
{
	uint64_t table = recorder->address + recorder->header.nodes_offset;
	struct record_node record;
	size_t n = 0;

	*ret_truncated = false;
	if (recorder->nodes)
		return recorded_frames(recorder, node, frames, most, ret_truncated);
	while (node && node < recorder->header.node_capacity) {
		if (n == most) {
			*ret_truncated = true;
			break;
		}
		if (target_read(recorder->target, table + node * sizeof(record), &record,
		                sizeof(record)) ||
		    !record.code || record.parent >= node)
			break;
		frames[n++] = (struct heap_frame){ record.code & RECORD_NODE_ADDRESS,
			                           !(record.code & RECORD_NODE_EXACT) };
		*ret_truncated |= (record.code & RECORD_NODE_TRUNCATED) != 0;
		node = record.parent;
	}
	return n;
}
