// SPDX-License-Identifier: MIT
// What the files of graph share: the graph with its private part, and the seam
// between the questions asked of a graph and where its references come from.
#pragma once

#include "base/arena.h"
#include "base/vec.h"
#include "graph/graph.h"
#include "scan/scan.h"

// Which references are wanted: those out of `blocks` (sorted; NULL = out of every used block) whose
// value lies in [low, low + span).
struct graph_query {
	const uint32_t *blocks;
	size_t count;
	uint64_t low, span;
	bool (*each)(void *context, const struct graph_reference *reference); // false stops
	void *context;
};

struct graph_own;

// Where reachability and references come from: memory, or what a snapshot recorded.
struct graph_source {
	void (*open)(struct graph_own *own);
	void (*close)(struct graph_own *own);

	// Fills reached and how.
	struct error *(*reach)(struct graph_own *own);

	// Calls query->each in ascending order of block and offset.
	struct error *(*references)(struct graph_own *own, const struct graph_query *query);

	// Likewise for the references from roots: ranges in ascending order, then values.
	struct error *(*root_references)(struct graph_own *own, const struct graph_query *query);

	// For each block how it is first reached, breadth first; block_count elements that live as
	// long as the graph. Those of blocks that are not reached mean nothing.
	struct error *(*owners)(struct graph_own *own, const struct scan_owner **ret);
};

struct graph_own {
	struct graph graph;
	const struct graph_source *source;
	struct arena arena; // dies with the graph
	uint64_t *reached;
	const struct roots *roots;
	VEC(uint32_t) kept;      // used blocks of the loader: reached, whatever references them
	struct regions *regions; // where graph_memory_source takes the roots from
	struct graph_recorded *recorded; // of graph_recorded_source
	struct graph_memory *memory;     // of graph_memory_source
	const struct scan_owner *owners; // once asked for
	const struct graph_owners *public_owners;
};

extern const struct graph_source graph_memory_source;

// What a snapshot file recorded (recorded.c); graph_is_recorded tells whether it did.
extern const struct graph_source graph_recorded_source;
bool graph_is_recorded(struct target *target);

struct graph_memory {
	struct scan_job *job; // at rest: tells the block of an address
	size_t job_bytes; // of pages that are ours; 0 when it lies in memory shared with a clone
	VEC(struct scan_range) ranges; // the roots, without what never got pages
	size_t root_range_count;       // behind these stand the contents of the loader's blocks
	// For code in the clone: the ranges it can read; the values, and behind them the words of roots that
	// only we have (image_roots: where each of those stands).
	VEC(struct scan_range) clone_ranges;
	VEC(uint64_t) values;
	VEC(uint64_t) image_roots;
	VEC(uint32_t) opaque; // blocks whose contents code in the clone cannot read; sorted
	unsigned fault_count; // how often such code met memory that it could not read
};

// Runs the mark phase and leaves the finished job in own->memory (mark.c).
struct error *graph_memory_mark(struct graph_own *own, bool trace);
void graph_memory_release(struct graph_own *own);

// Likewise with code inside a clone (clone.c). ERROR_UNSUPPORTED when the target is none.
struct error *graph_clone_mark(struct graph_own *own, struct scan_input *input);

// The leaks among the used blocks that are not reached (leaks.c).
struct error *graph_leaks_find(struct graph_own *own);

static inline struct graph_own *graph_own_of(struct graph *graph)
{
	return (struct graph_own *)graph;
}

static inline const struct page_source *graph_pages(const struct graph_own *own)
{
	return own->graph.target->arena->ar_source;
}

static inline bool graph_block_used(const struct graph_own *own, size_t block)
{
	return own->graph.heaps->blocks[block].hb_state == HEAP_USED;
}
