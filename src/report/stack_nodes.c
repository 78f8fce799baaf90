// SPDX-License-Identifier: MIT
// Stacks become nodes (stack_nodes.h). Called by history_open.c and snapshot_stacks.c.
#include "report/stack_nodes.h"

#include "layout/record.h"
#include "os/os.h"

#define FIRST_INDEX_COUNT 4096

void stack_nodes_init(struct stack_nodes *nodes)
{
	*nodes = (struct stack_nodes){ .index_count = 0 };
	vec_init(&nodes->nodes, &os_page_source);
	vec_push(&nodes->nodes, ((struct log_node){ 0 }));
}

void stack_nodes_deinit(struct stack_nodes *nodes)
{
	vec_deinit(&nodes->nodes);
	if (nodes->index)
		os_page_source.resize(nodes->index, nodes->index_count * sizeof(*nodes->index), 0);
	if (nodes->taken)
		os_page_source.resize(nodes->taken, nodes->taken_count * sizeof(*nodes->taken), 0);
}

// --- nodes ---------------------------------------------------------------------------------------
static uint32_t *node_at(const struct stack_nodes *nodes, uint32_t parent, uint64_t code)
{
	uint64_t hash = (code ^ (uint64_t)parent << 40) * 0x9e3779b97f4a7c15u;
	size_t at = (size_t)(hash >> 32) & (nodes->index_count - 1);

	for (; nodes->index[at]; at = (at + 1) & (nodes->index_count - 1)) {
		const struct log_node *node = &nodes->nodes.v[nodes->index[at]];

		if (node->parent == parent && node->code == code)
			break;
	}
	return &nodes->index[at];
}

static void index_grow(struct stack_nodes *nodes)
{
	if (nodes->index)
		os_page_source.resize(nodes->index, nodes->index_count * sizeof(*nodes->index), 0);
	nodes->index_count = nodes->index_count ? 2 * nodes->index_count : FIRST_INDEX_COUNT;
	nodes->index = os_page_source.resize(NULL, 0, nodes->index_count * sizeof(*nodes->index));
	for (size_t i = 1; i < nodes->nodes.n; i++)
		*node_at(nodes, nodes->nodes.v[i].parent, nodes->nodes.v[i].code) = (uint32_t)i;
}

static uint32_t child(struct stack_nodes *nodes, uint32_t parent, uint64_t code)
{
	uint32_t *at;

	if ((nodes->nodes.n + 1) * 2 > nodes->index_count)
		index_grow(nodes);
	at = node_at(nodes, parent, code);
	if (!*at) {
		*at = (uint32_t)nodes->nodes.n;
		vec_push(&nodes->nodes, ((struct log_node){ code, parent }));
	}
	return *at;
}

static uint32_t make(struct stack_nodes *nodes, const struct look *look, uint32_t stack)
{
	struct heap_frame frames[STACK_FRAMES_MAX];
	bool truncated = false;
	uint32_t node = 0;
	size_t count = stacks_codes(look, stack, frames, STACK_FRAMES_MAX, &truncated);

	for (size_t i = count; i-- > 0;) {
		uint64_t code = frames[i].code & RECORD_NODE_ADDRESS;

		if (!frames[i].is_return)
			code |= RECORD_NODE_EXACT;
		if (truncated && i + 1 == count)
			code |= RECORD_NODE_TRUNCATED;
		node = child(nodes, node, code);
	}
	return node;
}

// --- what was taken ------------------------------------------------------------------------------
static struct stack_taken *taken_at(const struct stack_nodes *nodes, uint32_t stack)
{
	size_t at = stack * 0x9e3779b1u & (nodes->taken_count - 1);

	while (nodes->taken[at].stack && nodes->taken[at].stack != stack)
		at = (at + 1) & (nodes->taken_count - 1);
	return &nodes->taken[at];
}

static void taken_grow(struct stack_nodes *nodes)
{
	struct stack_nodes old = *nodes;

	nodes->taken_count = old.taken_count ? 2 * old.taken_count : FIRST_INDEX_COUNT;
	nodes->taken = os_page_source.resize(NULL, 0, nodes->taken_count * sizeof(*nodes->taken));
	for (size_t i = 0; i < old.taken_count; i++)
		if (old.taken[i].stack)
			*taken_at(nodes, old.taken[i].stack) = old.taken[i];
	if (old.taken)
		os_page_source.resize(old.taken, old.taken_count * sizeof(*old.taken), 0);
}

uint32_t stack_nodes_take(struct stack_nodes *nodes, struct look *look, uint32_t stack)
{
	struct stack_taken *taken;

	if (!stack)
		return 0;
	if (nodes->taken_used * 2 >= nodes->taken_count)
		taken_grow(nodes);
	taken = taken_at(nodes, stack);
	if (!taken->stack) {
		*taken = (struct stack_taken){ stack, make(nodes, look, stack) };
		nodes->taken_used++;
	}
	return taken->node;
}
