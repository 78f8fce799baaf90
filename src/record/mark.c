// SPDX-License-Identifier: MIT
// A mark that the program makes: an event whose text follows it, or, where no events are written (lite
// mode), an entry of the header's table as tools make them. Called by interpose and entry, whose
// heapwright_mark (include/heapwright/mark.h) the program calls.
#include <string.h>

#include "record/record_impl.h"

// Nobody empties the table in lite mode: what is in it stays.
static void put_in_table(const char *name)
{
	uint32_t number = __atomic_fetch_add(&record_header->mark_count, 1, __ATOMIC_RELAXED);
	struct record_mark *mark = &record_header->marks[number % RECORD_MARKS];
	uint64_t now = record_now();

	if (number >= RECORD_MARKS)
		return;
	memcpy(mark->name, name, strnlen(name, sizeof(mark->name) - 1));
	__atomic_store_n(&mark->ticks, now ? now : 1, __ATOMIC_RELEASE);
}

void record_mark(const char *name, const struct record_position *at)
{
	struct record_thread *self;

	if (!record_header || !record_gate->open || !name)
		return;
	if (record_header->mode == RECORD_LITE) {
		put_in_table(name);
		return;
	}
	self = record_thread_enter(at);
	if (!self) {
		record_thread_aside(RECORD_MARK, 0, 0, 0, at);
		return;
	}
	record_event_append_text(self, RECORD_MARK, 0, 0, record_unwinder_node(self->unwinder, at),
	                         0, name);
	record_thread_leave(self);
}
