// SPDX-License-Identifier: MIT
// Events into columns (docs/log-format.md), by what model.h expected. Called by writer.c.
#include "log/columns.h"
#include "log/log_impl.h"
#include "log/model.h"

struct log_encoder {
	struct model *model;
	log_bytes columns[COLUMNS];
	uint8_t *at[COLUMNS]; // where the next byte of each goes
	// Address -> number of the block allocated last at an address of this place, 0 none. A block that
	// another one pushed out is told by address when it is freed.
	uint32_t *numbers;
	uint32_t number_mask;
};

#define LEAST_NUMBERS 64
#define NUMBERS       ((size_t)LOG_BLOCK_EVENTS * 2)

struct log_encoder *log_encoder_new(struct arena *arena)
{
	struct log_encoder *encoder = arena_alloc(arena, sizeof(*encoder));

	encoder->model = arena_alloc(arena, sizeof(*encoder->model));
	encoder->numbers = arena_array(arena, NUMBERS, sizeof(*encoder->numbers));
	for (int i = 0; i < COLUMNS; i++)
		vec_init(&encoder->columns[i], &os_page_source);
	return encoder;
}

void log_encoder_free(struct log_encoder *encoder)
{
	for (int i = 0; i < COLUMNS; i++)
		vec_deinit(&encoder->columns[i]);
}

static void put(struct log_encoder *encoder, enum log_column column, uint64_t value)
{
	encoder->at[column] = put_varint(encoder->at[column], value);
}

// Neighbours in memory are neighbours here, which caches like. The upper bits matter to heaps of few
// large blocks.
static uint32_t *number_of(struct log_encoder *encoder, uint64_t address)
{
	uint64_t chunk = address / MODEL_CHUNK_BYTES;

	return &encoder->numbers[(chunk ^ chunk >> 17) & encoder->number_mask];
}

static bool block_is(const struct model *model, uint32_t block, uint64_t address)
{
	return block - 1 < model->block_count && model->blocks[block].live &&
	       model->blocks[block].address == address;
}

// How far an address lies from another: whole chunks, the sign, and whether it is not whole, in which
// case the bytes above follow.
static void put_distance(struct log_encoder *encoder, enum log_column column, uint64_t address,
                         uint64_t from)
{
	bool below = (int64_t)(address - from) < 0;
	uint64_t far = below ? from - address : address - from;
	uint64_t bytes = far % MODEL_CHUNK_BYTES;

	put(encoder, column, far / MODEL_CHUNK_BYTES << 2 | (uint64_t)below << 1 | !!bytes);
	if (bytes)
		put(encoder, column, bytes);
}

static uint8_t pair_encode(struct log_encoder *encoder, struct model_thread *thread,
                           const struct log_event *event)
{
	struct model *model = encoder->model;
	uint64_t pair = model_pair(event->node, event->kind);
	uint8_t how;

	if (*model_after_two(model, thread) == pair) {
		how = MODEL_PAIR_AFTER_TWO;
	} else if (*model_after_one(model, thread) == pair) {
		how = MODEL_PAIR_AFTER_ONE;
	} else {
		*encoder->at[COLUMN_KINDS]++ = event->kind;
		if (event->node > model->top_node) {
			how = MODEL_PAIR_NEW;
			put(encoder, COLUMN_NODES, event->node - model->top_node - 1);
		} else {
			how = MODEL_PAIR_OTHER;
			put(encoder, COLUMN_NODES, model->top_node - event->node);
		}
	}
	model_pair_learn(model, thread, model_after_one(model, thread),
	                 model_after_two(model, thread), pair);
	return how;
}

static uint8_t values_encode(struct log_encoder *encoder, struct model_memory *memory,
                             const struct log_event *event)
{
	bool frees = model_frees(event->kind);
	uint8_t how = 0;

	if (frees ? event->type != memory->type : event->bytes != memory->bytes) {
		how |= MODEL_VALUE;
		put(encoder, COLUMN_VALUES, frees ? event->type : event->bytes);
	}
	if (event->extra != memory->extra ||
	    (frees ? event->bytes != memory->bytes : event->type != memory->type)) {
		how |= MODEL_RARE;
		put(encoder, COLUMN_RARE, event->extra);
		put(encoder, COLUMN_RARE, frees ? event->bytes : event->type);
	}
	memory->bytes = event->bytes;
	memory->type = event->type;
	memory->extra = event->extra;
	return how;
}

static unsigned allocation_encode(struct log_encoder *encoder, struct model_thread *thread,
                                  struct model_memory *memory, const struct log_event *event)
{
	struct model *model = encoder->model;
	unsigned number = (unsigned)(thread - model->threads), place = memory->place;
	uint32_t chunks = model_chunks(event->bytes);
	struct model_class *class = model_class(model, number, chunks);

