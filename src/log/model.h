// SPDX-License-Identifier: MIT
// What encoder and decoder expect of the next event of a block, learnt in the same way from those before
// it. The file then says only which expectation came true: one byte per event, nearly always the same
// ones. docs/log-format.md describes each rule; a rule that changes is a new version of the format.
//
// A thread has a context of its own. Predictions are tables without tags: two keys that share a place
// spoil each other's prediction and nothing else. All state starts as zeros.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "log/log.h"

enum {
	MODEL_THREADS = 256,  // contexts; threads that share one spoil each other's predictions
	MODEL_LEAST_BITS = 6, // of the index of a table
	MODEL_MOST_BITS = 13,
	MODEL_CHUNK_BYTES = 16, // granularity of addresses and sizes, as glibc has it
	MODEL_CHUNK_HEADER = 8,
	MODEL_LEAST_CHUNKS = 2,
};

// The byte of an event.
enum {
	// Which stack and kind.
	MODEL_PAIR = 3,
	MODEL_PAIR_AFTER_TWO = 0, // as after the same two pairs the last time
	MODEL_PAIR_AFTER_ONE = 1, // as after the same pair
	MODEL_PAIR_NEW = 2,       // a stack above all those of the block so far
	MODEL_PAIR_OTHER = 3,
	// Bytes (of a free: type) are not those of the pair the last time.
	MODEL_VALUE = 1 << 2,
	// How the address is told; the meaning depends on the kind.
	MODEL_PLACE_SHIFT = 3,
	MODEL_PLACE = 7 << MODEL_PLACE_SHIFT,
	MODEL_THREAD = 1 << 6, // another thread than before
	MODEL_RARE = 1 << 7,   // extra, or type (of a free: bytes) are not those of the pair
};

// Places of an allocation.
enum {
	MODEL_AT_FREED = 0,  // the last block of this class that the thread freed
	MODEL_AT_BUMP = 1,   // behind the last block that was not predicted otherwise
	MODEL_AT_LAST = 2,   // where the thread freed last, of whatever class
	MODEL_AT_SECOND = 3, // the last but one of this class that the thread freed
	MODEL_AT_NEXT = 4,   // behind the last block of this class
	MODEL_AT_TOLD = 7,
};

// Places of a free, of blocks allocated in this block of the log.
enum {
	MODEL_OF_AGE = 0,      // as many allocations ago as at this pair the last time
	MODEL_OF_YOUNGEST = 1, // the thread's youngest live block
	MODEL_OF_OLDER = 2,    // the live block before the one that the thread freed last
	MODEL_OF_YOUNGER = 3,  // the one after it
	MODEL_OF_TOLD = 4,     // so many allocations ago
	// Of others: the distance from the last one of these is that between the last two.
	MODEL_OF_STRIDE = 5,
	MODEL_OF_ADDRESS = 7,
};

// A block allocated in this block of the log. Numbers of such are counted from 1, 0 is none.
struct model_block {
	uint64_t address;
	uint32_t chunks;
	uint32_t older, younger; // live ones of the thread
	uint32_t freed_before;   // of its class
	uint16_t thread;         // context
	bool live;
};

struct model_thread {
	uint64_t pair, pair_before;
	uint64_t bump;       // see MODEL_AT_BUMP
	uint64_t last_freed; // address
	uint64_t old, old_stride;
	uint64_t other; // last address of an event that is neither allocation nor free
	uint32_t last_freed_block;
	uint32_t youngest;
	uint32_t older, younger; // of the block freed last
};

struct model_class {
	uint32_t freed; // the last one
	uint64_t next;  // behind the last block of this class
};

// What is remembered of a pair.
struct model_memory {
	uint64_t bytes;
	uint32_t extra, type;
	uint32_t age;
	uint32_t place; // used last; only the encoder's choice depends on it
};

struct model {
	unsigned bits;
	uint32_t top_node;
	uint32_t block_count;
	struct model_thread threads[MODEL_THREADS];
	uint64_t after_one[1 << MODEL_MOST_BITS], after_two[1 << MODEL_MOST_BITS];
	struct model_memory memories[1 << MODEL_MOST_BITS];
	struct model_class classes[1 << MODEL_MOST_BITS];
	struct model_block blocks[LOG_BLOCK_EVENTS + 1];
};

static inline void model_begin(struct model *model, size_t count)
{
	unsigned bits = MODEL_LEAST_BITS;

	while (bits < MODEL_MOST_BITS && (size_t)1 << bits < count)
		bits++;
	model->bits = bits;
	model->top_node = model->block_count = 0;
	model->blocks[0] = (struct model_block){ 0 };
	memset(model->threads, 0, sizeof(model->threads));
	memset(model->after_one, 0, sizeof(uint64_t) << bits);
	memset(model->after_two, 0, sizeof(uint64_t) << bits);
	memset(model->memories, 0, sizeof(struct model_memory) << bits);
	memset(model->classes, 0, sizeof(struct model_class) << bits);
}

static inline size_t model_hash(const struct model *model, uint64_t key)
{
	return key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - model->bits);
}

static inline uint64_t model_pair(uint32_t node, uint8_t kind)
{
	return (uint64_t)node << 8 | kind;
}

static inline struct model_thread *model_thread(struct model *model, uint32_t thread)
{
	return &model->threads[thread % MODEL_THREADS];
}

