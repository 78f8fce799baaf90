// SPDX-License-Identifier: MIT
// The leak checks that were made beside a recording: documents of leaks (docs/schema/leaks.json), of which
// the addresses are taken. The document is foreign; what is no such document has no addresses.
#include <stdlib.h>
#include <string.h>

#include "history/history_impl.h"

struct found {
	uint64_t *addresses;
	size_t count;
};

// The member "address" of the objects in the array "leaks" of the document.
static void take_address(void *context, const struct document_text *keys, size_t depth,
                         struct document_text value)
{
	struct found *found = context;
	uint64_t address;

	if (depth == 3 && document_is(keys[0], "leaks") && document_is(keys[2], "address") &&
	    document_number(value, &address))
		found->addresses[found->count++] = address;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct error *history_leaks(struct history *history, uint64_t moment, struct arena *arena,
                            const uint64_t **ret, size_t *ret_count, uint64_t *ret_ns)
{
	size_t note = history->log ? log_note_count(history->log) : 0, bytes;
	const char *document;
	struct found found;
	uint64_t time_ns;

	TRY(history_time(history, moment, &time_ns));
	while (note && (log_note(history->log, note - 1)->kind != LOG_NOTE_LEAKS ||
	                log_note(history->log, note - 1)->time_ns > time_ns))
		note--;
	if (!note)
		return error_new(ERROR_NOT_FOUND, "no leaks were looked for while this was "
		                                  "recorded (heapwright record -leaks-every)");
	TRY(log_read_note(history->log, note - 1, arena, &document));
	bytes = log_note(history->log, note - 1)->bytes;
	// An address takes at least 15 bytes of text, which bounds their number.
	found = (struct found){ arena_array(arena, bytes / 8 + 1, sizeof(*found.addresses)), 0 };
	document_walk(document, bytes, take_address, &found);
	qsort(found.addresses, found.count, sizeof(*found.addresses), compare);
	*ret = found.addresses;
	*ret_count = found.count;
	*ret_ns = log_note(history->log, note - 1)->time_ns;
	return NULL;
}
