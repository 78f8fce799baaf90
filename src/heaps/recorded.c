// SPDX-License-Identifier: MIT
// Blocks, zones and ranges that a snapshot file lists. The file is foreign: what does
// not fit together is an error. Relies on layout/snapshot.h; asked by heaps.c first.
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "heaps/heaps_impl.h"
#include "layout/snapshot.h"

struct recorded {
	struct heap_build *build;
	const char *strings;
	size_t strings_bytes;
};

static struct error *damaged(const char *what)
{
	return error_new(ERROR_DAMAGED, "the snapshot is damaged: %s", what);
}

static const char *string_at(const struct recorded *recorded, uint32_t offset)
{
	if (offset >= recorded->strings_bytes)
		return "unknown";
	return text_printable(recorded->build->arena, recorded->strings + offset);
}

static struct error *records(const struct recorded *recorded, uint32_t id, size_t record_bytes,
                             const void **ret, size_t *ret_count)
{
	size_t bytes = 0;

	*ret_count = 0;
	TRY(target_section(recorded->build->target, id, ret, &bytes));
	*ret_count = bytes / record_bytes;
	return NULL;
}

static struct error *zones_read(const struct recorded *recorded)
{
	const struct snapshot_zone *v;
	size_t count;

	TRY(records(recorded, SNAPSHOT_ZONES, sizeof(*v), (const void **)&v, &count));
	for (size_t i = 0; i < count; i++) {
		uint32_t zone = build_zone(recorded->build, string_at(recorded, v[i].name),
		                           string_at(recorded, v[i].allocator), v[i].address);

		recorded->build->zones.v[zone].damaged = v[i].damaged;
	}
	return NULL;
}

static struct error *ranges_read(const struct recorded *recorded)
{
	struct heap_build *build = recorded->build;
	const struct snapshot_range *v;
	size_t count;

	TRY(records(recorded, SNAPSHOT_RANGES, sizeof(*v), (const void **)&v, &count));
	for (size_t i = 0; i < count; i++) {
		if ((v[i].zone >= build->zones.n && v[i].zone != HEAP_NO_ZONE) ||
		    v[i].kind > HEAP_RANGE_RESERVED || v[i].start >= v[i].end)
			return damaged("a range of a heap is impossible");
		build_range(build, v[i].start, v[i].end, (enum heap_range_kind)v[i].kind,
		            v[i].zone);
	}
	return NULL;
}

static struct error *blocks_read(const struct recorded *recorded)
{
	struct heap_build *build = recorded->build;
	const struct snapshot_block *v;
	size_t count;
	uint64_t end = 0;

	TRY(records(recorded, SNAPSHOT_BLOCKS, sizeof(*v), (const void **)&v, &count));
	vec_reserve(&build->blocks, count);
	for (size_t i = 0; i < count; i++) {
		struct heap_block *block = vec_add(&build->blocks);

		block->hb_address = v[i].address;
		block->hb_size = v[i].packed & 0xffffffffff;
		block->hb_zone = v[i].packed >> 40 & 0xffff;
		block->hb_state = v[i].packed >> 56 & 3;
		block->hb_flags = v[i].packed >> 58;
		if (v[i].address < end || (i && v[i].address == v[i - 1].address) ||
		    block->hb_zone >= build->zones.n || block->hb_state > HEAP_CACHED ||
		    !checked_add(v[i].address, block->hb_size, &end))
			return damaged("its blocks are not in order");
	}
	return NULL;
}

static struct error *faults_read(const struct recorded *recorded)
{
	struct heap_build *build = recorded->build;
	const struct snapshot_fault *v;
	const struct snapshot_unknown *unknown;
	size_t count;

	TRY(records(recorded, SNAPSHOT_FAULTS, sizeof(*v), (const void **)&v, &count));
	for (size_t i = 0; i < count; i++) {
		if (v[i].zone >= build->zones.n)
			return damaged("a fault names no zone");
		vec_push(&build->faults,
		         ((struct heap_fault){ v[i].zone, v[i].address,
		                               string_at(recorded, v[i].what), v[i].expected,
		                               v[i].found, v[i].block_before,
		                               string_at(recorded, v[i].text) }));
	}
	TRY(records(recorded, SNAPSHOT_UNKNOWN, sizeof(*unknown), (const void **)&unknown, &count));
	for (size_t i = 0; i < count; i++)
		build_unknown(build, string_at(recorded, unknown[i].name),
		              string_at(recorded, unknown[i].evidence));
	return NULL;
}

