// SPDX-License-Identifier: MIT
// The table of stacks: nodes in the shared mapping, never changed or removed, written by all threads
// without a lock. Called by unwind.c.
//
// The children of a node form a search tree that is steered by the bits of a hash of their code: which
// way a place lies from each sibling is thus a matter of its code alone, there is one link where it can
// hang, and of two threads that add the same place the compare-and-swap lets one find the other's. A
// node is complete before it is linked. The one that was not needed stays in the table without a use.
#include "record/unwind.h"

#include <string.h>

struct record_node *record_nodes;
static uint32_t *node_count;
static uint32_t node_capacity;

enum { NODE_FULL = 1 }; // the node of the stacks for which there is no room

void record_nodes_start(struct record_header *header)
{
	record_nodes = (struct record_node *)((char *)header + header->nodes_offset);
	node_count = &header->node_count;
	node_capacity = header->node_capacity;
	record_nodes[NODE_FULL] = (struct record_node){ .code = RECORD_NODE_TRUNCATED };
	*node_count = NODE_FULL + 1;
}

// 0: there is no room.
static uint32_t add(uint32_t parent, uint64_t code)
{
	uint32_t id = __atomic_load_n(node_count, __ATOMIC_RELAXED);

	if (id >= node_capacity)
		return 0;
	id = __atomic_fetch_add(node_count, 1, __ATOMIC_RELAXED);
	if (id >= node_capacity) {
		__atomic_store_n(node_count, node_capacity, __ATOMIC_RELAXED);
		return 0;
	}
	record_nodes[id].parent = parent;
	__atomic_store_n(&record_nodes[id].code, code, __ATOMIC_RELEASE);
	return id;
}

uint32_t record_node_child_find(uint32_t parent, uint64_t code)
{
	uint64_t hash = code * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t *link = &record_nodes[parent].children;
	uint32_t own = 0;

	if (parent == NODE_FULL)
		return NODE_FULL;
	for (;;) {
		uint32_t id = __atomic_load_n(link, __ATOMIC_ACQUIRE);

		if (!id) {
			own = own ? own : add(parent, code);
			if (!own)
				return NODE_FULL;
			if (__atomic_compare_exchange_n(link, &id, own, false, __ATOMIC_RELEASE,
			                                __ATOMIC_ACQUIRE))
				return own;
		}
		if (record_nodes[id].code == code)
			return id;
		link = &record_nodes[id].siblings[hash >> 63];
		// 64 ways down, then all codes go the same way, which is a list.
		hash <<= 1;
	}
}
