// SPDX-License-Identifier: MIT
// Columns back into events. The bytes are foreign: every number is checked before it is an index, and
// the columns must have just the bytes that the events want. Behind each there is room for the most that
// the events of a block can take, so that its end is looked at once. Called by reader.c.
#include "log/columns.h"
#include "log/log_impl.h"
#include "log/model.h"

struct log_decoder {
	struct arena arena;
	ZSTD_DCtx *zstd;
	struct model *model;
	log_bytes columns[COLUMNS];
	const uint8_t *at[COLUMNS]; // what comes next of each
	struct log_cursor times;    // as they are stored
};

// The most that an event takes of one column.
#define MOST_TAKEN ((size_t)2 * LOG_VARINT_BYTES)

struct log_decoder *log_decoder_new(void)
{
	struct arena arena;
	struct log_decoder *decoder;

	arena_init(&arena, &os_page_source);
	decoder = arena_alloc(&arena, sizeof(*decoder));
	decoder->model = arena_alloc(&arena, sizeof(*decoder->model));
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

static uint64_t take(struct log_decoder *decoder, enum log_column column)
{
	return take_varint_at(&decoder->at[column]);
}

static uint64_t distance_take(struct log_decoder *decoder, enum log_column column)
{
	uint64_t value = take(decoder, column);
	uint64_t far = (value >> 2) * MODEL_CHUNK_BYTES;

	if (value & 1)
		far += take(decoder, column);
	return value & 2 ? -far : far;
}

static inline uint64_t pair_decode(struct log_decoder *decoder, struct model_thread *thread,
                                   uint8_t how)
{
	struct model *model = decoder->model;
	uint64_t *one = model_after_one(model, thread), *two = model_after_two(model, thread);
	uint64_t pair = how & MODEL_PAIR_AFTER_ONE ? *one : *two;

	if (how & MODEL_PAIR_NEW) {
		uint64_t told = take(decoder, COLUMN_NODES);
		uint64_t node = (how & MODEL_PAIR) == MODEL_PAIR_NEW ? model->top_node + told + 1
		                                                     : model->top_node - told;

		pair = model_pair((uint32_t)node, *decoder->at[COLUMN_KINDS]++);
	}
	model_pair_learn(model, thread, one, two, pair);
	return pair;
}

static inline void values_decode(struct log_decoder *decoder, struct model_memory *memory,
                                 uint8_t how, struct log_event *event)
{
	bool frees = model_frees(event->kind);

	if (how & MODEL_VALUE) {
		uint64_t value = take(decoder, COLUMN_VALUES);

		if (frees)
			memory->type = (uint32_t)value;
		else
			memory->bytes = value;
	}
	if (how & MODEL_RARE) {
		memory->extra = (uint32_t)take(decoder, COLUMN_RARE);
		if (frees)
			memory->bytes = take(decoder, COLUMN_RARE);
		else
			memory->type = (uint32_t)take(decoder, COLUMN_RARE);
	}
	event->bytes = memory->bytes;
	event->type = memory->type;
	event->extra = memory->extra;
}

static inline uint64_t allocation_decode(struct log_decoder *decoder, struct model_thread *thread,
                                         unsigned place, uint64_t bytes)
{
	struct model *model = decoder->model;
	unsigned number = (unsigned)(thread - model->threads);
	uint32_t chunks = model_chunks(bytes);
	struct model_class *class = model_class(model, number, chunks);
	uint64_t address;

	if (place == MODEL_AT_TOLD)
		address = thread->bump + distance_take(decoder, COLUMN_ADDRESSES);
	else
		address = model_address(model, thread, class, place);
	model_allocate(model, number, class, place, address, chunks);
	return address;
}

// False when the file names a block that is not there.
static inline bool free_decode(struct log_decoder *decoder, struct model_thread *thread,
                               struct model_memory *memory, unsigned place, uint64_t *ret)
{
	struct model *model = decoder->model;
	uint32_t block;

