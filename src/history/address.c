// SPDX-License-Identifier: MIT
// The blocks that an address belonged to. A free names only where a block begins: when blocks held the
// address that begin elsewhere, the log is searched once more, for what happened at those beginnings. The
// log's filters leave out most of it undecoded.
#include <string.h>

#include "history/history_impl.h"

struct search {
	const struct log_reader *log;
	struct arena *arena;
	uint64_t address; // that is asked for
	VEC(uint64_t) starts;
	VEC(struct history_life) lives;
};

static bool wants(void *context, size_t block)
{
	const struct search *search = context;

	return log_block_may_hold(search->log, block, search->starts.v, search->starts.n);
}

static bool event_holds(const struct log_event *event, uint64_t address)
{
	return event->address == address || address - event->address < event->bytes;
}

static void add_start(struct search *search, uint64_t start)
{
	for (size_t i = 0; i < search->starts.n; i++)
		if (search->starts.v[i] == start)
			return;
	vec_push(&search->starts, start);
}

static bool is_start(const struct search *search, uint64_t address)
{
	for (size_t i = 0; i < search->starts.n; i++)
		if (search->starts.v[i] == address)
			return true;
	return false;
}

// Ends the block of the kind (heap or mapping) that is still there.
static void end_life(struct search *search, bool mapping, uint64_t start, uint64_t number,
                     const struct log_event *event)
{
	for (size_t i = search->lives.n; i-- > 0;) {
		struct history_life *life = &search->lives.v[i];

		if (life->end_event != HISTORY_BEFORE ||
		    history_is_mapping(life->block.kind) != mapping ||
		    (!mapping && life->block.address != start))
			continue;
		life->end_event = number;
		life->end_ns = event->time_ns;
		life->end_node = event->node;
		life->end_thread = event->thread;
		life->end_kind = event->kind;
		life->type = event->type;
		return;
	}
}

static void begin_life(struct search *search, const struct history_block *block)
{
	*vec_add(&search->lives) = (struct history_life){
		.block = *block,
		.end_event = HISTORY_BEFORE,
		.end_ns = HISTORY_BEFORE,
		.end_thread = HISTORY_NO_THREAD,
	};
}

static void follow_heap(struct search *search, uint64_t number, const struct log_event *event)
{
	struct history_block made = history_block_made(number, event);

	if (history_is_free(event->kind)) {
		if (is_start(search, event->address))
			end_life(search, false, event->address, number, event);
	} else if (event_holds(event, search->address)) {
		add_start(search, event->address);
		begin_life(search, &made);
	}
}

static void follow_mapping(struct search *search, uint64_t number, const struct log_event *event)
{
	struct history_block made = history_block_made(number, event);

	if (event->extra & RECORD_FAILED || !event_holds(event, search->address))
		return;
	end_life(search, true, 0, number, event);
	if (event->kind == RECORD_MAP)
		begin_life(search, &made);
}

static bool follow(void *context, const struct history_piece *piece)
{
	for (size_t i = 0; i < piece->count; i++) {
		const struct log_event *event = &piece->events[i];

		if (history_is_allocation(event->kind) || history_is_free(event->kind))
			follow_heap(context, piece->first + i, event);
		else if (history_is_mapping(event->kind))
			follow_mapping(context, piece->first + i, event);
	}
	return true;
}

// What was there before the first event.
static struct error *look_before(struct history *history, struct search *search)
{
	struct history_table table;
	uint64_t first = 0;
	bool complete;
	struct error *error;

	history_table_init(&table);
	error = history_state_begin(history, 0, true, &table, &first, &complete);
	for (size_t i = 0; i < table.blocks.n && !error; i++)
		if (table.blocks.v[i].address &&
		    history_holds(&table.blocks.v[i], search->address)) {
			add_start(search, table.blocks.v[i].address);
			begin_life(search, &table.blocks.v[i]);
		}
	history_table_deinit(&table);
	return error;
}

static struct error *search_log(struct history *history, struct search *search, uint64_t last)
{
	struct history_scan scan = {
		.last = last, .wants = wants, .piece = follow, .context = search
	};
	size_t starts;

	add_start(search, search->address);
	do {
		starts = search->starts.n;
		search->lives.n = 0;
		if (history->given.process->attached)
			TRY(look_before(history, search));
		TRY(history_scan(history, &scan));
	} while (search->starts.n > starts && starts == 1);
	return NULL;
}

static struct error *search_given(struct history *history, struct search *search)
{
	struct history_blocks blocks;
	const struct history_block *block;

	TRY(history_state_at(history, HISTORY_END, false, &blocks));
	block = history_block_at(&blocks, search->address);
	if (block)
		begin_life(search, block);
	history_blocks_free(&blocks);
	return NULL;
}

struct error *history_of_address(struct history *history, uint64_t address, uint64_t first,
                                 uint64_t last, struct arena *arena,
                                 const struct history_life **ret, size_t *ret_count)
{
	struct search search = { .log = history->log, .arena = arena, .address = address };
	struct history_life *lives;
	struct error *error;
	size_t n = 0;

	vec_init(&search.starts, &os_page_source);
	vec_init(&search.lives, &os_page_source);
	error = history->log ? search_log(history, &search, last) : search_given(history, &search);
	lives = arena_array(arena, search.lives.n, sizeof(*lives));
	for (size_t i = 0; i < search.lives.n; i++)
		if (search.lives.v[i].end_event >= first)
			lives[n++] = search.lives.v[i];
	*ret = lives;
	*ret_count = n;
	vec_deinit(&search.starts);
	vec_deinit(&search.lives);
	return error;
}
