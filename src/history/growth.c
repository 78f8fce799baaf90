// SPDX-License-Identifier: MIT
// Generations: what was made between two marks and is still there. One pass over all events; a block's
// generation follows from the number of the event that made it.
#include "history/history_impl.h"

#include "base/search.h"

struct growth {
	struct history_table table;
	struct history_generation *generations;
	size_t count, begun; // begun: how many have begun
};

static void begin_generations(struct growth *growth, uint64_t number)
{
	while (growth->begun < growth->count &&
	       growth->generations[growth->begun].event <= number) {
		struct history_generation *generation = &growth->generations[growth->begun++];

		generation->total_count = growth->table.live_count;
		generation->total_bytes = growth->table.live_bytes;
	}
}

static bool follow(void *context, const struct history_piece *piece)
{
	struct growth *growth = context;

	for (size_t i = 0; i < piece->count; i++) {
		const struct log_event *event = &piece->events[i];

		begin_generations(growth, piece->first + i);
		history_table_apply(&growth->table, piece->first + i, event);
		if (history_is_allocation(event->kind)) {
			growth->generations[growth->begun - 1].made_count++;
			growth->generations[growth->begun - 1].made_bytes += event->bytes;
		}
	}
	return true;
}

static void count_live(struct growth *growth, const struct history_block *block)
{
	size_t at;

	if (!block->address || block->event == HISTORY_BEFORE)
		return;
	at = first_index(growth->count, i, growth->generations[i].event > block->event);
	growth->generations[at - 1].live_count++;
	growth->generations[at - 1].live_bytes += block->bytes;
}

static struct error *run(struct history *history, uint64_t last, struct growth *growth)
{
	struct history_scan scan = { .last = last, .piece = follow, .context = growth };
	bool complete;

	TRY(history_state_begin(history, 0, true, &growth->table, &scan.first, &complete));
	begin_generations(growth, 0);
	TRY(history_scan(history, &scan));
	begin_generations(growth, HISTORY_END);
	for (size_t i = 0; i < growth->table.blocks.n; i++)
		count_live(growth, &growth->table.blocks.v[i]);
	return NULL;
}

struct error *history_growth(struct history *history, uint64_t last, struct arena *arena,
                             const struct history_generation **ret, size_t *ret_count)
{
	struct growth growth = { .count = 1 };
	const struct history_mark *marks;
	struct error *error;
	size_t count;

	TRY(history_needs_events(history));
	TRY(history_marks(history, &marks, &count));
	growth.generations = arena_array(arena, count + 1, sizeof(*growth.generations));
	growth.generations[0].name = "start";
	for (size_t i = 0; i < count && marks[i].event < last; i++)
		growth.generations[growth.count++] = (struct history_generation){
			.name = marks[i].name, .event = marks[i].event, .time_ns = marks[i].time_ns
		};
	history_table_init(&growth.table);
	error = run(history, last, &growth);
	history_table_deinit(&growth.table);
	*ret = growth.generations;
	*ret_count = growth.count;
	return error;
}
