// SPDX-License-Identifier: MIT
// A mark from outside: a slot of the shared header, which the collector empties. Called by tools.
#include "collect/collect_impl.h"

#include <stdio.h>
#include <string.h>

static void set_name(struct record_mark *mark, const char *name, uint32_t number)
{
	memset(mark->name, 0, sizeof(mark->name));
	if (name)
		memcpy(mark->name, name, strnlen(name, sizeof(mark->name) - 1));
	else
		snprintf(mark->name, sizeof(mark->name), "mark %u", number + 1);
}

struct error *collect_mark(int process, const char *name)
{
	struct collect_share share;
	struct collect_clock clock;
	struct record_mark *mark;
	struct error *error = NULL;
	uint64_t ticks;
	uint32_t number;

	TRY(collect_share_open(process, -1, &share));
	collect_clock_init(&clock, &share);
	ticks = collect_clock_ticks(&clock);
	number = __atomic_fetch_add(&share.header->mark_count, 1, __ATOMIC_SEQ_CST);
	mark = &share.header->marks[number % RECORD_MARKS];
	if (collect_load_64(&mark->ticks))
		error = error_new(ERROR_UNSUPPORTED,
		                  "process %d has %d marks that nobody has written yet", process,
		                  RECORD_MARKS);
	if (!error) {
		set_name(mark, name, number);
		__atomic_store_n(&mark->ticks, ticks ? ticks : 1, __ATOMIC_RELEASE);
	}
	collect_share_close(&share);
	return error;
}
