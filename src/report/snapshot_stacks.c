// SPDX-License-Identifier: MIT
// The sections of a snapshot about stacks: those of live blocks and of mappings, as one table of nodes,
// and the names of their code addresses, which another machine may have no files for. Called by
// snapshot.c.
#include <stdlib.h>

#include "base/text.h"
#include "layout/record.h"
#include "os/os.h"
#include "report/snapshot_impl.h"
#include "report/stack_nodes.h"

#define MOST_INLINED   32
#define COPY_BYTES     ((size_t)1 << 20)
#define MOST_LOG_BYTES ((size_t)2 << 30)

static void put_blocks_of(struct snapshot *s, struct stack_nodes *nodes, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;

	for (uint32_t i = 0; i < heaps->block_count; i++) {
		struct snapshot_stack record = { .address = heaps->blocks[i].hb_address,
			                         .bytes = heaps->blocks[i].hb_size };

		if (heaps->blocks[i].hb_state == HEAP_USED)
			record.node = stack_nodes_take(nodes, s->look, stacks_node(s->look, i));
		if (record.node)
			section_add_struct(out, record);
	}
}

static void put_mappings_of(struct snapshot *s, struct stack_nodes *nodes, struct section *out)
{
	const struct target *t = s->look->target;

	for (size_t i = 0; i < t->segment_count; i++) {
		struct snapshot_stack record = { .address = t->segments[i].start,
			                         .bytes = t->segments[i].end -
			                                  t->segments[i].start };

		record.node = stack_nodes_take(nodes, s->look,
		                               stacks_mapping_node(s->look, record.address));
		if (record.node)
			section_add_struct(out, record);
	}
}

static void put_nodes(const struct stack_nodes *nodes, struct section *out)
{
	for (size_t i = 1; i < nodes->nodes.n; i++) {
		const struct log_node *node = &nodes->nodes.v[i];
		struct snapshot_node record = {
			.address = node->code & RECORD_NODE_ADDRESS,
			.parent = node->parent,
			.flags = (node->code & RECORD_NODE_EXACT ? SNAPSHOT_NODE_EXACT : 0) |
			         (node->code & RECORD_NODE_TRUNCATED ? SNAPSHOT_NODE_TRUNCATED : 0),
		};

		section_add_struct(out, record);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void put_place(struct snapshot *s, struct section *out, uint64_t address)
{
	struct symbols_name names[MOST_INLINED];
	size_t count = symbols_names_at(s->look->symbols, address, names, MOST_INLINED);

	for (size_t i = 0; i < count; i++) {
		struct snapshot_place record = {
			.address = address,
			.offset = names[i].offset,
			.function = snapshot_string(s, names[i].function),
			.source = snapshot_string(s, names[i].file),
			.line = names[i].line,
		};

		section_add_struct(out, record);
	}
}

// Each address once, where its name is looked for: a call's own, not where it returns to.
static void put_places(struct snapshot *s, const struct stack_nodes *nodes, struct section *out)
{
	size_t bytes = nodes->nodes.n * sizeof(uint64_t);
	uint64_t *addresses = os_page_source.resize(NULL, 0, bytes);
	size_t count = 0;

	for (size_t i = 1; i < nodes->nodes.n; i++) {
		uint64_t code = nodes->nodes.v[i].code;

		addresses[count++] =
			(code & RECORD_NODE_ADDRESS) - (code & RECORD_NODE_EXACT ? 0 : 1);
	}
	if (count)
		qsort(addresses, count, sizeof(*addresses), compare);
	for (size_t i = 0; i < count; i++)
		if (!i || addresses[i] != addresses[i - 1])
			put_place(s, out, addresses[i]);
	os_page_source.resize(addresses, bytes, 0);
}

// Up to where it was read when the stacks were looked for; what is written meanwhile makes it longer only.
struct error *put_log(struct snapshot *s, struct section *out)
{
	const char *path = s->look->heaps ? stacks_log_path(s->look) : NULL;
	OS_DESCRIPTOR int fd = -1;
	uint8_t *buffer = arena_alloc(s->look->arena, COPY_BYTES);
	size_t n;

	if (!path)
		return error_new(ERROR_NOT_FOUND,
		                 "-fullStackHistory needs full logging of the program (heapwright "
		                 "record, or MallocStackLoggingNoCompact=1): nothing is written");
	TRY(os_open_regular(path, &fd));
	while ((n = os_pread(fd, buffer, COPY_BYTES, out->bytes.n)) > 0) {
		section_add(out, buffer, n);
		if (out->bytes.n > MOST_LOG_BYTES)
			return error_new(ERROR_UNSUPPORTED,
			                 "the log %s is too large for a snapshot",
			                 text_printable(s->look->arena, path));
	}
	return NULL;
}

bool put_stacks(struct snapshot *s, struct section sections[static 4])
{
	struct stack_nodes nodes;

	if (!stacks_known(s->look))
		return false;
	stack_nodes_init(&nodes);
	put_blocks_of(s, &nodes, &sections[0]);
	put_mappings_of(s, &nodes, &sections[1]);
	put_nodes(&nodes, &sections[2]);
	put_places(s, &nodes, &sections[3]);
	stack_nodes_deinit(&nodes);
	return true;
}
