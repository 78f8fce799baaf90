// SPDX-License-Identifier: MIT
// The source of references that a snapshot file recorded, so that leaks, paths and
// trees can be told without any contents. The file is foreign: indices are checked
// once, when the graph opens.
#include "graph/graph_impl.h"

#include <string.h>

#include "base/search.h"
#include "layout/snapshot.h"

struct graph_recorded {
	const uint64_t *reached;
	const struct snapshot_reference *references; // sorted by from
	size_t reference_count;
	const struct snapshot_root_reference *roots;
	size_t root_count;
	const char *strings;
	size_t strings_bytes;
	struct root_value *values; // one per root reference
	struct roots value_roots;  // what path steps point into
};

bool graph_is_recorded(struct target *target)
{
	const void *bytes;
	size_t n;

	return !target_section(target, SNAPSHOT_REACHED, &bytes, &n);
}

// --- opening -------------------------------------------------------------------------------------
static struct error *damaged(const char *what)
{
	return error_new(ERROR_DAMAGED, "the snapshot is damaged: %s", what);
}

static struct error *sections_get(struct graph_own *own, struct graph_recorded *r)
{
	struct target *target = own->graph.target;
	size_t bytes;

	TRY(target_section(target, SNAPSHOT_STRINGS, (const void **)&r->strings,
	                   &r->strings_bytes));
	TRY(target_section(target, SNAPSHOT_REACHED, (const void **)&r->reached, &bytes));
	if (bytes / sizeof(*r->reached) < (own->graph.heaps->block_count + 63) / 64)
		return damaged("it does not say which blocks are reached");
	TRY(target_section(target, SNAPSHOT_REFERENCES, (const void **)&r->references, &bytes));
	r->reference_count = bytes / sizeof(*r->references);
	TRY(target_section(target, SNAPSHOT_ROOT_REFERENCES, (const void **)&r->roots, &bytes));
	r->root_count = bytes / sizeof(*r->roots);
	return NULL;
}

static struct error *references_check(const struct graph_own *own, const struct graph_recorded *r)
{
	size_t blocks = own->graph.heaps->block_count;

	for (size_t i = 0; i < r->reference_count; i++) {
		if (r->references[i].from >= blocks || r->references[i].to >= blocks ||
		    (i && r->references[i].from < r->references[i - 1].from))
			return damaged("a reference names no block");
	}
	for (size_t i = 0; i < r->root_count; i++) {
		if (r->roots[i].to >= blocks)
			return damaged("a root names no block");
	}
	return NULL;
}

static void values_make(struct graph_own *own, struct graph_recorded *r)
{
	r->values = arena_array(&own->arena, r->root_count, sizeof(*r->values));
	for (size_t i = 0; i < r->root_count; i++) {
		const struct snapshot_root_reference *root = &r->roots[i];
		uint64_t start = own->graph.heaps->blocks[root->to].hb_address;

		r->values[i] = (struct root_value){ .value = start + root->to_offset,
			                            .kind = ROOT_MAPPING,
			                            .thread = -1,
			                            .what = root->what < r->strings_bytes
			                                            ? r->strings + root->what
			                                            : "a root" };
	}
	r->value_roots = (struct roots){ .values = r->values, .value_count = r->root_count };
	own->roots = &r->value_roots;
}

static void recorded_open(struct graph_own *own)
{
	own->recorded = arena_alloc(&own->arena, sizeof(*own->recorded));
}

static void recorded_close(struct graph_own *own)
{
	(void)own;
}

static struct error *recorded_reach(struct graph_own *own)
{
	struct graph_recorded *r = own->recorded;

	TRY(sections_get(own, r));
	TRY(references_check(own, r));
	values_make(own, r);
	memcpy(own->reached, r->reached, (own->graph.heaps->block_count + 63) / 64 * 8);
	own->graph.how = "reachability and references as the snapshot recorded them";
	return NULL;
}

// --- references ----------------------------------------------------------------------------------
static size_t first_of(const struct graph_recorded *r, uint32_t from)
{
	return first_index(r->reference_count, i, r->references[i].from >= from);
}

