// SPDX-License-Identifier: MIT
// Lines of text with columns (line_impl.h).
#include "monitor/line_impl.h"

#include <stdarg.h>
#include <string.h>
#include <wchar.h>

#include "base/text.h"

#define STEPS        8
#define LETTER_BYTES 4 // of UTF-8, at most

void line_begin(struct line *line, unsigned width, bool utf8)
{
	// Every column may need a letter of several bytes.
	if (width > sizeof(line->bytes) / LETTER_BYTES - 1)
		width = sizeof(line->bytes) / LETTER_BYTES - 1;
	*line = (struct line){ .width = width, .utf8 = utf8 };
}

void line_put(struct line *line, const char *format, ...)
{
	char text[512];
	va_list arguments;
	size_t n;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	n = strlen(text);
	if (n > line->width - line->columns)
		n = line->width - line->columns;
	memcpy(line->bytes + line->n, text, n);
	line->n += n;
	line->columns += (unsigned)n;
}

void line_fill(struct line *line, unsigned column)
{
	while (line->columns < column && line->columns < line->width) {
		line->bytes[line->n++] = ' ';
		line->columns++;
	}
}

// --- names -----------------------------------------------------------------------------------------
// The next letter of a name, as it is shown: how many bytes of name it takes.
static size_t letter_at(const struct line *line, const char *name, char ret[8],
                        unsigned *ret_columns)
{
	uint32_t value = 0;
	size_t n = text_utf8(name, &value);
	int columns = 1;

	if (n > 1)
		columns = line->utf8 && value >= 0xa0 ? wcwidth((wchar_t)value) : -1;
	if (n == 1 && (value < 0x20 || value == 0x7f))
		columns = -1;
	// Marks that turn the direction of writing have no width, or are none that wcwidth knows.
	if (!n || columns <= 0) {
		snprintf(ret, 8, "\\x%02X", (unsigned char)*name);
		*ret_columns = 4;
		return 1;
	}
	memcpy(ret, name, n);
	ret[n] = '\0';
	*ret_columns = (unsigned)columns;
	return n;
}

void line_put_name(struct line *line, const char *name, unsigned columns)
{
	unsigned end =
		line->columns + columns < line->width ? line->columns + columns : line->width;
	char letter[8];
	unsigned width;

	while (*name) {
		size_t taken = letter_at(line, name, letter, &width);
		bool is_last = !name[taken];

		if (line->columns + width > end - (is_last || end == line->columns ? 0 : 1)) {
			if (line->columns < end)
				line_put(line, "+");
			break;
		}
		memcpy(line->bytes + line->n, letter, strlen(letter));
		line->n += strlen(letter);
		line->columns += width;
		name += taken;
	}
	line_fill(line, end);
}

// --- curves ----------------------------------------------------------------------------------------
static double point_at(const struct line_curve *curve, unsigned i)
{
	unsigned at = MONITOR_CURVE - curve->points + i;

	return curve->values ? (double)curve->values[at] : (double)curve->whole_values[at];
}

static void put_step(struct line *line, unsigned step)
{
	static const char ascii[] = " .:-=+*#@";

	if (!line->utf8 || !step) {
		line->bytes[line->n++] = ascii[step];
	} else { // U+2581 to U+2588
		memcpy(line->bytes + line->n, "\xe2\x96", 2);
		line->bytes[line->n + 2] = (char)(0x80 + step);
		line->n += 3;
	}
	line->columns++;
}

void line_put_curve(struct line *line, const struct line_curve *curve, unsigned columns)
{
	unsigned shown = curve->points, first;
	double high = curve->full;

	if (columns > line->width - line->columns)
		columns = line->width - line->columns;
	if (shown > columns)
		shown = columns;
	first = curve->points - shown;
	for (unsigned i = first; i < curve->points; i++)
		if (point_at(curve, i) > high)
			high = point_at(curve, i);
	line_fill(line, line->columns + columns - shown);
	for (unsigned i = first; i < curve->points; i++) {
		double value = point_at(curve, i);
		unsigned step = high > 0 && value > 0
		                        ? 1 + (unsigned)(value / high * (STEPS - 1) + 0.5)
		                        : 0;

		put_step(line, step > STEPS ? STEPS : step);
	}
}

// --- numbers ---------------------------------------------------------------------------------------
static const char *scaled(double value, double step, const char *units, char *ret)
{
	while (value >= 999.5 && units[1]) {
		value /= step;
		units++;
	}
	if (value >= 99.5 || *units == ' ')
		snprintf(ret, LINE_NUMBER_BYTES, "%.0f%c", value, *units);
	else
		snprintf(ret, LINE_NUMBER_BYTES, value >= 9.95 ? "%.1f%c" : "%.2f%c", value,
		         *units);
	return ret;
}

const char *line_size(double bytes, char ret[LINE_NUMBER_BYTES])
{
	if (bytes < 1)
		return strcpy(ret, "0");
	return scaled(bytes / 1024, 1024, "KMGTPE", ret);
}

const char *line_count(double count, char ret[LINE_NUMBER_BYTES])
{
	if (count < 9999.5) {
		snprintf(ret, LINE_NUMBER_BYTES, "%.0f", count);
		return ret;
	}
	return scaled(count / 1000, 1000, "kmgtpe", ret);
}
