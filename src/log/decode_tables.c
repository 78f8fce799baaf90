// SPDX-License-Identifier: MIT
// Columns back into nodes and live blocks. The bytes are foreign.
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

static struct error *nodes_take(struct log_cursor *cursors, size_t count, uint32_t first,
                                struct log_node *nodes)
{
	uint64_t code = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t up = take_varint(&cursors[0]);

		if (!up || up > first + i)
			return error_new(ERROR_DAMAGED,
			                 "node %zu names a parent that is not above "
			                 "it",
			                 first + i);
		code += (uint64_t)unfold(take_varint(&cursors[1]));
		nodes[i].parent = (uint32_t)(first + i - up);
		nodes[i].code = code;
	}
	return NULL;
}

struct error *log_decode_nodes(ZSTD_DCtx *zstd, struct log_cursor *body, size_t count,
                               uint32_t first, struct log_node *nodes)
{
	struct log_cursor cursors[2];
	log_bytes columns[2];
	struct error *error = columns_take(zstd, body, count, columns, cursors, 2);

	if (!error)
		error = nodes_take(cursors, count, first, nodes);
	return columns_end(columns, cursors, 2, error);
}

static struct error *live_take(struct log_cursor *cursors, size_t count,
                               const struct log_limits *limits, struct log_live *blocks)
{
	uint64_t address = 0;

	for (size_t i = 0; i < count; i++) {
		address += (uint64_t)unfold(take_varint(&cursors[0]));
		blocks[i].address = address;
		blocks[i].bytes = take_varint(&cursors[1]);
		blocks[i].node = (uint32_t)take_varint(&cursors[2]);
		blocks[i].kind = take_byte(&cursors[3]);
		if (blocks[i].node < limits->nodes)
			continue;
		if (!limits->damaged)
			return error_new(ERROR_DAMAGED,
			                 "a live block names a stack that is not there");
		blocks[i].node = 0;
	}
	return NULL;
}

struct error *log_decode_live(ZSTD_DCtx *zstd, struct log_cursor *body, size_t count,
                              const struct log_limits *limits, struct log_live *blocks)
{
	struct log_cursor cursors[4];
	log_bytes columns[4];
	struct error *error = columns_take(zstd, body, count, columns, cursors, 4);

	if (!error)
		error = live_take(cursors, count, limits, blocks);
	return columns_end(columns, cursors, 4, error);
}
