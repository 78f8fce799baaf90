// SPDX-License-Identifier: MIT
// Stacks get their ids in the log when the first event names them. So only complete ones are ever
// read (an event is committed after its stack), whatever holes the shared table has. Called by
// stream.c.
#include "collect/collect_impl.h"

enum { MOST_DEPTH = 1 << 16 }; // of a chain; deeper ones are cut off

struct error *collect_nodes_init(struct collect_nodes *nodes, const struct collect_share *share)
{
	*nodes = (struct collect_nodes){ .capacity = share->node_capacity, .next = 1 };
	vec_init(&nodes->path, &os_page_source);
	nodes->ids = os_reserve((size_t)nodes->capacity * sizeof(*nodes->ids) + 1);
	return nodes->ids ? NULL : &error_out_of_memory;
}

void collect_nodes_deinit(struct collect_nodes *nodes)
{
	vec_deinit(&nodes->path);
	if (nodes->ids)
		os_release(nodes->ids, (size_t)nodes->capacity * sizeof(*nodes->ids) + 1);
}

static uint32_t append(struct collect_nodes *nodes, uint32_t node, uint64_t code, uint32_t parent,
                       struct collect_pack *pack)
{
	struct log_node log = { .code = code, .parent = parent };

	vec_push(&pack->nodes, log);
	return nodes->ids[node] = nodes->next++;
}

// Walks up to a stack that the log knows, then down again. Only the lower part of a chain that is
// longer than any real one is kept.
uint32_t collect_nodes_add(struct collect_nodes *nodes, const struct collect_share *share,
                           uint32_t node, struct collect_pack *pack)
{
	uint32_t depth = 0, id;

	nodes->path.n = 0;
	while (node && !nodes->ids[node] && depth < MOST_DEPTH) {
		uint32_t parent = collect_load_32(&share->nodes[node].parent);

		vec_push(&nodes->path, node);
		depth++;
		// A parent's id is below its children's, else the table is damaged and the chain ends.
		node = parent < node ? parent : 0;
	}
	id = nodes->ids[node];
	while (depth--) {
		uint32_t at = nodes->path.v[depth];
		uint64_t code = collect_load_64(&share->nodes[at].code);

		if (!code || (node && !nodes->ids[node] && !id))
			code |= RECORD_NODE_TRUNCATED;
		id = append(nodes, at, code, id, pack);
	}
	return id;
}
