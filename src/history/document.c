// SPDX-License-Identifier: MIT
// A walk over the JSON documents that tools left in a log. They are foreign: what is no such document has
// no members, and what is nested deeper than any of ours is left out. Called by leaks.c and samples.c.
#include <string.h>

#include "history/history_impl.h"

struct walk {
	const char *at, *end;
	struct document_text keys[DOCUMENT_DEPTH];
	size_t depth;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// The string that begins at the quote; its contents as they stand. One that does not end is empty.
static struct document_text take_string(struct walk *walk)
{
	const char *start = ++walk->at;

	for (; walk->at < walk->end; walk->at++) {
		if (*walk->at == '"')
			return (struct document_text){ start, (size_t)(walk->at++ - start) };
		if (*walk->at == '\\')
			walk->at++;
	}
	walk->at = walk->end;
	return (struct document_text){ start, 0 };
}

static struct document_text take_word(struct walk *walk)
{
	const char *start = walk->at++;

	while (walk->at < walk->end && !is_space(*walk->at) && !strchr(",]}:[{\"", *walk->at))
		walk->at++;
	return (struct document_text){ start, (size_t)(walk->at - start) };
}

static bool is_key(struct walk *walk)
{
	while (walk->at < walk->end && is_space(*walk->at))
		walk->at++;
	return walk->at < walk->end && *walk->at == ':';
}

static void enter(struct walk *walk)
{
	if (walk->depth < DOCUMENT_DEPTH)
		walk->keys[walk->depth] = (struct document_text){ "", 0 };
	walk->depth++;
	walk->at++;
}

static void leave(struct walk *walk)
{
	walk->depth -= walk->depth > 0;
	walk->at++;
}

void document_walk(const char *text, size_t bytes, document_member_fn *tell, void *context)
{
	struct walk walk = { .at = text, .end = text + bytes };

	while (walk.at < walk.end) {
		struct document_text value;
		bool is_string = *walk.at == '"', known;

		if (*walk.at == '{' || *walk.at == '[') {
			enter(&walk);
			continue;
		}
		if (*walk.at == '}' || *walk.at == ']') {
			leave(&walk);
			continue;
		}
		if (is_space(*walk.at) || *walk.at == ',' || *walk.at == ':') {
			walk.at++;
			continue;
		}
		value = is_string ? take_string(&walk) : take_word(&walk);
		known = walk.depth && walk.depth <= DOCUMENT_DEPTH;
		if (known && is_string && is_key(&walk))
			walk.keys[walk.depth - 1] = value;
		else if (known)
			tell(context, walk.keys, walk.depth, value);
	}
}

bool document_is(struct document_text text, const char *word)
{
	return text.bytes == strlen(word) && memcmp(text.at, word, text.bytes) == 0;
}

bool document_number(struct document_text text, uint64_t *ret)
{
	char digits[24];

	if (text.bytes >= sizeof(digits))
		return false;
	memcpy(digits, text.at, text.bytes);
	digits[text.bytes] = '\0';
	return !text_parse_u64(digits, ret);
}
