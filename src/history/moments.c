// SPDX-License-Identifier: MIT
// Moments of a recording: its marks, times, gaps, and when the heap was biggest.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "history/history_impl.h"

#define MOST_LISTED 20

// --- marks ---------------------------------------------------------------------------------------
struct mark_search {
	struct history *history;
	const struct log_text *texts; // of the block that is looked at
	size_t text_count;
	struct error *error;
};

// Marks have texts; blocks without texts need not be decoded.
static bool has_texts(void *context, size_t block)
{
	struct mark_search *search = context;
	struct error *error = log_read_texts(search->history->log, block, &search->history->arena,
	                                     &search->texts, &search->text_count);

	if (error)
		search->error = error;
	return !error && search->text_count;
}

static bool collect_marks(void *context, const struct history_piece *piece)
{
	struct mark_search *search = context;
	struct history *history = search->history;

	if (!has_texts(search, piece->block))
		return false;
	for (size_t i = 0; i < search->text_count; i++) {
		uint64_t number = search->texts[i].event;
		const struct log_event *event;

		if (number - piece->first >= piece->count)
			continue;
		event = &piece->events[number - piece->first];
		if (event->kind != RECORD_MARK)
			continue;
		*vec_add(&history->marks) = (struct history_mark){
			.event = number,
			.time_ns = event->time_ns,
			.name = text_printable(&history->arena, search->texts[i].text),
			.node = event->node,
			.thread = event->thread,
		};
	}
	return true;
}

struct error *history_marks(struct history *history, const struct history_mark **ret,
                            size_t *ret_count)
{
	struct mark_search search = { .history = history };

	if (history->log && !history->has_marks) {
		TRY(history_scan(history, &(struct history_scan){ .last = HISTORY_END,
		                                                  .wants = has_texts,
		                                                  .piece = collect_marks,
		                                                  .context = &search }));
		if (search.error)
			return search.error;
		history->has_marks = true;
	}
	*ret = history->marks.v;
	*ret_count = history->marks.n;
	return NULL;
}

// --- gaps ----------------------------------------------------------------------------------------
struct gap_search {
	const struct log_reader *log;
	struct arena *arena;
	struct history_gap *gaps;
	size_t n, capacity;
	uint64_t lost;
};

static bool has_gaps(void *context, size_t block)
{
	const struct gap_search *search = context;

	return log_block(search->log, block)->lost;
}

static void add_gap(struct gap_search *search, const struct history_gap *gap)
{
	if (search->n == search->capacity) {
		struct history_gap *more =
			arena_array(search->arena, 2 * search->n + 16, sizeof(*more));

		if (search->n)
			memcpy(more, search->gaps, search->n * sizeof(*more));
		search->gaps = more;
		search->capacity = 2 * search->n + 16;
	}
	search->gaps[search->n++] = *gap;
	search->lost += gap->lost;
}

static bool collect_gaps(void *context, const struct history_piece *piece)
{
	for (size_t i = 0; i < piece->count; i++) {
		const struct log_event *event = &piece->events[i];

		if (event->kind == RECORD_GAP)
			add_gap(context,
			        &(struct history_gap){ piece->first + i, event->time_ns,
			                               event->bytes, event->thread, event->extra });
	}
	return true;
}

struct error *history_gaps(struct history *history, uint64_t first, uint64_t last,
                           const struct history_gap **ret, size_t *ret_count, uint64_t *ret_lost)
{
	struct gap_search search = { .log = history->log, .arena = &history->arena };

	*ret = NULL;
	*ret_count = 0;
	*ret_lost = 0;
	if (!history->log)
		return NULL;
	TRY(history_scan(history, &(struct history_scan){ .first = first,
	                                                  .last = last,
	                                                  .wants = has_gaps,
	                                                  .piece = collect_gaps,
	                                                  .context = &search }));
	*ret = search.gaps;
	*ret_count = search.n;
	*ret_lost = search.lost;
	return NULL;
}

// --- times ---------------------------------------------------------------------------------------
struct time_search {
	uint64_t time_ns;
	uint64_t found; // the first event behind it
};

static bool find_time(void *context, const struct history_piece *piece)
{
	struct time_search *search = context;

	search->found = piece->first + piece->count;
	for (size_t i = 0; i < piece->count; i++)
		if (piece->events[i].time_ns > search->time_ns) {
			search->found = piece->first + i;
			break;
		}
	return false;
}

// The moment after all events up to a time.
static struct error *moment_of_time(struct history *history, uint64_t time_ns, uint64_t *ret)
{
	struct time_search search = { time_ns, 0 };
	size_t at = first_index(log_block_count(history->log), i,
	                        log_block(history->log, i)->last_ns > time_ns);

	if (at == log_block_count(history->log)) {
		*ret = HISTORY_END;
		return NULL;
	}
	TRY(history_scan(history,
	                 &(struct history_scan){ .first = log_block(history->log, at)->first_event,
	                                         .last = HISTORY_END,
	                                         .piece = find_time,
	                                         .context = &search }));
	*ret = search.found;
	return NULL;
}

