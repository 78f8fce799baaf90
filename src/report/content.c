// SPDX-License-Identifier: MIT
// The contents of a block as a short printable text (report.h).
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "report/report.h"

#define MOST_SHOWN     40
#define FEWEST_LETTERS 4

// Length of the text at the start of bytes: letters up to a NUL or the end; 0 when it is no text.
static size_t text_length(const char *bytes, size_t n, bool *ret_ended)
{
	size_t i = 0;

	while (i < n &&
	       ((bytes[i] >= 32 && bytes[i] < 127) || bytes[i] == '\n' || bytes[i] == '\t'))
		i++;
	*ret_ended = i < n;
	if (i < FEWEST_LETTERS || (i < n && bytes[i]))
		return 0;
	return i;
}

static char *put_escaped(char *out, char c)
{
	if (c == '\n' || c == '\t') {
		*out++ = '\\';
		c = c == '\n' ? 'n' : 't';
	} else if (c == '"' || c == '\\') {
		*out++ = '\\';
	}
	*out++ = c;
	return out;
}

const char *report_block_text(struct look *look, uint32_t block)
{
	const struct heap_block *b = &look->heaps->blocks[block];
	size_t n = b->hb_size < MOST_SHOWN + 1 ? b->hb_size : MOST_SHOWN + 1;
	char bytes[MOST_SHOWN + 1], *text, *out;
	bool ended;

	n = target_read_some(look->target, b->hb_address, bytes, n);
	n = text_length(bytes, n, &ended);
	if (!n)
		return NULL;
	out = text = arena_alloc(look->arena, 2 * MOST_SHOWN + 8);
	*out++ = '"';
	for (size_t i = 0; i < n && i < MOST_SHOWN; i++)
		out = put_escaped(out, bytes[i]);
	strcpy(out, ended || n <= MOST_SHOWN ? "\"" : "\"...");
	return text;
}
