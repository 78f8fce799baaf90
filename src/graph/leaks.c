// SPDX-License-Identifier: MIT
// Groups the blocks that nothing reaches. Called by graph.c with the reached bits filled in.
//
// 1. The references among the leaked blocks are collected, one per pair of blocks.
// 2. Tarjan's algorithm, without recursion, finds the strongly connected components: a leaked ring,
//    or a block on its own.
// 3. A component that no other one references is a root: its lowest block stands for it.
// 4. From each root in turn a breadth-first walk gives every block its owner, each block once.
#include "graph/graph_impl.h"

#define NONE UINT32_MAX

struct edge {
	uint32_t to, offset;
};

// Leaked blocks are numbered 0 .. count - 1 in order of address; `edges` of node i are
// edges[first_edge[i] .. first_edge[i + 1]).
struct leak_graph {
	struct graph_own *own;
	struct arena arena;  // for everything below
	VEC(uint32_t) nodes; // the block of each
	const uint32_t *blocks;
	uint32_t count;
	uint32_t *rank; // leaked blocks before each 64 blocks
	VEC(struct edge) edges;
	size_t *first_edge;
	uint32_t *last_from; // while collecting: the last node that was seen to reference a node
	uint32_t collected;  // nodes whose first edge is known
	uint32_t *component; // after Tarjan; components are numbered from 0
	uint32_t component_count;
	uint32_t *queue; // of the breadth-first walks: all nodes in the end
	uint32_t queued;
	struct leak *leaks;
};

// --- nodes ---------------------------------------------------------------------------------------
static bool block_leaked(const struct graph_own *own, size_t block)
{
	return !graph_reached(&own->graph, block) && graph_block_used(own, block);
}

// By 64 blocks at a time, since almost all are reached.
static void nodes_collect(struct leak_graph *leaked)
{
	const struct graph_own *own = leaked->own;
	size_t count = own->graph.heaps->block_count, i;

	leaked->rank = arena_array(&leaked->arena, count / 64 + 1, sizeof(uint32_t));
	for (i = 0; i < count; i += 64) {
		uint64_t open = ~own->graph.reached[i / 64];

		leaked->rank[i / 64] = (uint32_t)leaked->nodes.n;
		for (; open; open &= open - 1) {
			size_t block = i + (size_t)__builtin_ctzll(open);

			if (block < count && graph_block_used(own, block))
				vec_push(&leaked->nodes, (uint32_t)block);
		}
	}
	leaked->blocks = leaked->nodes.v;
	leaked->count = (uint32_t)leaked->nodes.n;
}

// The node of a leaked block: at or behind the first one of its 64 blocks.
static uint32_t node_of(const struct leak_graph *leaked, uint32_t block)
{
	uint32_t node = leaked->rank[block / 64];

	while (leaked->blocks[node] != block)
		node++;
	return node;
}

// --- edges ---------------------------------------------------------------------------------------
static void edges_begin(struct leak_graph *leaked, uint32_t block)
{
	while (leaked->collected < leaked->count && leaked->blocks[leaked->collected] <= block)
		leaked->first_edge[leaked->collected++] = leaked->edges.n;
}

static bool edge_add(void *context, const struct graph_reference *reference)
{
	struct leak_graph *leaked = context;
	uint32_t to;

	if (!block_leaked(leaked->own, reference->to))
		return true;
	edges_begin(leaked, reference->from);
	to = node_of(leaked, reference->to);
	if (leaked->last_from[to] == reference->from)
		return true;
	leaked->last_from[to] = reference->from;
	vec_push(&leaked->edges, ((struct edge){ to, (uint32_t)reference->from_offset }));
	return true;
}

static struct error *edges_collect(struct leak_graph *leaked)
{
	const struct heap_block *blocks = leaked->own->graph.heaps->blocks;
	const struct heap_block *last = &blocks[leaked->blocks[leaked->count - 1]];
	struct graph_query query = { .blocks = leaked->blocks,
		                     .count = leaked->count,
		                     .each = edge_add,
		                     .context = leaked };
	uint32_t i;

