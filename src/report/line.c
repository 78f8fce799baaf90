// SPDX-License-Identifier: MIT
// Lines of text (report/line.h).
#include "report/line.h"

#include <string.h>

#define MOST_DIGITS 20 // of 64 bits

void line_init(struct line *line)
{
	vec_init(&line->bytes, &os_page_source);
}

void line_deinit(struct line *line)
{
	vec_deinit(&line->bytes);
}

void line_clear(struct line *line)
{
	line->bytes.n = 0;
}

void line_bytes(struct line *line, const char *bytes, size_t n)
{
	vec_reserve(&line->bytes, line->bytes.n + n);
	if (n)
		memcpy(line->bytes.v + line->bytes.n, bytes, n);
	line->bytes.n += n;
}

void line_text(struct line *line, const char *text)
{
	line_bytes(line, text, strlen(text));
}

static void put_number(struct line *line, uint64_t value, unsigned base)
{
	char digits[MOST_DIGITS];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	line_bytes(line, digits + at, sizeof(digits) - at);
}

void line_decimal(struct line *line, uint64_t value)
{
	put_number(line, value, 10);
}

void line_hex(struct line *line, uint64_t value)
{
	put_number(line, value, 16);
}