struct at_event {
	uint64_t time_ns;
};

static bool take_time(void *context, uint64_t number, const struct log_event *event)
{
	struct at_event *at = context;

	(void)number;
	at->time_ns = event->time_ns;
	return false;
}

struct error *history_time(struct history *history, uint64_t event, uint64_t *ret_ns)
{
	struct at_event at = { history_end_ns(history) };

	if (event < history->events)
		TRY(history_each_event(history, event, event + 1, take_time, &at));
	*ret_ns = at.time_ns;
	return NULL;
}

// --- by name -------------------------------------------------------------------------------------
static struct error *no_such_mark(struct history *history, const char *name)
{
	const struct history_mark *marks;
	char list[300] = "";
	size_t count, used = 0;

	TRY(history_marks(history, &marks, &count));
	for (size_t i = 0; i < count && i < MOST_LISTED && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s'%s'", i ? ", " : "",
		                         marks[i].name);
	if (!count)
		return error_new(ERROR_NOT_FOUND, "there is no mark '%s': the recording has none",
		                 text_printable(&history->arena, name));
	return error_new(ERROR_NOT_FOUND, "there is no mark '%s'; there are %s",
	                 text_printable(&history->arena, name), list);
}

// "+12.5s", "-2s": seconds, with or without the s.
static bool parse_time(const struct history *history, const char *text, uint64_t *ret_ns)
{
	char digits[32];
	size_t n = strlen(text + 1);
	uint64_t ns, end_ns = history_end_ns(history);

	if ((text[0] != '+' && text[0] != '-') || !n || n >= sizeof(digits))
		return false;
	memcpy(digits, text + 1, n + 1);
	if (digits[n - 1] == 's')
		digits[n - 1] = '\0';
	if (text_parse_seconds(digits, &ns))
		return false;
	*ret_ns = text[0] == '+' ? ns : ns < end_ns ? end_ns - ns : 0;
	return true;
}

// Marks are looked for last: that reads the whole log.
struct error *history_moment(struct history *history, const char *name, uint64_t *ret)
{
	const struct history_mark *marks;
	uint64_t number, bytes;
	size_t count;

	TRY(history_needs_events(history));
	*ret = 0;
	if (!strcmp(name, "start"))
		return NULL;
	if (!strcmp(name, "peak"))
		return history_peak(history, 0, HISTORY_END, ret, &bytes);
	if (parse_time(history, name, &number))
		return moment_of_time(history, number, ret);
	*ret = HISTORY_END;
	if (!strcmp(name, "end") || (name[0] == '#' && !text_parse_u64(name + 1, ret)))
		return NULL;
	TRY(history_marks(history, &marks, &count));
	while (count--)
		if (!strcmp(marks[count].name, name)) {
			*ret = marks[count].event;
			return NULL;
		}
	return no_such_mark(history, name);
}

// --- the peak ------------------------------------------------------------------------------------
struct peak_search {
	struct history_table table;
	uint64_t first;
	uint64_t moment, bytes;
};

static bool follow_peak(void *context, const struct history_piece *piece)
{
	struct peak_search *search = context;

	for (size_t i = 0; i < piece->count; i++) {
		history_table_apply(&search->table, piece->first + i, &piece->events[i]);
		if (piece->first + i >= search->first && search->table.live_bytes > search->bytes) {
			search->bytes = search->table.live_bytes;
			search->moment = piece->first + i + 1;
		}
	}
	return true;
}

// A part of the recording: followed event by event from the keyframe before it.
static struct error *peak_within(struct history *history, uint64_t first, uint64_t last,
                                 uint64_t *ret, uint64_t *ret_bytes)
{
	struct peak_search search = { .first = first, .moment = first };
	struct history_scan scan = { .last = last, .piece = follow_peak, .context = &search };
	struct error *error;
	bool complete;

	history_table_init(&search.table);
	error = history_state_begin(history, first, false, &search.table, &scan.first, &complete);
	if (!error)
		error = history_scan(history, &scan);
	history_table_deinit(&search.table);
	*ret = search.moment;
	*ret_bytes = search.bytes;
	return error;
}

struct error *history_peak(struct history *history, uint64_t first, uint64_t last, uint64_t *ret,
                           uint64_t *ret_bytes)
{
	*ret = 0;
	*ret_bytes = 0;
	TRY(history_needs_events(history));
	if (first || last < history->events)
		return peak_within(history, first, last, ret, ret_bytes);
	for (size_t i = 0; i < log_block_count(history->log); i++) {
		const struct log_summary *summary = log_block(history->log, i);

		if (summary->peak_bytes <= *ret_bytes)
			continue;
		*ret_bytes = summary->peak_bytes;
		*ret = summary->first_event + summary->peak_event + 1;
	}
	return NULL;
}
