// SPDX-License-Identifier: MIT
// The live blocks at a moment: the last keyframe before it, and the events from there on.
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "history/history_impl.h"

static struct history_block block_of_keyframe(const struct log_live *live)
{
	return (struct history_block){
		.address = live->address,
		.bytes = live->bytes,
		.event = HISTORY_BEFORE,
		.time_ns = HISTORY_BEFORE,
		.node = live->node,
		.thread = live->thread,
		.kind = live->kind,
	};
}

static void put_live(struct history_table *table, const struct log_live *live)
{
	struct history_block block = block_of_keyframe(live);

	if (!history_is_mapping(live->kind))
		history_table_put(table, &block);
	else if (live->bytes && live->bytes <= UINT64_MAX - live->address)
		vec_push(&table->mappings, block);
}

// Keyframes ascend; mappings of a damaged one that overlap are left out.
static void drop_overlaps(struct history_table *table)
{
	size_t kept = 0;
	uint64_t end = 0;

	for (size_t i = 0; i < table->mappings.n; i++) {
		struct history_block mapping = table->mappings.v[i];

		if (mapping.address < end)
			continue;
		end = mapping.address + mapping.bytes;
		table->mappings.v[kept++] = mapping;
	}
	table->mappings.n = kept;
}

static struct error *put_keyframe(struct history *history, size_t keyframe, bool only_before,
                                  struct history_table *table)
{
	uint64_t count = log_keyframe(history->log, keyframe)->blocks;
	size_t bytes = (count + 1) * sizeof(struct log_live);
	struct log_live *live = os_page_source.resize(NULL, 0, bytes);
	struct error *error = log_read_live(history->log, keyframe, live);

	if (!error && !only_before)
		history_table_reserve(table, count);
	for (uint64_t i = 0; i < count && !error; i++)
		if (!only_before || live[i].kind == RECORD_NONE)
			put_live(table, &live[i]);
	drop_overlaps(table);
	os_page_source.resize(live, bytes, 0);
	return error;
}

static uint64_t keyframe_event(const struct history *history, size_t keyframe)
{
	size_t block = log_keyframe(history->log, keyframe)->block;

	if (block >= log_block_count(history->log))
		return history->events;
	return log_block(history->log, block)->first_event;
}

// Blocks that were there before the recording stand in its first keyframe, as far as it knows them.
// reached: the moment does not lie before it, when some of them may have been freed already.
static struct error *begin_exactly(struct history *history, bool reached,
                                   struct history_table *table, uint64_t *ret_event,
                                   bool *ret_complete)
{
	*ret_event = 0;
	*ret_complete = !history->given.process->attached;
	if (!history->given.process->attached || !log_keyframe_count(history->log))
		return NULL;
	*ret_complete = reached && log_keyframe(history->log, 0)->complete;
	return put_keyframe(history, 0, true, table);
}

// How many keyframes lie at or before the moment.
static size_t keyframes_before(const struct history *history, uint64_t moment)
{
	return first_index(log_keyframe_count(history->log), i,
	                   keyframe_event(history, i) > moment);
}

struct error *history_state_begin(struct history *history, uint64_t moment, bool exact,
                                  struct history_table *table, uint64_t *ret_event,
                                  bool *ret_complete)
{
	size_t keyframe = keyframes_before(history, moment);

	if (exact || !keyframe)
		return begin_exactly(history, keyframe > 0, table, ret_event, ret_complete);
	*ret_event = keyframe_event(history, keyframe - 1);
	*ret_complete = log_keyframe(history->log, keyframe - 1)->complete;
	return put_keyframe(history, keyframe - 1, false, table);
}

static bool apply_piece(void *context, const struct history_piece *piece)
{
	for (size_t i = 0; i < piece->count; i++)
		history_table_apply(context, piece->first + i, &piece->events[i]);
	return true;
}

static int compare_address(const void *a, const void *b)
{
	const struct history_block *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

// The table's own array becomes the answer. What was given ascends already.
static void take_blocks(struct history_table *table, bool ascends, struct history_blocks *ret)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->blocks.n; i++)
		if (ascends || table->blocks.v[i].address)
			table->blocks.v[kept++] = table->blocks.v[i];
	table->blocks.n = kept;
	if (kept && !ascends)
		qsort(table->blocks.v, kept, sizeof(*table->blocks.v), compare_address);
	memcpy(&ret->blocks, &table->blocks, sizeof(ret->blocks));
	memcpy(&ret->mappings, &table->mappings, sizeof(ret->mappings));
	vec_init(&table->blocks, &os_page_source);
	vec_init(&table->mappings, &os_page_source);
}

static void take_given(const struct history *history, struct history_table *table)
{
	for (size_t i = 0; i < history->given.block_count; i++) {
		struct history_block block = block_of_keyframe(&history->given.blocks[i]);

		if (history_is_mapping(block.kind))
			vec_push(&table->mappings, block);
		else
			vec_push(&table->blocks, block);
	}
}

static bool tells_threads(const struct history *history, uint64_t moment)
{
	size_t keyframe = keyframes_before(history, moment);

	return !keyframe || log_keyframe(history->log, keyframe - 1)->has_threads;
}

struct error *history_state_table(struct history *history, uint64_t moment, bool threads,
                                  struct history_table *table, bool *ret_complete)
{
	bool exact = threads && history->log && !tells_threads(history, moment);
	struct history_scan scan = { .last = moment, .piece = apply_piece, .context = table };

	*ret_complete = true;
	if (!history->log) {
		take_given(history, table);
		return NULL;
	}
	TRY(history_state_begin(history, moment, exact, table, &scan.first, ret_complete));
	return history_scan(history, &scan);
}

struct error *history_state_at(struct history *history, uint64_t moment, bool threads,
                               struct history_blocks *ret)
{
	struct history_table table;
	struct error *error;

	*ret = (struct history_blocks){ 0 };
	vec_init(&ret->blocks, &os_page_source);
	vec_init(&ret->mappings, &os_page_source);
	history_table_init(&table);
	error = history_state_table(history, moment, threads, &table, &ret->complete);
	if (!error)
		take_blocks(&table, !history->log, ret);
	history_table_deinit(&table);
	return error;
}

void history_blocks_free(struct history_blocks *blocks)
{
	vec_deinit(&blocks->blocks);
	vec_deinit(&blocks->mappings);
}

// The last of the blocks that begins at or below the address, when it holds it. An empty block holds
// where it begins.
static const struct history_block *holder(const struct history_block *v, size_t count,
                                          uint64_t address)
{
	size_t at = first_index(count, i, v[i].address > address);

	if (!at || !history_holds(&v[at - 1], address))
		return NULL;
	return &v[at - 1];
}

const struct history_block *history_mapping_at(const struct history_blocks *blocks,
                                               uint64_t address)
{
	return holder(blocks->mappings.v, blocks->mappings.n, address);
}

const struct history_block *history_block_at(const struct history_blocks *blocks, uint64_t address)
{
	const struct history_block *block = holder(blocks->blocks.v, blocks->blocks.n, address);

	return block ? block : history_mapping_at(blocks, address);
}