// Sections that older snapshots do not have.
static void extras_read(const struct recorded *recorded)
{
	struct heap_build *build = recorded->build;
	const struct snapshot_requested *v;
	const uint32_t *texts;
	size_t bytes;

	if (!target_section(build->target, SNAPSHOT_REQUESTED, (const void **)&v, &bytes))
		for (size_t i = 0; i < bytes / sizeof(*v); i++)
			vec_push(&build->requested,
			         ((struct heap_requested){ v[i].address, v[i].bytes }));
	if (!target_section(build->target, SNAPSHOT_MESSAGES, (const void **)&texts, &bytes))
		for (size_t i = 0; i < bytes / sizeof(*texts); i++)
			vec_push(&build->messages, string_at(recorded, texts[i]));
	build->message_total = build->messages.n;
}

// Of a program that was recorded. A parent is below its child, so no table leads in circles.
static struct error *stacks_read(const struct recorded *recorded)
{
	struct heap_build *build = recorded->build;
	const struct snapshot_stack *v;
	size_t bytes, count;

	if (target_section(build->target, SNAPSHOT_NODES, (const void **)&build->nodes, &bytes))
		return NULL;
	build->node_count = bytes / sizeof(*build->nodes);
	for (size_t i = 0; i < build->node_count; i++)
		if (build->nodes[i].parent > i)
			return damaged("a stack leads in a circle");
	TRY(records(recorded, SNAPSHOT_BLOCK_STACKS, sizeof(*v), (const void **)&v, &count));
	for (size_t i = 0; i < count; i++)
		if (v[i].node <= build->node_count)
			build_stack(build, v[i].address, v[i].node);
	TRY(records(recorded, SNAPSHOT_MAPPING_STACKS, sizeof(*v), (const void **)&v, &count));
	for (size_t i = 0; i < count; i++) {
		uint64_t end, before = i ? v[i - 1].address + v[i - 1].bytes : 0;

		if (!checked_add(v[i].address, v[i].bytes, &end) || v[i].address < before)
			return damaged("the stacks of its mappings are not in order");
		if (v[i].node <= build->node_count && v[i].node < HEAP_NODES_MAX)
			vec_push(&build->mapped,
			         ((struct heap_mapped){ v[i].address, end, v[i].node }));
	}
	return NULL;
}

// What the walk of the blocks cannot give: free memory beside blocks, and the sentence for -v.
static struct error *sums_read(const struct recorded *recorded)
{
	struct heap_build *build = recorded->build;
	const struct snapshot_heaps *heaps;
	const struct snapshot_zone *v;
	size_t count;

	TRY(records(recorded, SNAPSHOT_HEAPS, sizeof(*heaps), (const void **)&heaps, &count));
	if (count != 1)
		return damaged("it does not say how its heaps were read");
	build->how = string_at(recorded, heaps->how);
	build->in_malloc = heaps->in_malloc;
	TRY(records(recorded, SNAPSHOT_ZONES, sizeof(*v), (const void **)&v, &count));
	for (size_t i = 0; i < count; i++) {
		build->zones.v[i].free_bytes = v[i].free_bytes;
		build->zones.v[i].free_count = v[i].free_count;
		build->zones.v[i].largest_free_bytes = v[i].largest_free_bytes;
	}
	for (size_t i = 0; i < build->blocks.n; i++) {
		struct heap_zone *zone = &build->zones.v[build->blocks.v[i].hb_zone];

		if (build->blocks.v[i].hb_state == HEAP_USED)
			continue;
		zone->free_bytes -=
			build->blocks.v[i].hb_size; // the sum over blocks is added later
		zone->free_count--;
	}
	return NULL;
}

static bool recorded_probe(struct heap_build *build, void **ret_state)
{
	const void *bytes;
	size_t n;

	*ret_state = NULL;
	return !target_section(build->target, SNAPSHOT_BLOCKS, &bytes, &n);
}

static struct error *recorded_read(struct heap_build *build, void *state)
{
	struct recorded recorded = { .build = build };

	(void)state;
	TRY(target_section(build->target, SNAPSHOT_STRINGS, (const void **)&recorded.strings,
	                   &recorded.strings_bytes));
	TRY(zones_read(&recorded));
	TRY(ranges_read(&recorded));
	TRY(blocks_read(&recorded));
	TRY(faults_read(&recorded));
	extras_read(&recorded);
	TRY(stacks_read(&recorded));
	return sums_read(&recorded);
}

const struct heap_reader heap_reader_recorded = {
	.allocator = "snapshot",
	.probe = recorded_probe,
	.read = recorded_read,
	.alone = true,
};
