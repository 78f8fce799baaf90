// SPDX-License-Identifier: MIT
// Events into columns (docs/log-format.md).
#include "log/log_impl.h"

enum {
	COLUMN_KINDS,
	COLUMN_THREADS,
	COLUMN_TIMES,
	COLUMN_NODES,
	COLUMN_ADDRESSES,
	COLUMN_BYTES,
	COLUMN_EXTRAS,
	COLUMN_TYPES,
	COLUMNS,
};

struct log_encoder {
	log_bytes columns[COLUMNS];
};

struct log_encoder *log_encoder_new(struct arena *arena)
{
	struct log_encoder *encoder = arena_alloc(arena, sizeof(*encoder));

	for (int i = 0; i < COLUMNS; i++)
		vec_init(&encoder->columns[i], &os_page_source);
	return encoder;
}

void log_encoder_free(struct log_encoder *encoder)
{
	for (int i = 0; i < COLUMNS; i++)
		vec_deinit(&encoder->columns[i]);
}

struct error *log_encode_events(struct log_encoder *encoder, ZSTD_CCtx *zstd,
                                const struct log_event *events, size_t count, uint64_t first_unit,
                                log_bytes *to)
{
	struct log_event before = { 0 };
	uint64_t unit = first_unit;

	for (int i = 0; i < COLUMNS; i++)
		encoder->columns[i].n = 0;
	for (size_t i = 0; i < count; i++) {
		const struct log_event *event = &events[i];
		uint64_t now = event->time_ns / LOG_TIME_UNIT_NS;

		now = now > unit ? now : unit;
		log_add_varint(&encoder->columns[COLUMN_KINDS], event->kind);
		log_add_varint(&encoder->columns[COLUMN_THREADS], event->thread);
		log_add_varint(&encoder->columns[COLUMN_TIMES], now - unit);
		log_add_varint(&encoder->columns[COLUMN_NODES],
		               fold((int64_t)event->node - before.node));
		log_add_varint(&encoder->columns[COLUMN_ADDRESSES],
		               fold((int64_t)(event->address - before.address)));
		log_add_varint(&encoder->columns[COLUMN_BYTES], event->bytes);
		log_add_varint(&encoder->columns[COLUMN_EXTRAS], event->extra);
		log_add_varint(&encoder->columns[COLUMN_TYPES], event->type);
		unit = now;
		before = *event;
	}
	for (int i = 0; i < COLUMNS; i++)
		TRY(log_add_column(zstd, to, encoder->columns[i].v, encoder->columns[i].n));
	return NULL;
}
