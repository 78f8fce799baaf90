// SPDX-License-Identifier: MIT
// The blocks that an address belonged to. A free names only where a block begins: when blocks held the
// address that begin elsewhere, the log is searched once more, for frees of those beginnings, from where such a
// block was made to where its end is found, as far as the first search did not look there. The log's filters
// leave out most of it undecoded.
#include <string.h>

#include "history/history_impl.h"

#define MARKS 4096
#define NEAR_BYTES \
	((uint64_t)128 << 10) // blocks above malloc's threshold lie in mappings of their own

struct search {
	const struct log_reader *log;
	struct arena *arena;
	uint64_t address; // that is asked for
	struct log_about about;
	VEC(uint64_t) starts;
	size_t first_starts;              // those that the first search began with
	uint64_t first_near_bytes;        // it saw frees of blocks that begin nearer to the address
	uint64_t start_marks[MARKS / 64]; // of all starts: most events are about none of them
	VEC(struct history_life) lives;
};

static bool wants(void *context, size_t block)
{
	const struct search *search = context;

	return log_block_may_hold(search->log, block, search->starts.v, search->starts.n);
}

// Whether the end of the life, or an earlier one than was found, may be there. Once it is found the rest is
// not asked for: blocks are asked for while the search goes on.
static bool may_end_in(const struct search *search, const struct history_life *life, size_t block)
{
	const struct log_summary *summary = log_block(search->log, block);
	uint64_t made = life->block.event == HISTORY_BEFORE ? 0 : life->block.event;

	return !history_is_mapping(life->block.kind) &&
	       made < summary->first_event + summary->events &&
	       life->end_event > summary->first_event &&
	       log_block_may_hold(search->log, block, &life->block.address, 1);
}

// The first search did not see frees of blocks that begin far before the address.
static bool is_far(const struct search *search, const struct history_life *life)
{
	return search->address - life->block.address >= search->first_near_bytes;
}

static bool wants_rest(void *context, size_t block)
{
	const struct search *search = context;
	bool may_end = false;

	for (size_t i = 0; i < search->lives.n; i++) {
		const struct history_life *life = &search->lives.v[i];

		if ((may_end && !is_far(search, life)) || !may_end_in(search, life, block))
			continue;
		if (is_far(search, life))
			return true;
		may_end = true;
	}
	return may_end &&
	       !log_block_may_hold(search->log, block, search->starts.v, search->first_starts);
}

static size_t mark_of(uint64_t start)
{
	return (size_t)(start * 0x9e3779b97f4a7c15u >> 32) % MARKS;
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
	search->start_marks[mark_of(start) / 64] |= UINT64_C(1) << mark_of(start) % 64;
}

static bool is_start(const struct search *search, uint64_t address)
{
	if (!(search->start_marks[mark_of(address) / 64] >> mark_of(address) % 64 & 1))
		return false;
	for (size_t i = 0; i < search->starts.n; i++)
		if (search->starts.v[i] == address)
			return true;
	return false;
}

static void set_end(struct history_life *life, uint64_t number, const struct log_event *event)
{
	life->end_event = number;
	life->end_ns = event->time_ns;
	life->end_node = event->node;
	life->end_thread = event->thread;
	life->end_kind = event->kind;
	life->type = event->type;
}

// Ends the last block that was made there, unless it has ended earlier. In the second search the block
// may have got a later free, of another block in its place.
static void end_block(struct search *search, uint64_t number, const struct log_event *event)
{
	for (size_t i = search->lives.n; i-- > 0;) {
		struct history_life *life = &search->lives.v[i];
		uint64_t made = life->block.event == HISTORY_BEFORE ? 0 : life->block.event;

		if (history_is_mapping(life->block.kind) || life->block.address != event->address ||
		    made > number)
			continue;
		if (life->end_event > number) // HISTORY_BEFORE is above all
			set_end(life, number, event);
		return;
	}
}

static void end_mapping(struct search *search, uint64_t number, const struct log_event *event)
{
	for (size_t i = search->lives.n; i-- > 0;) {
		struct history_life *life = &search->lives.v[i];

		if (life->end_event != HISTORY_BEFORE || !history_is_mapping(life->block.kind))
			continue;
		set_end(life, number, event);
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
	struct history_block made;

	if (history_is_free(event->kind)) {
		if (is_start(search, event->address))
			end_block(search, number, event);
	} else if (event_holds(event, search->address)) {
		made = history_block_made(number, event);
		add_start(search, event->address);
		begin_life(search, &made);
	}
}

static void follow_mapping(struct search *search, uint64_t number, const struct log_event *event)
{
	struct history_block made = history_block_made(number, event);

	if (event->extra & RECORD_FAILED || !event_holds(event, search->address))
		return;
	end_mapping(search, number, event);
	if (event->kind == RECORD_MAP)
		begin_life(search, &made);
}

static bool follow(void *context, const struct history_piece *piece)
{
	for (size_t i = 0; i < piece->count; i++) {
		const struct log_event *event = &piece->events[i];
		uint64_t number = history_piece_number(piece, i);

		if (history_is_allocation(event->kind) || history_is_free(event->kind))
			follow_heap(context, number, event);
		else if (history_is_mapping(event->kind))
			follow_mapping(context, number, event);
	}
	return true;
}

static bool follow_frees(void *context, const struct history_piece *piece)
{
	for (size_t i = 0; i < piece->count; i++)
		if (history_is_free(piece->events[i].kind))
			follow_heap(context, history_piece_number(piece, i), &piece->events[i]);
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

// Frees of all starts are to be seen.
static void reach_starts(struct search *search)
{
	for (size_t i = 0; i < search->starts.n; i++) {
		uint64_t distance = search->address - search->starts.v[i];

		if (distance >= search->about.near_bytes)
			search->about.near_bytes = distance + 1;
	}
}

static struct error *search_log(struct history *history, struct search *search, uint64_t last)
{
	struct history_scan scan = { .last = last,
		                     .wants = wants,
		                     .about = &search->about,
		                     .piece = follow,
		                     .context = search };

	search->about = (struct log_about){ search->address, NEAR_BYTES };
	add_start(search, search->address);
	if (history->given.process->attached)
		TRY(look_before(history, search));
	search->first_starts = search->starts.n;
	reach_starts(search);
	search->first_near_bytes = search->about.near_bytes;
	TRY(history_scan(history, &scan));
	if (search->starts.n == search->first_starts)
		return NULL;
	reach_starts(search);
	scan.wants = wants_rest;
	scan.piece = follow_frees;
	return history_scan(history, &scan);
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
