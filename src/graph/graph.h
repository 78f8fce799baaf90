// SPDX-License-Identifier: MIT
// graph: what reaches what. Reachability of every block from the roots, leaks
// grouped under their roots and cycles, who references a block, paths to a root.
//
//   graph.c    builds and closes a graph
//   mark.c     runs the mark phase over images; clone.c runs it inside a clone
//   memory.c   references, read from the target's memory
//   recorded.c references and reachability that a snapshot file recorded
//   leaks.c    roots, cycles (strongly connected), subtrees of what is not reachable
//   trace.c    references to a block, paths to a root, the reference tree
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "heaps/heaps.h"
#include "regions/regions.h"
#include "target/target.h"

enum leak_kind {
	LEAK_ROOT,     // nothing references it
	LEAK_CYCLE,    // stands for a cycle that nothing outside references
	LEAK_INDIRECT, // referenced by another leaked block only
};

// Blocks are named by their index in heaps.blocks everywhere.
#define GRAPH_NO_BLOCK UINT32_MAX

// A block that nothing reaches. Sorted by block.
struct leak {
	uint32_t lk_block;
	uint32_t
		lk_root; // the leak (its lk_block) whose tree it stands in; itself for LEAK_ROOT, LEAK_CYCLE
	uint32_t
		lk_owner; // the block in whose tree node it is printed as a child, GRAPH_NO_BLOCK for roots
	uint32_t lk_owner_offset; // where in the owner the reference stands (first one)
	uint32_t lk_tree_count;   // blocks of its subtree, itself included
	enum leak_kind lk_kind;
	uint64_t lk_tree_bytes;
};

struct graph {
	struct target *target;
	const struct heaps *heaps;
	const struct regions *regions;
	const struct leak *leaks;
	size_t leak_count;
	uint64_t leak_bytes;
	const uint64_t *reached; // one bit per block: reachable from a root
	const char *how;         // for -v: where the mark phase ran, words looked at
};

// Runs the mark phase and groups what it leaves. Loader blocks count as reachable. Lives until
// graph_close; heaps and regions live longer. One thread at a time may ask it. ERROR_DAMAGED and
// ERROR_UNSUPPORTED: blocks that are out of order, or more than can be numbered.
struct error *graph_build(struct target *target, const struct heaps *heaps, struct regions *regions,
                          struct graph **ret);
void graph_close(struct graph *graph);

static inline bool graph_reached(const struct graph *graph, size_t block)
{
	return graph->reached[block / 64] >> (block % 64) & 1;
}

// The leak entry of a block, or NULL when it is reachable or free.
const struct leak *graph_leak_of(const struct graph *graph, uint32_t block);

// A reference: from offset bytes into block `from` (or from root address `root` when from is
// GRAPH_NO_BLOCK) to address `value` inside block `to`.
struct graph_reference {
	uint32_t from, to;
	uint64_t root; // address of the word, or 0 for a value (register, kernel)
	const struct root_value *root_value; // when it is a value
	uint64_t from_offset, to_offset;
};

// Calls each for every reference that leads out of a block, in order of offset. Works on contents or,
// for a snapshot without contents, on the recorded references. each returns false to stop.
struct error *graph_references_from(struct graph *graph, uint32_t block,
                                    bool (*each)(void *context,
                                                 const struct graph_reference *reference),
                                    void *context);

// Every reference to a block, from blocks and from roots. One pass over all memory, so ask once for many:
// blocks is a sorted array of count block indices.
struct error *graph_references_to(struct graph *graph, const uint32_t *blocks, size_t count,
                                  bool (*each)(void *context,
                                               const struct graph_reference *reference),
                                  void *context);

// A shortest chain of references from a root to block: steps[0].from is GRAPH_NO_BLOCK, the last
// step's `to` is block. ERROR_NOT_FOUND when it is leaked. In arena.
struct error *graph_path(struct graph *graph, struct arena *arena, uint32_t block,
                         const struct graph_reference **ret, size_t *ret_count);

// The whole tree from the roots: for each live block its owner in a breadth-first walk (each block once),
// as `owner[block]` with the reference offset; GRAPH_NO_BLOCK = owned by a root, whose word is in root[block].
// When that is 0, owner_offset[block] is the number of the root value, or UINT32_MAX for blocks of the
// loader and for those that nothing reaches.
struct graph_owners {
	const uint32_t *owner;
	const uint32_t *owner_offset;
	const uint64_t
		*root; // address of the root word, 0 for values; only where owner is GRAPH_NO_BLOCK
};
struct error *graph_owners(struct graph *graph, const struct graph_owners **ret);