	if (place == MODEL_OF_STRIDE || place == MODEL_OF_ADDRESS) {
		*ret = place == MODEL_OF_STRIDE ? thread->old + thread->old_stride
		                                : thread->old + distance_take(decoder, COLUMN_OLD);
		model_free_old(thread, *ret);
		return true;
	}
	if (place == MODEL_OF_TOLD) // places that mean nothing give 0
		block = model->block_count - (uint32_t)take(decoder, COLUMN_AGES);
	else
		block = model_freed(model, thread, memory, place);
	if (!block || block > model->block_count || !model->blocks[block].live)
		return false;
	memory->age = model->block_count - block;
	*ret = model->blocks[block].address;
	model_free(model, (unsigned)(thread - model->threads), block);
	return true;
}

static inline bool event_decode(struct log_decoder *decoder, uint8_t how, struct log_event *event)
{
	struct model_thread *thread = model_thread(decoder->model, event->thread);
	uint64_t pair = pair_decode(decoder, thread, how);
	struct model_memory *memory = model_memory(decoder->model, pair);
	unsigned place = (how & MODEL_PLACE) >> MODEL_PLACE_SHIFT;

	event->node = (uint32_t)(pair >> 8);
	event->kind = (uint8_t)pair;
	values_decode(decoder, memory, how, event);
	if (model_allocates(event->kind)) {
		event->address = allocation_decode(decoder, thread, place, event->bytes);
		return place <= MODEL_AT_NEXT || place == MODEL_AT_TOLD;
	}
	if (model_frees(event->kind))
		return free_decode(decoder, thread, memory, place, &event->address);
	thread->other += distance_take(decoder, COLUMN_OTHERS);
	event->address = thread->other;
	return !place;
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

static struct error *column_take(struct log_decoder *decoder, struct log_cursor *from, size_t count,
                                 enum log_column column)
{
	size_t most = count * MOST_TAKEN;
	struct log_cursor ignored;

	vec_reserve(&decoder->columns[column], most + LOG_PADDING);
	TRY(log_take_column(decoder->zstd, from, most, &decoder->columns[column], &ignored));
	decoder->at[column] = decoder->columns[column].v;
	return NULL;
}

// Unpacks the columns; that of the times only when the times of all events are wanted.
static struct error *columns_take(struct log_decoder *decoder, struct log_cursor *body,
                                  size_t count, bool with_times)
{
	if (!decoder->zstd)
		return &error_out_of_memory;
	for (enum log_column i = 0; i < COLUMNS; i++) {
		if (i == COLUMN_TIMES && !with_times) {
			decoder->times = *body;
			if (!log_skip_column(body))
				return error_new(ERROR_DAMAGED,
				                 "a column has an impossible length");
		} else {
			TRY(column_take(decoder, body, count, i));
		}
	}
	if (decoder->columns[COLUMN_HOW].n != count)
		return error_new(ERROR_DAMAGED, "a column has another length than the block");
	return NULL;
}

static struct error *column_check(const struct log_decoder *decoder, enum log_column column)
{
	const log_bytes *bytes = &decoder->columns[column];

	if (decoder->at[column] != bytes->v + bytes->n)
		return error_new(ERROR_DAMAGED, "column %d has another length than its events",
		                 (int)column);
	return NULL;
}

static struct error *columns_check(const struct log_decoder *decoder)
{
	for (enum log_column i = 0; i < COLUMNS; i++)
		if (i != COLUMN_HOW && i != COLUMN_TIMES)
			TRY(column_check(decoder, i));
	return NULL;
}

static struct error *events_begin(struct log_decoder *decoder, struct log_cursor *body,
                                  size_t count, bool with_times)
{
	TRY(columns_take(decoder, body, count, with_times));
	model_begin(decoder->model, count);
	return NULL;
}

static struct error *no_block(size_t event)
{
	return error_new(ERROR_DAMAGED, "event %zu is about no block of memory", event);
}

struct error *log_decode_events(struct log_decoder *decoder, struct log_cursor *body, size_t count,
                                uint64_t first_unit, const struct log_limits *limits,
                                struct log_event *events)
{
	uint64_t unit = first_unit;
	uint32_t thread = 0;

	TRY(events_begin(decoder, body, count, true));
	for (size_t i = 0; i < count; i++) {
		uint8_t how = decoder->columns[COLUMN_HOW].v[i];

		unit += take(decoder, COLUMN_TIMES);
		if (how & MODEL_THREAD)
			thread = (uint32_t)take(decoder, COLUMN_THREADS);
		events[i].time_ns = unit * limits->time_unit_ns;
		events[i].thread = thread;
		if (!event_decode(decoder, how, &events[i]))
			return no_block(i);
		TRY(event_check(&events[i], limits));
	}
	TRY(column_check(decoder, COLUMN_TIMES));
	return columns_check(decoder);
}

static bool is_about(const struct log_about *about, const struct log_event *event)
{
	uint64_t distance = about->address - event->address;

	return distance < event->bytes || !distance ||
	       (distance < about->near_bytes && model_frees(event->kind));
}

// The times of events that were picked.
static struct error *times_decode(struct log_decoder *decoder, size_t count, uint64_t first_unit,
                                  uint32_t unit_ns, struct log_event *events,
                                  const uint32_t *numbers, size_t picked)
{
	uint64_t unit = first_unit;
	size_t next = 0;

	TRY(column_take(decoder, &decoder->times, count, COLUMN_TIMES));
	for (size_t i = 0; i < count; i++) {
		unit += take(decoder, COLUMN_TIMES);
		if (next < picked && numbers[next] == i)
			events[next++].time_ns = unit * unit_ns;
	}
	return column_check(decoder, COLUMN_TIMES);
}

struct error *log_decode_about(struct log_decoder *decoder, struct log_cursor *body, size_t count,
                               uint64_t first_unit, const struct log_limits *limits,
                               const struct log_about *about, struct log_event *events,
                               uint32_t *numbers, size_t *ret_count)
{
	struct log_event event = { 0 };
	size_t picked = 0;

	TRY(events_begin(decoder, body, count, false));
	for (size_t i = 0; i < count; i++) {
		uint8_t how = decoder->columns[COLUMN_HOW].v[i];

		if (how & MODEL_THREAD)
			event.thread = (uint32_t)take(decoder, COLUMN_THREADS);
		if (!event_decode(decoder, how, &event))
			return no_block(i);
		if (!is_about(about, &event))
			continue;
		events[picked] = event;
		numbers[picked] = (uint32_t)i;
		TRY(event_check(&events[picked++], limits));
	}
	TRY(columns_check(decoder));
	*ret_count = picked;
	if (!picked)
		return NULL;
	return times_decode(decoder, count, first_unit, limits->time_unit_ns, events, numbers,
	                    picked);
}

bool log_skip_events(struct log_cursor *body)
{
	for (int i = 0; i < COLUMNS; i++)
		if (!log_skip_column(body))
			return false;
	return true;
}
