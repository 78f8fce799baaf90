// SPDX-License-Identifier: MIT
// The stacks of a look's blocks as one table of nodes: equal beginnings become one node each. For a
// recording that is made of live blocks (history_open.c) and for snapshots (snapshot_stacks.c).
#pragma once

#include "base/base.h"
#include "log/log.h"
#include "report/stacks.h"

struct stack_nodes {
	VEC(struct log_node) nodes; // node 0 is no stack; parents come before their children
	uint32_t *index;            // node by parent and code, 0: empty
	size_t index_count;
	// Numbers of the look's stacks that were taken already, by open addressing.
	struct stack_taken {
		uint32_t stack, node; // stack 0: empty
	} * taken;
	size_t taken_count, taken_used;
};

void stack_nodes_init(struct stack_nodes *nodes);
void stack_nodes_deinit(struct stack_nodes *nodes);

// The node of one of the look's stacks (stacks_node, stacks_mapping_node); 0 for 0.
uint32_t stack_nodes_take(struct stack_nodes *nodes, struct look *look, uint32_t stack);
