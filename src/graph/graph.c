// SPDX-License-Identifier: MIT
// Builds the graph of a target: what the roots reach, and the leaks that remain.
#include "graph/graph_impl.h"

#include "base/search.h"

static void kept_collect(struct graph_own *own)
{
	const struct heaps *heaps = own->graph.heaps;
	size_t i;

	for (i = 0; i < heaps->block_count; i++)
		if (heaps->blocks[i].hb_flags & HEAP_LOADER && graph_block_used(own, i))
			vec_push(&own->kept, (uint32_t)i);
}

static struct error *graph_fill(struct graph_own *own)
{
	const struct heaps *heaps = own->graph.heaps;

	if (heaps->block_count >= GRAPH_NO_BLOCK)
		return error_new(ERROR_UNSUPPORTED, "%zu blocks are too many", heaps->block_count);
	if (own->graph.target->big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__))
		return error_new(ERROR_UNSUPPORTED, "words of this byte order cannot be followed");
	own->reached = arena_array(&own->arena, heaps->block_count / 64 + 1, sizeof(uint64_t));
	own->graph.reached = own->reached;
	kept_collect(own);
	TRY(own->source->reach(own));
	return graph_leaks_find(own);
}

struct error *graph_build(struct target *target, const struct heaps *heaps, struct regions *regions,
                          struct graph **ret)
{
	const struct page_source *pages = target->arena->ar_source;
	struct graph_own *own;
	struct error *error;
	struct arena arena;

	arena_init(&arena, pages);
	own = arena_alloc(&arena, sizeof(*own));
	own->arena = arena; // it lives in its own first chunk
	own->graph.target = target;
	own->graph.heaps = heaps;
	own->graph.regions = regions;
	own->graph.how = "";
	own->regions = regions;
	own->source = graph_is_recorded(target) ? &graph_recorded_source : &graph_memory_source;
	vec_init(&own->kept, pages);
	own->source->open(own);
	error = graph_fill(own);
	if (error)
		graph_close(&own->graph);
	else
		*ret = &own->graph;
	return error;
}

void graph_close(struct graph *graph)
{
	struct graph_own *own = graph_own_of(graph);
	struct arena arena;

	if (!graph)
		return;
	own->source->close(own);
	vec_deinit(&own->kept);
	arena = own->arena;
	arena_deinit(&arena);
}

const struct leak *graph_leak_of(const struct graph *graph, uint32_t block)
{
	size_t at = first_index(graph->leak_count, i, graph->leaks[i].lk_block >= block);

	if (at == graph->leak_count || graph->leaks[at].lk_block != block)
		return NULL;
	return &graph->leaks[at];
}