static inline uint64_t *model_after_one(struct model *model, const struct model_thread *thread)
{
	return &model->after_one[model_hash(model, thread->pair)];
}

static inline uint64_t *model_after_two(struct model *model, const struct model_thread *thread)
{
	return &model->after_two[model_hash(model, thread->pair_before * 3 + thread->pair)];
}

static inline struct model_memory *model_memory(struct model *model, uint64_t pair)
{
	return &model->memories[model_hash(model, pair)];
}

// one, two: model_after_one and model_after_two, as they are before.
static inline void model_pair_learn(struct model *model, struct model_thread *thread, uint64_t *one,
                                    uint64_t *two, uint64_t pair)
{
	uint32_t node = (uint32_t)(pair >> 8);

	*one = pair;
	*two = pair;
	thread->pair_before = thread->pair;
	thread->pair = pair;
	model->top_node = node > model->top_node ? node : model->top_node;
}

static inline bool model_allocates(uint8_t kind)
{
	return kind >= RECORD_MALLOC && kind <= RECORD_REALLOC;
}

static inline bool model_frees(uint8_t kind)
{
	return kind == RECORD_FREE || kind == RECORD_REALLOC_FREE;
}

// How much glibc would take for a block.
static inline uint32_t model_chunks(uint64_t bytes)
{
	uint32_t chunks = (uint32_t)((bytes + MODEL_CHUNK_HEADER + MODEL_CHUNK_BYTES - 1) /
	                             MODEL_CHUNK_BYTES);

	return chunks < MODEL_LEAST_CHUNKS ? MODEL_LEAST_CHUNKS : chunks;
}

static inline struct model_class *model_class(struct model *model, uint32_t thread, uint32_t chunks)
{
	return &model->classes[model_hash(model, (uint64_t)chunks * MODEL_THREADS + thread)];
}

// The address that a place of an allocation stands for.
static inline uint64_t model_address(const struct model *model, const struct model_thread *thread,
                                     const struct model_class *class, unsigned place)
{
	switch (place) {
	case MODEL_AT_FREED:
		return model->blocks[class->freed].address;
	case MODEL_AT_BUMP:
		return thread->bump;
	case MODEL_AT_LAST:
		return thread->last_freed;
	case MODEL_AT_SECOND:
		return model->blocks[model->blocks[class->freed].freed_before].address;
	case MODEL_AT_NEXT:
		return class->next;
	default:
		return 0;
	}
}

// An allocation in context number.
static inline void model_allocate(struct model *model, unsigned number, struct model_class *class,
                                  unsigned place, uint64_t address, uint32_t chunks)
{
	struct model_thread *thread = &model->threads[number];
	uint32_t block = ++model->block_count;
	struct model_block *freed = &model->blocks[class->freed];

	if (place == MODEL_AT_FREED || place == MODEL_AT_TOLD || place == MODEL_AT_BUMP) {
		class->freed = freed->freed_before; // used, or of no use any more
	} else if (place == MODEL_AT_SECOND) {
		freed->freed_before = model->blocks[freed->freed_before].freed_before;
	} else if (place == MODEL_AT_LAST) {
		struct model_block *last = &model->blocks[thread->last_freed_block];
		struct model_class *of_last = model_class(model, last->thread, last->chunks);

		if (of_last->freed == thread->last_freed_block)
			of_last->freed = last->freed_before;
	}
	class->next = address + (uint64_t)chunks * MODEL_CHUNK_BYTES;
	if (place == MODEL_AT_BUMP || place == MODEL_AT_TOLD)
		thread->bump = class->next;
	model->blocks[block] = (struct model_block){ .address = address,
		                                     .chunks = chunks,
		                                     .older = thread->youngest,
		                                     .thread = (uint16_t)number,
		                                     .live = true };
	model->blocks[thread->youngest].younger = block;
	thread->youngest = block;
}

// The block of a place of a free, 0 when there is none.
static inline uint32_t model_freed(const struct model *model, const struct model_thread *thread,
                                   const struct model_memory *memory, unsigned place)
{
	switch (place) {
	case MODEL_OF_AGE:
		return model->block_count - memory->age;
	case MODEL_OF_YOUNGEST:
		return thread->youngest;
	case MODEL_OF_OLDER:
		return thread->older;
	case MODEL_OF_YOUNGER:
		return thread->younger;
	default:
		return 0;
	}
}

// A block of this block of the log is freed by context number.
static inline void model_free(struct model *model, unsigned number, uint32_t block)
{
	struct model_thread *thread = &model->threads[number];
	struct model_block *b = &model->blocks[block];
	struct model_class *class = model_class(model, number, b->chunks);

	b->live = false;
	model->blocks[b->older].younger = b->younger;
	if (b->younger)
		model->blocks[b->younger].older = b->older;
	else
		model->threads[b->thread].youngest = b->older;
	thread->older = b->older;
	thread->younger = b->younger;
	thread->last_freed = b->address;
	thread->last_freed_block = block;
	b->freed_before = class->freed;
	b->thread = (uint16_t)number;
	class->freed = block;
}

// Another block is freed.
static inline void model_free_old(struct model_thread *thread, uint64_t address)
{
	thread->old_stride = address - thread->old;
	thread->old = address;
	thread->last_freed = address;
	thread->last_freed_block = 0;
}
