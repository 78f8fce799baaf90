// SPDX-License-Identifier: MIT
// The heap over time. The summaries of a long log's blocks are points enough; a short one is followed.
#include "history/history_impl.h"

struct series {
	struct history_table table;
	uint64_t every; // events
	void (*each)(void *context, const struct history_point *point);
	void *context;
};

static uint64_t mapped_bytes(const struct history_table *table)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < table->mappings.n; i++)
		bytes += table->mappings.v[i].bytes;
	return bytes;
}

static bool follow(void *context, const struct history_piece *piece)
{
	struct series *series = context;

	for (size_t i = 0; i < piece->count; i++) {
		uint64_t number = piece->first + i;

		history_table_apply(&series->table, number, &piece->events[i]);
		if (number % series->every && i + 1 < piece->count)
			continue;
		series->each(series->context,
		             &(struct history_point){
				     number, piece->events[i].time_ns, series->table.live_count,
				     series->table.live_bytes, mapped_bytes(&series->table) });
	}
	return true;
}

static struct error *follow_all(struct history *history, struct series *series)
{
	struct history_scan scan = { .last = HISTORY_END, .piece = follow, .context = series };
	struct error *error;
	bool complete;

	history_table_init(&series->table);
	error = history_state_begin(history, 0, true, &series->table, &scan.first, &complete);
	if (!error)
		error = history_scan(history, &scan);
	history_table_deinit(&series->table);
	return error;
}

static bool apply(void *context, const struct history_piece *piece)
{
	for (size_t i = 0; i < piece->count; i++)
		history_table_apply(context, piece->first + i, &piece->events[i]);
	return true;
}

struct error *history_follow(struct history *history, uint64_t last,
                             void (*made)(void *context, const struct history_block *block),
                             void (*died)(void *context, const struct history_block *block,
                                          const struct log_event *death, uint64_t number),
                             void *context)
{
	struct history_table table;
	struct history_scan scan = { .last = last, .piece = apply, .context = &table };
	struct error *error;
	bool complete;

	TRY(history_needs_events(history));
	history_table_init(&table);
	error = history_state_begin(history, 0, true, &table, &scan.first, &complete);
	table.made = made;
	table.died = died;
	table.context = context;
	if (!error)
		error = history_scan(history, &scan);
	history_table_deinit(&table);
	return error;
}

struct error *history_series(struct history *history, size_t most,
                             void (*each)(void *context, const struct history_point *point),
                             void *context)
{
	struct series series = { .every = 1, .each = each, .context = context };
	size_t blocks;

	TRY(history_needs_events(history));
	blocks = log_block_count(history->log);
	if (most && history->events > most)
		series.every = history->events / most;
	if (blocks < most / 16)
		return follow_all(history, &series);
	for (size_t i = 0; i < blocks; i++) {
		const struct log_summary *summary = log_block(history->log, i);

		each(context, &(struct history_point){ summary->first_event + summary->events - 1,
		                                       summary->last_ns, summary->live_blocks,
		                                       summary->live_bytes, summary->map_bytes });
	}
	return NULL;
}