	if (place > MODEL_AT_NEXT || model_address(model, thread, class, place) != event->address)
		for (place = 0; place <= MODEL_AT_NEXT; place++)
			if (model_address(model, thread, class, place) == event->address)
				break;
	if (place > MODEL_AT_NEXT) {
		place = MODEL_AT_TOLD;
		put_distance(encoder, COLUMN_ADDRESSES, event->address, thread->bump);
	}
	memory->place = place;
	model_allocate(model, number, class, place, event->address, chunks);
	*number_of(encoder, event->address) = model->block_count;
	return place;
}

static unsigned free_old_encode(struct log_encoder *encoder, struct model_thread *thread,
                                uint64_t address)
{
	unsigned place = MODEL_OF_STRIDE;

	if (address != thread->old + thread->old_stride) {
		place = MODEL_OF_ADDRESS;
		put_distance(encoder, COLUMN_OLD, address, thread->old);
	}
	model_free_old(thread, address);
	return place;
}

static unsigned free_encode(struct log_encoder *encoder, struct model_thread *thread,
                            struct model_memory *memory, const struct log_event *event)
{
	struct model *model = encoder->model;
	unsigned place = memory->place;
	uint32_t block = model_freed(model, thread, memory, place);

	if (!block_is(model, block, event->address)) {
		block = *number_of(encoder, event->address);
		if (!block_is(model, block, event->address))
			return memory->place = free_old_encode(encoder, thread, event->address);
		for (place = 0; place < MODEL_OF_TOLD; place++)
			if (model_freed(model, thread, memory, place) == block)
				break;
	}
	memory->age = model->block_count - block;
	if (place == MODEL_OF_TOLD)
		put(encoder, COLUMN_AGES, memory->age);
	model_free(model, (unsigned)(thread - model->threads), block);
	return memory->place = place;
}

static unsigned other_encode(struct log_encoder *encoder, struct model_thread *thread,
                             const struct log_event *event)
{
	put_distance(encoder, COLUMN_OTHERS, event->address, thread->other);
	thread->other = event->address;
	return 0;
}

static void event_encode(struct log_encoder *encoder, const struct log_event *event)
{
	struct model *model = encoder->model;
	struct model_thread *thread = model_thread(model, event->thread);
	uint8_t how = pair_encode(encoder, thread, event);
	struct model_memory *memory = model_memory(model, thread->pair);
	unsigned place;

	how |= values_encode(encoder, memory, event);
	if (model_allocates(event->kind))
		place = allocation_encode(encoder, thread, memory, event);
	else if (model_frees(event->kind))
		place = free_encode(encoder, thread, memory, event);
	else
		place = other_encode(encoder, thread, event);
	*encoder->at[COLUMN_HOW]++ |= how | (uint8_t)(place << MODEL_PLACE_SHIFT);
}

static void encoder_begin(struct log_encoder *encoder, size_t count)
{
	size_t numbers;

	model_begin(encoder->model, count);
	for (numbers = LEAST_NUMBERS; numbers < count * 2;)
		numbers *= 2;
	encoder->number_mask = (uint32_t)numbers - 1;
	memset(encoder->numbers, 0, sizeof(*encoder->numbers) * numbers);
	for (int i = 0; i < COLUMNS; i++) {
		vec_reserve(&encoder->columns[i], count * 2 * LOG_VARINT_BYTES);
		encoder->at[i] = encoder->columns[i].v;
	}
}

struct error *log_encode_events(struct log_encoder *encoder, ZSTD_CCtx *zstd,
                                const struct log_event *events, size_t count, uint64_t first_unit,
                                log_bytes *to)
{
	uint64_t unit = first_unit;
	uint32_t thread = 0;

	encoder_begin(encoder, count);
	for (size_t i = 0; i < count; i++) {
		uint64_t now = events[i].time_ns / LOG_TIME_UNIT_NS;

		now = now > unit ? now : unit;
		put(encoder, COLUMN_TIMES, now - unit);
		unit = now;
		*encoder->at[COLUMN_HOW] = 0;
		if (events[i].thread != thread) {
			thread = events[i].thread;
			put(encoder, COLUMN_THREADS, thread);
			*encoder->at[COLUMN_HOW] = MODEL_THREAD;
		}
		event_encode(encoder, &events[i]);
	}
	for (int i = 0; i < COLUMNS; i++)
		TRY(log_add_column(zstd, to, encoder->columns[i].v,
		                   (size_t)(encoder->at[i] - encoder->columns[i].v)));
	return NULL;
}
