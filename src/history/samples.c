// SPDX-License-Identifier: MIT
// The samples of the process's and the machine's memory that a recording kept (heapwright record -monitor);
// collect/monitor.c writes them.
#include <stddef.h>
#include <string.h>

#include "history/history_impl.h"

struct member {
	const char *names[3]; // up to the value
	size_t offset;
};

#define AT(member) offsetof(struct history_sample, member)

static const struct member members[] = {
	{ { "process", "footprint_bytes" }, AT(footprint_bytes) },
	{ { "process", "resident_bytes" }, AT(resident_bytes) },
	{ { "process", "swapped_bytes" }, AT(swapped_bytes) },
	{ { "process", "threads" }, AT(threads) },
	{ { "process", "minor_faults" }, AT(soft_faults) },
	{ { "process", "major_faults" }, AT(hard_faults) },
	{ { "process", "pressure", "some_ns" }, AT(stalled_ns) },
	{ { "machine", "available_bytes" }, AT(machine_available_bytes) },
	{ { "machine", "pressure", "some_ns" }, AT(machine_stalled_ns) },
};

static bool is_member(const struct member *member, const struct document_text *keys, size_t depth)
{
	for (size_t i = 0; i < 3; i++)
		if (member->names[i] ? i >= depth || !document_is(keys[i], member->names[i])
		                     : i < depth)
			return false;
	return true;
}

static void take_member(void *context, const struct document_text *keys, size_t depth,
                        struct document_text value)
{
	uint64_t number;

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (is_member(&members[i], keys, depth) && document_number(value, &number))
			memcpy((char *)context + members[i].offset, &number, sizeof(number));
}

static struct error *read_sample(struct history *history, size_t note, struct arena *arena,
                                 struct history_sample *ret)
{
	const char *document;

	memset(ret, 0xff, sizeof(*ret)); // HISTORY_UNKNOWN
	ret->time_ns = log_note(history->log, note)->time_ns;
	TRY(log_read_note(history->log, note, arena, &document));
	document_walk(document, log_note(history->log, note)->bytes, take_member, ret);
	return NULL;
}

struct error *history_samples(struct history *history, uint64_t first, uint64_t last,
                              struct arena *arena, const struct history_sample **ret,
                              size_t *ret_count)
{
	size_t notes = history->log ? log_note_count(history->log) : 0, count = 0;
	struct history_sample *samples = arena_array(arena, notes + 1, sizeof(*samples));
	uint64_t first_ns, last_ns;

	TRY(history_time(history, first, &first_ns));
	TRY(history_time(history, last, &last_ns));
	if (!first) // samples may come before the first event, and after the last one
		first_ns = 0;
	if (last >= history->events)
		last_ns = UINT64_MAX;
	for (size_t i = 0; i < notes; i++) {
		const struct log_note *note = log_note(history->log, i);

		if (note->kind == LOG_NOTE_MONITOR && note->time_ns >= first_ns &&
		    note->time_ns <= last_ns)
			TRY(read_sample(history, i, arena, &samples[count++]));
	}
	*ret = samples;
	*ret_count = count;
	return NULL;
}
