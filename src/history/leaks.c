// SPDX-License-Identifier: MIT
// The leak checks that were made beside a recording: documents of leaks (docs/schema/leaks.json), of which
// the addresses are taken. The document is foreign; what is no such document has no addresses.
#include <stdlib.h>
#include <string.h>

#include "history/history_impl.h"

struct text {
	const char *at, *end;
};

// The string that begins at the quote; its contents as they stand. NULL when it does not end.
static const char *take_string(struct text *text, size_t *ret_bytes)
{
	const char *start = ++text->at;

	for (; text->at < text->end; text->at++) {
		if (*text->at == '"') {
			*ret_bytes = (size_t)(text->at++ - start);
			return start;
		}
		if (*text->at == '\\')
			text->at++;
	}
	text->at = text->end;
	return NULL;
}

static bool is_word(const char *string, size_t bytes, const char *word)
{
	return string && bytes == strlen(word) && memcmp(string, word, bytes) == 0;
}

static void take_address(const char *string, size_t bytes, uint64_t *addresses, size_t *count)
{
	char digits[24];
	uint64_t address;

	if (!string || bytes >= sizeof(digits))
		return;
	memcpy(digits, string, bytes);
	digits[bytes] = '\0';
	if (!text_parse_u64(digits, &address))
		addresses[(*count)++] = address;
}

// The member "address" of the objects in the array "leaks" of the document. An address takes at least 15
// bytes of text, which bounds their number.
static size_t take_addresses(struct text text, uint64_t *addresses)
{
	const char *key = NULL, *string;
	size_t key_bytes = 0, bytes = 0, depth = 0, inside = 0, count = 0;

	while (text.at < text.end) {
		char c = *text.at;

		if (c == '"') {
			string = take_string(&text, &bytes);
			if (inside && depth == inside + 1 && is_word(key, key_bytes, "address"))
				take_address(string, bytes, addresses, &count);
			key = string;
			key_bytes = bytes;
			continue;
		}
		if (c == '[' && depth == 1 && is_word(key, key_bytes, "leaks"))
			inside = depth + 1;
		depth += c == '{' || c == '[';
		depth -= (c == '}' || c == ']') && depth;
		if (depth < inside)
			inside = 0;
		if (c == ',')
			key = NULL;
		text.at++;
	}
	return count;
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
	uint64_t time_ns, *addresses;
	const char *document;

	TRY(history_time(history, moment, &time_ns));
	while (note && (log_note(history->log, note - 1)->kind != LOG_NOTE_LEAKS ||
	                log_note(history->log, note - 1)->time_ns > time_ns))
		note--;
	if (!note)
		return error_new(ERROR_NOT_FOUND, "no leaks were looked for while this was "
		                                  "recorded (heapwright record -leaks-every)");
	TRY(log_read_note(history->log, note - 1, arena, &document));
	bytes = log_note(history->log, note - 1)->bytes;
	addresses = arena_array(arena, bytes / 8 + 1, sizeof(*addresses));
	*ret_count = take_addresses((struct text){ document, document + bytes }, addresses);
	qsort(addresses, *ret_count, sizeof(*addresses), compare);
	*ret = addresses;
	*ret_ns = log_note(history->log, note - 1)->time_ns;
	return NULL;
}
