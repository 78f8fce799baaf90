// SPDX-License-Identifier: MIT
// A line of text that is never wider than the page, built from left to right. Used by page.c.
#pragma once

#include "monitor/monitor.h"

struct line {
	char bytes[2048];
	size_t n;
	unsigned columns, width; // so far; at most
	bool utf8;
};

void line_begin(struct line *line, unsigned width, bool utf8);
// ASCII text; what does not fit is left out.
void line_put(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Foreign text in just so many columns, on the left side: unprintable bytes as \xNN, cut with a "+".
void line_put_name(struct line *line, const char *name, unsigned columns);
// Blanks up to a column.
void line_fill(struct line *line, unsigned column);

// A curve of so many columns, the newest point on the right, between 0 and the highest value shown (or
// `full`, when that is more).
struct line_curve {
	const float *values;          // the last `points` of MONITOR_CURVE, or
	const uint32_t *whole_values; // likewise
	unsigned points;
	double full;
};
void line_put_curve(struct line *line, const struct line_curve *curve, unsigned columns);

#define LINE_NUMBER_BYTES 16
// "0", "812K", "1.24G": at most five columns.
const char *line_size(double bytes, char ret[LINE_NUMBER_BYTES]);
// "0", "9999", "12.3k", "1.2m": likewise.
const char *line_count(double count, char ret[LINE_NUMBER_BYTES]);
