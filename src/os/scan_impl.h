// SPDX-License-Identifier: MIT
// A cursor over a text of /proc that never passes its end. Used by the parsers of
// this room; every function returns false and stays where it was when the text
// does not hold what is asked for.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "os/os.h"

struct scan {
	const char *at, *end;
};

static inline bool scan_char(struct scan *scan, char wanted)
{
	if (scan->at == scan->end || *scan->at != wanted)
		return false;
	scan->at++;
	return true;
}

static inline void scan_blanks(struct scan *scan)
{
	while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t'))
		scan->at++;
}

// The value of a lower-case digit, or 16.
static inline unsigned scan_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return (unsigned)(digit - '0');
	if (digit >= 'a' && digit <= 'f')
		return (unsigned)(digit - 'a') + 10;
	return 16;
}

// A number without sign in base 8, 10 or 16 that fits in 64 bits.
static inline bool scan_number(struct scan *scan, unsigned base, uint64_t *ret)
{
	const char *at = scan->at;
	uint64_t value = 0;

	while (at < scan->end && scan_digit(*at) < base) {
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, scan_digit(*at), &value))
			return false;
		at++;
	}
	if (at == scan->at)
		return false;
	scan->at = at;
	*ret = value;
	return true;
}

static inline bool scan_word(struct scan *scan, const char *word)
{
	size_t length = strlen(word);

	if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
		return false;
	scan->at += length;
	return true;
}

// Cuts the next line, without its newline, off the text; false at the end of the text.
static inline bool scan_line(struct scan *text, struct scan *ret)
{
	const char *newline;

	if (text->at == text->end)
		return false;
	newline = memchr(text->at, '\n', (size_t)(text->end - text->at));
	*ret = (struct scan){ text->at, newline ? newline : text->end };
	text->at = newline ? newline + 1 : text->end;
	return true;
}

// lines.c: the text of fd in pieces of whole lines (the last may lack its newline), until take fails.
struct error *scan_read_lines(int fd, size_t limit_bytes,
                              struct error *(*take)(void *context, struct scan lines),
                              void *context);

// counts.c: a line of smaps behind its mapping; *next_key, at first 0, is where the table of keys is
// looked at first.
void scan_count(struct scan *line, unsigned *next_key, struct os_counts *ret);

// maps.c: "START-END rwxp OFFSET DEVICE INODE" of a line of maps or smaps; the name is what remains.
bool scan_mapping_head(struct scan *line, struct os_mapping *ret);

// maps.c: a list of mappings that comes in pieces.
struct maps_parser {
	struct arena *arena;
	VEC(struct os_mapping) mappings;
	size_t line;       // from 1
	unsigned next_key; // where the table of keys is looked at first
};
void maps_parser_begin(struct maps_parser *parser, struct arena *arena);
struct error *maps_parser_take(void *context, struct scan lines);
// Gives the list when there was no error; the parser is gone. Returns error.
struct error *maps_parser_end(struct maps_parser *parser, struct error *error,
                              struct os_mapping **ret, size_t *ret_count);
