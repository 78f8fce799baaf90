// SPDX-License-Identifier: MIT
// Nodes and live blocks into columns (docs/log-format.md).
#include "log/log_impl.h"

static void columns_begin(log_bytes *columns, int count)
{
	for (int i = 0; i < count; i++)
		vec_init(&columns[i], &os_page_source);
}

static struct error *columns_end(ZSTD_CCtx *zstd, log_bytes *columns, int count, log_bytes *to)
{
	struct error *error = NULL;

	for (int i = 0; i < count; i++) {
		if (!error)
			error = log_add_column(zstd, to, columns[i].v, columns[i].n);
		vec_deinit(&columns[i]);
	}
	return error;
}

struct error *log_encode_nodes(ZSTD_CCtx *zstd, const struct log_node *nodes, size_t count,
                               uint32_t first, log_bytes *to)
{
	log_bytes columns[2];
	uint64_t code = 0;

	columns_begin(columns, 2);
	for (size_t i = 0; i < count; i++) {
		log_add_varint(&columns[0], first + i - nodes[i].parent);
		log_add_varint(&columns[1], fold((int64_t)(nodes[i].code - code)));
		code = nodes[i].code;
	}
	return columns_end(zstd, columns, 2, to);
}

struct error *log_encode_live(ZSTD_CCtx *zstd, const struct log_live *blocks, size_t count,
                              log_bytes *to)
{
	log_bytes columns[4];
	uint64_t address = 0;

	columns_begin(columns, 4);
	for (size_t i = 0; i < count; i++) {
		log_add_varint(&columns[0], fold((int64_t)(blocks[i].address - address)));
		log_add_varint(&columns[1], blocks[i].bytes);
		log_add_varint(&columns[2], blocks[i].node);
		log_add(&columns[3], &blocks[i].kind, 1);
		address = blocks[i].address;
	}
	return columns_end(zstd, columns, 4, to);
}
