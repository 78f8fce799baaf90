// SPDX-License-Identifier: MIT
// Columns back into events. The bytes are foreign: every number is checked.
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

struct log_decoder {
	struct arena arena;
	ZSTD_DCtx *zstd;
	log_bytes columns[COLUMNS];
};

struct log_decoder *log_decoder_new(void)
{
	struct arena arena;
	struct log_decoder *decoder;

	arena_init(&arena, &os_page_source);
	decoder = arena_alloc(&arena, sizeof(*decoder));
	decoder->arena = arena;
	for (int i = 0; i < COLUMNS; i++)
		vec_init(&decoder->columns[i], &os_page_source);
	decoder->zstd = ZSTD_createDCtx();
	return decoder;
}

void log_decoder_free(struct log_decoder *decoder)
{
	struct arena arena;

	if (!decoder)
		return;
	for (int i = 0; i < COLUMNS; i++)
		vec_deinit(&decoder->columns[i]);
	ZSTD_freeDCtx(decoder->zstd);
	arena = decoder->arena;
	arena_deinit(&arena);
}

static struct error *id_check(uint32_t *id, uint32_t count, bool damaged, const char *what)
{
	if (*id < count)
		return NULL;
	if (!damaged)
		return error_new(ERROR_DAMAGED, "an event names a %s that is not there", what);
	*id = 0;
	return NULL;
}

static struct error *event_check(struct log_event *event, const struct log_limits *limits)
{
	TRY(id_check(&event->node, limits->nodes, limits->damaged, "stack"));
	TRY(id_check(&event->thread, limits->threads, limits->damaged, "thread"));
	return id_check(&event->type, limits->types, limits->damaged, "type");
}

struct error *log_decode_events(struct log_decoder *decoder, struct log_cursor *body, size_t count,
                                uint64_t first_unit, const struct log_limits *limits,
                                struct log_event *events)
{
	struct log_cursor columns[COLUMNS];
	struct log_event before = { 0 };
	uint64_t unit = first_unit;
	bool bad = false;

	if (!decoder->zstd)
		return &error_out_of_memory;
	for (int i = 0; i < COLUMNS; i++)
		TRY(log_take_column(decoder->zstd, body, count * LOG_VARINT_BYTES,
		                    &decoder->columns[i], &columns[i]));
	for (size_t i = 0; i < count; i++) {
		struct log_event *event = &events[i];

		event->kind = (uint8_t)take_varint(&columns[COLUMN_KINDS]);
		event->thread = (uint32_t)take_varint(&columns[COLUMN_THREADS]);
		unit += take_varint(&columns[COLUMN_TIMES]);
		event->time_ns = unit * limits->time_unit_ns;
		event->node = before.node + (uint32_t)unfold(take_varint(&columns[COLUMN_NODES]));
		event->address =
			before.address + (uint64_t)unfold(take_varint(&columns[COLUMN_ADDRESSES]));
		event->bytes = take_varint(&columns[COLUMN_BYTES]);
		event->extra = (uint32_t)take_varint(&columns[COLUMN_EXTRAS]);
		event->type = (uint32_t)take_varint(&columns[COLUMN_TYPES]);
		before = *event;
		TRY(event_check(event, limits));
	}
	for (int i = 0; i < COLUMNS; i++)
		bad |= columns[i].bad || columns[i].at != columns[i].end;
	return bad ? error_new(ERROR_DAMAGED, "the columns have another length than the events")
	           : NULL;
}

bool log_skip_events(struct log_cursor *body)
{
	for (int i = 0; i < COLUMNS && !body->bad; i++) {
		take_varint(body);
		take_bytes(body, take_varint(body));
	}
	return !body->bad;
}
