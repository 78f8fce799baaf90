// SPDX-License-Identifier: MIT
// Questions about single blocks: what it references, who references it, how a root reaches it, and
// the tree of owners.
#include "graph/graph_impl.h"

// A loader's block is reached without any word that could be named.
static const struct root_value loader_value = { .kind = ROOT_LOADER,
	                                        .thread = -1,
	                                        .what = "libc or the dynamic loader" };

// --- references ----------------------------------------------------------------------------------
struct error *graph_references_from(struct graph *graph, uint32_t block,
                                    bool (*each)(void *context,
                                                 const struct graph_reference *reference),
                                    void *context)
{
	struct graph_own *own = graph_own_of(graph);
	struct graph_query query = {
		.blocks = &block, .count = 1, .span = UINT64_MAX, .each = each, .context = context
	};

	return own->source->references(own, &query);
}

struct filter {
	uint64_t *wanted; // a bit per block
	bool (*each)(void *context, const struct graph_reference *reference);
	void *context;
	bool stopped;
};

static bool filter_pass(void *context, const struct graph_reference *reference)
{
	struct filter *filter = context;

	if (filter->wanted[reference->to / 64] >> reference->to % 64 & 1)
		filter->stopped = !filter->each(filter->context, reference);
	return !filter->stopped;
}

static struct error *references_filter(struct graph_own *own, const struct graph_query *query)
{
	struct filter *filter = query->context;

	TRY(own->source->root_references(own, query));
	return filter->stopped ? NULL : own->source->references(own, query);
}

struct error *graph_references_to(struct graph *graph, const uint32_t *blocks, size_t count,
                                  bool (*each)(void *context,
                                               const struct graph_reference *reference),
                                  void *context)
{
	struct graph_own *own = graph_own_of(graph);
	const size_t bytes = (graph->heaps->block_count / 64 + 1) * sizeof(uint64_t);
	struct filter filter = { .each = each, .context = context };
	struct graph_query query = { .each = filter_pass, .context = &filter };
	const struct heap_block *last;
	struct error *error;

	if (!count)
		return NULL;
	last = &graph->heaps->blocks[blocks[count - 1]];
	query.low = graph->heaps->blocks[blocks[0]].hb_address;
	query.span = last->hb_address + last->hb_size - query.low + 1;
	filter.wanted = graph_pages(own)->resize(NULL, 0, bytes);
	for (size_t i = 0; i < count; i++)
		filter.wanted[blocks[i] / 64] |= (uint64_t)1 << blocks[i] % 64;
	error = references_filter(own, &query);
	graph_pages(own)->resize(filter.wanted, bytes, 0);
	return error;
}

// --- owners --------------------------------------------------------------------------------------
static struct error *owners_get(struct graph_own *own)
{
	if (own->owners)
		return NULL;
	return own->source->owners(own, &own->owners);
}

static bool is_kept(const struct graph_own *own, uint32_t block)
{
	return own->graph.heaps->blocks[block].hb_flags & HEAP_LOADER;
}

// Where the word of a root points to inside its block; 0 when it cannot be read any more.
static uint64_t root_offset(struct graph_own *own, const struct graph_reference *step)
{
	uint64_t start = own->graph.heaps->blocks[step->to].hb_address, value;

	if (step->root_value)
		return step->root_value->value - start;
	if (target_read_word(own->graph.target, step->root, &value))
		return 0;
	return value - start;
}

static void step_fill(struct graph_own *own, uint32_t block, struct graph_reference *ret)
{
	const struct scan_owner *owner = &own->owners[block];

	*ret = (struct graph_reference){ .from = owner->owner, .to = block };
	if (is_kept(own, block)) {
		ret->from = GRAPH_NO_BLOCK;
		ret->root_value = &loader_value;
	} else if (owner->owner != SCAN_NO_BLOCK) {
		ret->from_offset = owner->offset;
		ret->to_offset = owner->where;
	} else {
		ret->root = owner->where;
		if (!owner->where)
			ret->root_value = &own->roots->values[owner->offset];
		ret->to_offset = root_offset(own, ret);
	}
}

static uint32_t owner_of(const struct graph_own *own, uint32_t block)
{
	return is_kept(own, block) ? GRAPH_NO_BLOCK : own->owners[block].owner;
}

struct error *graph_path(struct graph *graph, struct arena *arena, uint32_t block,
                         const struct graph_reference **ret, size_t *ret_count)
{
	struct graph_own *own = graph_own_of(graph);
	struct graph_reference *steps;
	size_t count = 0, i;
	uint32_t at;

	if (!graph_reached(graph, block))
		return error_at(ERROR_NOT_FOUND, graph->heaps->blocks[block].hb_address,
		                "no root reaches the block at 0x%llx",
		                (unsigned long long)graph->heaps->blocks[block].hb_address);
	TRY(owners_get(own));
	for (at = block; at != GRAPH_NO_BLOCK; at = owner_of(own, at))
		count++;
	steps = arena_array(arena, count, sizeof(*steps));
	for (at = block, i = count; i-- > 0; at = owner_of(own, at))
		step_fill(own, at, &steps[i]);
	*ret = steps;
	*ret_count = count;
	return NULL;
}

struct error *graph_owners(struct graph *graph, const struct graph_owners **ret)
{
	struct graph_own *own = graph_own_of(graph);
	size_t count = graph->heaps->block_count, i;
	uint32_t *owner, *offset;
	struct graph_owners *all;
	uint64_t *root;

	if (!own->public_owners) {
		TRY(owners_get(own));
		all = arena_alloc(&own->arena, sizeof(*all));
		all->owner = owner = arena_array(&own->arena, count, sizeof(*owner));
		all->owner_offset = offset = arena_array(&own->arena, count, sizeof(*offset));
		all->root = root = arena_array(&own->arena, count, sizeof(*root));
		for (i = 0; i < count; i++) {
			owner[i] = GRAPH_NO_BLOCK;
			offset[i] = UINT32_MAX;
			if (!graph_reached(graph, i) || is_kept(own, (uint32_t)i))
				continue;
			owner[i] = own->owners[i].owner;
			offset[i] = own->owners[i].offset;
			root[i] = owner[i] == GRAPH_NO_BLOCK ? own->owners[i].where : 0;
		}
		own->public_owners = all;
	}
	*ret = own->public_owners;
	return NULL;
}