	query.low = blocks[leaked->blocks[0]].hb_address;
	query.span = last->hb_address + last->hb_size - query.low + 1;
	leaked->first_edge = arena_array(&leaked->arena, leaked->count + 1, sizeof(size_t));
	leaked->last_from = arena_array(&leaked->arena, leaked->count, sizeof(uint32_t));
	for (i = 0; i < leaked->count; i++)
		leaked->last_from[i] = NONE;
	TRY(leaked->own->source->references(leaked->own, &query));
	edges_begin(leaked, NONE - 1);
	leaked->first_edge[leaked->count] = leaked->edges.n;
	return NULL;
}

// --- components ----------------------------------------------------------------------------------
struct tarjan {
	struct leak_graph *leaked;
	uint32_t *order; // when a node was entered, from 1; 0 = not yet
	uint32_t *low;   // the earliest entered node that is known to be reached from it
	size_t *edge;    // next edge of an entered node
	uint32_t *open;  // nodes whose component is not known yet
	uint32_t *path;  // nodes that were entered and not left
	uint32_t open_count, path_count, entered;
};

static void node_enter(struct tarjan *tarjan, uint32_t node)
{
	tarjan->order[node] = tarjan->low[node] = ++tarjan->entered;
	tarjan->edge[node] = tarjan->leaked->first_edge[node];
	tarjan->open[tarjan->open_count++] = node;
	tarjan->path[tarjan->path_count++] = node;
}

static void node_lower(struct tarjan *tarjan, uint32_t node, uint32_t low)
{
	if (tarjan->low[node] > low)
		tarjan->low[node] = low;
}

static void node_leave(struct tarjan *tarjan)
{
	struct leak_graph *leaked = tarjan->leaked;
	uint32_t node = tarjan->path[--tarjan->path_count], member;

	if (tarjan->path_count)
		node_lower(tarjan, tarjan->path[tarjan->path_count - 1], tarjan->low[node]);
	if (tarjan->low[node] != tarjan->order[node])
		return;
	do {
		member = tarjan->open[--tarjan->open_count];
		leaked->component[member] = leaked->component_count;
	} while (member != node);
	leaked->component_count++;
}

static void node_walk(struct tarjan *tarjan, uint32_t start)
{
	const struct leak_graph *leaked = tarjan->leaked;

	node_enter(tarjan, start);
	while (tarjan->path_count) {
		uint32_t node = tarjan->path[tarjan->path_count - 1], to;

		if (tarjan->edge[node] == leaked->first_edge[node + 1]) {
			node_leave(tarjan);
			continue;
		}
		to = leaked->edges.v[tarjan->edge[node]++].to;
		if (!tarjan->order[to])
			node_enter(tarjan, to);
		else if (leaked->component[to] == NONE)
			node_lower(tarjan, node, tarjan->order[to]);
	}
}

static void components_find(struct leak_graph *leaked)
{
	size_t count = leaked->count;
	struct tarjan tarjan = { .leaked = leaked };
	struct arena arena;
	uint32_t i;

	arena_init(&arena, graph_pages(leaked->own));
	leaked->component = arena_array(&leaked->arena, count, sizeof(uint32_t));
	tarjan.order = arena_array(&arena, count, sizeof(uint32_t));
	tarjan.low = arena_array(&arena, count, sizeof(uint32_t));
	tarjan.edge = arena_array(&arena, count, sizeof(size_t));
	tarjan.open = arena_array(&arena, count, sizeof(uint32_t));
	tarjan.path = arena_array(&arena, count, sizeof(uint32_t));
	for (i = 0; i < count; i++)
		leaked->component[i] = NONE;
	for (i = 0; i < count; i++)
		if (!tarjan.order[i])
			node_walk(&tarjan, i);
	arena_deinit(&arena);
}

// --- trees ---------------------------------------------------------------------------------------
static void leak_init(struct leak_graph *leaked, uint32_t node, uint32_t root)
{
	const struct heap_block *block = &leaked->own->graph.heaps->blocks[leaked->blocks[node]];

	leaked->leaks[node] = (struct leak){ .lk_block = leaked->blocks[node],
		                             .lk_root = leaked->blocks[root],
		                             .lk_owner = GRAPH_NO_BLOCK,
		                             .lk_tree_count = 1,
		                             .lk_kind = LEAK_INDIRECT,
		                             .lk_tree_bytes = block->hb_size };
	leaked->queue[leaked->queued++] = node;
}

