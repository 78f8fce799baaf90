// SPDX-License-Identifier: MIT
// Columns back into nodes and live blocks. The bytes are foreign.
#include "log/columns.h"
#include "log/log_impl.h"

static struct error *columns_take(ZSTD_DCtx *zstd, struct log_cursor *body, size_t count,
                                  log_bytes *columns, struct log_cursor *cursors, int column_count)
{
	for (int i = 0; i < column_count; i++)
		vec_init(&columns[i], &os_page_source);
	for (int i = 0; i < column_count; i++)
		TRY(log_take_column(zstd, body, count * LOG_VARINT_BYTES, &columns[i],
		                    &cursors[i]));
	return NULL;
}

static struct error *columns_end(log_bytes *columns, struct log_cursor *cursors, int count,
                                 struct error *error)
{
	for (int i = 0; i < count; i++) {
		if (!error && (cursors[i].bad || cursors[i].at != cursors[i].end))
			error = error_new(ERROR_DAMAGED, "a column has another length than told");
		vec_deinit(&columns[i]);
	}
	return error;
}

// False when it is not above the node.
static bool parent_decode(struct log_cursor *cursor, const struct log_node_entry *nodes,
                          uint32_t first, uint32_t node, uint32_t *ret)
{
	uint64_t told = take_varint(cursor), steps = told / 2;

	*ret = node - 1;
	if (told % 2) {
		*ret = node - (uint32_t)steps;
		return steps && steps <= node;
	}
	if (steps >= LOG_NODE_STEPS)
		return false;
	for (; steps && *ret >= first; steps--)
		*ret = nodes[*ret - first].parent;
	return !steps;
}

// numbers: room for as many as there are nodes.
static struct error *nodes_take(struct log_cursor *cursors, size_t count, uint32_t first,
                                struct log_codes *codes, uint32_t *numbers,
                                struct log_node_entry *nodes)
{
	uint64_t last = 0, code_count = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t node = first + (uint32_t)i, parent;
		uint64_t number;

		if (!parent_decode(&cursors[NODE_PARENTS], nodes, first, node, &parent))
			return error_new(ERROR_DAMAGED,
			                 "node %u names a parent that is not above it", node);
		number = take_varint(&cursors[NODE_NUMBERS]);
		if (number > code_count)
			return error_new(ERROR_DAMAGED, "node %u names a code that is not there",
			                 node);
		if (!number) {
			last += (uint64_t)unfold(take_varint(&cursors[NODE_CODES]));
			numbers[code_count++] = log_codes_number(codes, last);
			number = code_count;
		}
		nodes[i] = (struct log_node_entry){ numbers[number - 1], parent };
	}
	return NULL;
}

struct error *log_decode_nodes(ZSTD_DCtx *zstd, struct log_cursor *body, size_t count,
                               uint32_t first, struct log_codes *codes,
                               struct log_node_entry *nodes)
{
	struct log_cursor cursors[NODE_COLUMNS];
	log_bytes columns[NODE_COLUMNS];
	struct error *error = columns_take(zstd, body, count, columns, cursors, NODE_COLUMNS);
	VEC(uint32_t) numbers;

	vec_init(&numbers, &os_page_source);
	if (!error && columns[NODE_PARENTS].n < count)
		error = error_new(ERROR_DAMAGED, "a column has another length than told");
	if (!error) {
		vec_reserve(&numbers, count);
		error = nodes_take(cursors, count, first, codes, numbers.v, nodes);
	}
	vec_deinit(&numbers);
	return columns_end(columns, cursors, NODE_COLUMNS, error);
}

// A number below the limit; of a damaged log the unknown one where it is not.
static bool id_take(struct log_cursor *cursor, uint32_t count, const struct log_limits *limits,
                    uint32_t unknown, uint32_t *ret)
{
	uint64_t id = take_varint(cursor);

	*ret = id < count ? (uint32_t)id : unknown;
	return id < count || limits->damaged;
}

static struct error *live_take(struct log_cursor *cursors, size_t count, bool has_threads,
                               const struct log_limits *limits, struct log_live *blocks)
{
	uint64_t address = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t thread = 0;

		address += (uint64_t)unfold(take_varint(&cursors[LIVE_ADDRESSES]));
		blocks[i].address = address;
		blocks[i].bytes = take_varint(&cursors[LIVE_BYTES]);
		blocks[i].kind = take_byte(&cursors[LIVE_KINDS]);
		if (!id_take(&cursors[LIVE_NODES], limits->nodes, limits, 0, &blocks[i].node))
			return error_new(ERROR_DAMAGED,
			                 "a live block names a stack that is not there");
		if (has_threads &&
		    !id_take(&cursors[LIVE_THREADS], limits->threads + 1, limits, 0, &thread))
			return error_new(ERROR_DAMAGED,
			                 "a live block names a thread that is not there");
		blocks[i].thread = thread && thread <= LOG_NO_THREAD ? thread - 1 : LOG_NO_THREAD;
	}
	return NULL;
}

struct error *log_decode_live(ZSTD_DCtx *zstd, struct log_cursor *body,
                              const struct log_keyframe *keyframe, const struct log_limits *limits,
                              struct log_live *blocks)
{
	int count = keyframe->has_threads ? LIVE_COLUMNS : LIVE_THREADS;
	struct log_cursor cursors[LIVE_COLUMNS];
	log_bytes columns[LIVE_COLUMNS];
	struct error *error = columns_take(zstd, body, keyframe->blocks, columns, cursors, count);

	if (!error)
		error = live_take(cursors, keyframe->blocks, keyframe->has_threads, limits, blocks);
	return columns_end(columns, cursors, count, error);
}
