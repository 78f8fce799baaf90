// SPDX-License-Identifier: MIT
// The interval form of vm_stat: a banner, a heading, one row for each look. Totals of the first row are
// those since boot, of each other row what was added since the one before; states are as they are.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/vm_stat_impl.h"

#define ROWS_BETWEEN_HEADINGS 20
#define COLUMN_WIDTH          8

// macOS has the speculative pages before the inactive ones here.
static const uint8_t order[MACHINE_LINE_COUNT] = { 0,  1,  3,  2,  4,  5,  6,  7,  8,  9,  10,
	                                           11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21 };

char *vm_stat_scaled(uint64_t value, unsigned width, char buffer[32])
{
	static const char units[] = "KMGTPE";
	int length = snprintf(buffer, 32, "%" PRIu64, value);

	for (size_t unit = 0; length > (int)width && unit < sizeof(units) - 1; unit++) {
		value /= 1000;
		length = snprintf(buffer, 32, "%" PRIu64 "%c", value, units[unit]);
	}
	return buffer;
}

static int column_width(const struct machine_line *line)
{
	size_t length = strlen(line->column);

	return length > COLUMN_WIDTH ? (int)length : COLUMN_WIDTH;
}

static bool is_shown(const struct machine_line *line, const struct vm_stat_settings *settings)
{
	return !settings->form_2008 || line->old_name;
}

static void emit_heading(struct emitter *e, const struct vm_stat_settings *settings)
{
	const char *gap = "";

	for (size_t i = 0; i < MACHINE_LINE_COUNT; i++) {
		const struct machine_line *line = &machine_lines[order[i]];

		if (!is_shown(line, settings))
			continue;
		emit_text(e, "%s%*s", gap, column_width(line), line->column);
		gap = " ";
	}
	emit_text(e, "\n");
}

void vm_stat_emit_row(struct emitter *e, const struct vm_stat_look *look,
                      const struct vm_stat_settings *settings, uint64_t number)
{
	const char *gap = "";
	char buffer[32];

	if (number % ROWS_BETWEEN_HEADINGS == 0) {
		vm_stat_emit_banner(e, look, settings);
		emit_heading(e, settings);
	}
	emit_object(e, "lines");
	for (size_t i = 0; i < MACHINE_LINE_COUNT; i++) {
		const struct machine_line *line = &machine_lines[order[i]];
		bool known;
		uint64_t value;

		known = machine_line_value(line, vm_stat_counters(look), look->sample.page_bytes,
		                           &value);
		emit_known_u64(e, line->name, known, value, NULL);
		if (!is_shown(line, settings))
			continue;
		emit_text(e, "%s%*s", gap, column_width(line),
		          known ? vm_stat_scaled(value, (unsigned)column_width(line), buffer)
		                : "n/a");
		gap = " ";
	}
	emit_text(e, "\n");
	emit_object_end(e);
}