// lk_tree_count tells whether a node stands in a tree already.
static void tree_grow(struct leak_graph *leaked, uint32_t root)
{
	uint32_t next = leaked->queued;

	leak_init(leaked, root, root);
	for (; next < leaked->queued; next++) {
		uint32_t node = leaked->queue[next];
		size_t i;

		for (i = leaked->first_edge[node]; i < leaked->first_edge[node + 1]; i++) {
			const struct edge *edge = &leaked->edges.v[i];

			if (leaked->leaks[edge->to].lk_tree_count)
				continue;
			leak_init(leaked, edge->to, root);
			leaked->leaks[edge->to].lk_owner = leaked->blocks[node];
			leaked->leaks[edge->to].lk_owner_offset = edge->offset;
		}
	}
}

// A component is a ring when it has more than one block or its block references itself; entered, when
// another component references it.
enum { RING = 1, ENTERED = 2, SEEN = 4 };

static uint8_t *components_judge(struct leak_graph *leaked)
{
	uint8_t *marks = arena_alloc(&leaked->arena, leaked->component_count);
	uint32_t node;
	size_t i;

	for (node = 0; node < leaked->count; node++) {
		uint32_t component = leaked->component[node];

		marks[component] |= marks[component] & SEEN ? RING : SEEN;
		for (i = leaked->first_edge[node]; i < leaked->first_edge[node + 1]; i++) {
			uint32_t to = leaked->component[leaked->edges.v[i].to];

			marks[to] |= to == component ? RING : ENTERED;
		}
	}
	return marks;
}

static void trees_grow(struct leak_graph *leaked)
{
	uint8_t *marks = components_judge(leaked);
	uint32_t node;

	for (node = 0; node < leaked->count; node++) {
		uint8_t *mark = &marks[leaked->component[node]];

		if (*mark & ENTERED)
			continue;
		*mark |= ENTERED; // its other blocks stand below this one
		tree_grow(leaked, node);
		leaked->leaks[node].lk_kind = *mark & RING ? LEAK_CYCLE : LEAK_ROOT;
	}
}

// Children stand behind their owners in the queue.
static void trees_sum(struct leak_graph *leaked)
{
	uint32_t i;

	for (i = leaked->queued; i-- > 0;) {
		const struct leak *leak = &leaked->leaks[leaked->queue[i]];
		struct leak *owner;

		if (leak->lk_owner == GRAPH_NO_BLOCK)
			continue;
		owner = &leaked->leaks[node_of(leaked, leak->lk_owner)];
		owner->lk_tree_count += leak->lk_tree_count;
		owner->lk_tree_bytes += leak->lk_tree_bytes;
	}
}

static struct error *leaks_group(struct leak_graph *leaked)
{
	struct graph *graph = &leaked->own->graph;
	uint32_t i;

	TRY(edges_collect(leaked));
	components_find(leaked);
	leaked->queue = arena_array(&leaked->arena, leaked->count, sizeof(uint32_t));
	leaked->leaks = arena_array(&leaked->own->arena, leaked->count, sizeof(struct leak));
	trees_grow(leaked);
	trees_sum(leaked);
	graph->leaks = leaked->leaks;
	graph->leak_count = leaked->count;
	for (i = 0; i < leaked->count; i++)
		graph->leak_bytes += graph->heaps->blocks[leaked->blocks[i]].hb_size;
	return NULL;
}

struct error *graph_leaks_find(struct graph_own *own)
{
	struct leak_graph leaked = { .own = own };
	struct error *error = NULL;

	arena_init(&leaked.arena, graph_pages(own));
	vec_init(&leaked.nodes, graph_pages(own));
	vec_init(&leaked.edges, graph_pages(own));
	nodes_collect(&leaked);
	if (leaked.count)
		error = leaks_group(&leaked);
	vec_deinit(&leaked.edges);
	vec_deinit(&leaked.nodes);
	arena_deinit(&leaked.arena);
	return error;
}