// Calls the query for the references [first, last); false when it wants no more.
static bool references_give(struct graph_own *own, const struct graph_query *query, size_t first,
                            size_t last)
{
	const struct heap_block *blocks = own->graph.heaps->blocks;

	for (size_t i = first; i < last; i++) {
		const struct snapshot_reference *record = &own->recorded->references[i];
		uint64_t value = blocks[record->to].hb_address + record->to_offset;
		struct graph_reference reference = { .from = record->from,
			                             .to = record->to,
			                             .from_offset = record->from_offset,
			                             .to_offset = record->to_offset };

		if (value - query->low < query->span && !query->each(query->context, &reference))
			return false;
	}
	return true;
}

static struct error *recorded_references(struct graph_own *own, const struct graph_query *query)
{
	const struct graph_recorded *r = own->recorded;

	if (!query->blocks) {
		references_give(own, query, 0, r->reference_count);
		return NULL;
	}
	for (size_t i = 0; i < query->count; i++) {
		size_t first = first_of(r, query->blocks[i]), last = first;

		while (last < r->reference_count && r->references[last].from == query->blocks[i])
			last++;
		if (!references_give(own, query, first, last))
			return NULL;
	}
	return NULL;
}

static struct error *recorded_root_references(struct graph_own *own,
                                              const struct graph_query *query)
{
	const struct graph_recorded *r = own->recorded;

	for (size_t i = 0; i < r->root_count; i++) {
		struct graph_reference reference = { .from = GRAPH_NO_BLOCK,
			                             .to = r->roots[i].to,
			                             .root = r->roots[i].root,
			                             .root_value = &r->values[i],
			                             .to_offset = r->roots[i].to_offset };

		if (r->values[i].value - query->low < query->span &&
		    !query->each(query->context, &reference))
			return NULL;
	}
	return NULL;
}

// --- owners --------------------------------------------------------------------------------------
struct walk {
	struct scan_owner *owners;
	uint32_t *queue; // blocks in the order they are reached
	size_t filled;
	uint64_t *seen;
};

static void walk_reach(struct walk *walk, uint32_t block, struct scan_owner owner)
{
	if (walk->seen[block / 64] >> (block % 64) & 1)
		return;
	walk->seen[block / 64] |= (uint64_t)1 << (block % 64);
	walk->owners[block] = owner;
	walk->queue[walk->filled++] = block;
}

// Breadth first over the recorded references, as the mark phase does over memory.
static struct error *recorded_owners(struct graph_own *own, const struct scan_owner **ret)
{
	const struct graph_recorded *r = own->recorded;
	size_t count = own->graph.heaps->block_count;
	struct walk walk = { .owners = arena_array(&own->arena, count, sizeof(*walk.owners)),
		             .queue = arena_array(&own->arena, count, sizeof(*walk.queue)),
		             .seen = arena_array(&own->arena, count / 64 + 1, sizeof(uint64_t)) };

	for (size_t i = 0; i < r->root_count; i++)
		walk_reach(&walk, r->roots[i].to,
		           (struct scan_owner){ SCAN_NO_BLOCK, (uint32_t)i, 0 });
	for (size_t i = 0; i < own->kept.n; i++)
		walk_reach(&walk, own->kept.v[i], (struct scan_owner){ SCAN_NO_BLOCK, 0, 0 });
	for (size_t done = 0; done < walk.filled; done++) {
		uint32_t from = walk.queue[done];

		for (size_t i = first_of(r, from);
		     i < r->reference_count && r->references[i].from == from; i++)
			walk_reach(&walk, r->references[i].to,
			           (struct scan_owner){ from,
			                                (uint32_t)r->references[i].from_offset,
			                                r->references[i].to_offset });
	}
	*ret = walk.owners;
	return NULL;
}

const struct graph_source graph_recorded_source = {
	.open = recorded_open,
	.close = recorded_close,
	.reach = recorded_reach,
	.references = recorded_references,
	.root_references = recorded_root_references,
	.owners = recorded_owners,
};
