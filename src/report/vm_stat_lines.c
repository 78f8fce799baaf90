// SPDX-License-Identifier: MIT
// The lines of vm_stat: a label padded to 30 columns, the value right-aligned in 16, a full stop; and
// those of 2008, whose value begins in column 27.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/vm_stat_impl.h"

#define WIDEST 80

const struct machine_counters *vm_stat_counters(const struct vm_stat_look *look)
{
	return look->has_group ? &look->group.counters : &look->sample.counters;
}

// A text in lines of at most 80 columns, each behind the indent; text form only.
static void emit_wrapped(struct emitter *e, const char *indent, const char *text)
{
	size_t room = WIDEST - strlen(indent);

	while (*text) {
		size_t length = strlen(text);

		if (length > room)
			for (length = room; length && text[length] != ' '; length--)
				;
		if (!length)
			length = strcspn(text, " ");
		emit_text(e, "%s%.*s\n", indent, (int)length, text);
		text += length + strspn(text + length, " ");
	}
}

void vm_stat_emit_banner(struct emitter *e, const struct vm_stat_look *look,
                         const struct vm_stat_settings *settings)
{
	bool rows_of_2008 = settings->form_2008 && settings->interval_ns;

	emit_text(e, "Mach Virtual Memory Statistics: (page size of %" PRIu64 " bytes%s)\n",
	          look->sample.page_bytes, rows_of_2008 ? ", cache hits n/a" : "");
}

static void emit_explanation(struct emitter *e, const struct machine_line *line)
{
	emit_object(e, NULL);
	emit_string(e, "label", line->label, NULL);
	emit_string(e, "name", line->name, NULL);
	emit_string(e, "formula", line->formula, NULL);
	emit_string(e, "meaning", line->meaning, NULL);
	emit_string(e, "kernel_source", line->source, NULL);
	emit_object_end(e);
}

static void explain_in_text(struct emitter *e, const struct machine_line *line)
{
	if (line->formula)
		emit_wrapped(e, "    = ", line->formula);
	emit_wrapped(e, "    ", line->meaning);
	emit_text(e, "    Linux %s\n", line->source);
}

static void emit_line(struct emitter *e, const struct vm_stat_look *look,
                      const struct machine_line *line, const struct vm_stat_settings *settings)
{
	const char *label = settings->form_2008 ? line->old_name : line->label;
	uint64_t value;

	if (label && settings->form_2008)
		emit_text(e, "%s:%*s", label, (int)(25 - strlen(label)), "");
	else if (label)
		emit_text(e, "%s:%*s", label, (int)(29 - strlen(label)), "");
	if (machine_line_value(line, vm_stat_counters(look), look->sample.page_bytes, &value)) {
		emit_u64(e, line->name, value, NULL);
		if (label)
			emit_text(e, settings->form_2008 ? "%" PRIu64 ".\n" : "%16" PRIu64 ".\n",
			          value);
	} else {
		emit_null(e, line->name);
		if (label)
			emit_text(e, settings->form_2008 ? "%s.\n" : "%16s.\n", "n/a");
	}
	if (label && settings->common.verbose)
		explain_in_text(e, line);
}

static void emit_object_cache(struct emitter *e, const struct vm_stat_settings *settings)
{
	emit_text(e, "Object cache: n/a hits of n/a lookups (n/a hit rate)\n");
	if (settings->common.verbose)
		emit_wrapped(e, "    ",
		             "Linux keeps no cache of memory objects apart from that of its files, "
		             "and counts no lookups in that.");
}

void vm_stat_emit_lines(struct emitter *e, const struct vm_stat_look *look,
                        const struct vm_stat_settings *settings)
{
	emit_object(e, "lines");
	for (size_t i = 0; i < MACHINE_LINE_COUNT; i++)
		emit_line(e, look, &machine_lines[i], settings);
	emit_object_end(e);
	if (settings->form_2008)
		emit_object_cache(e, settings);
	if (!settings->common.verbose)
		return;
	emit_array(e, "explanations");
	for (size_t i = 0; i < MACHINE_LINE_COUNT; i++)
		emit_explanation(e, &machine_lines[i]);
	emit_array_end(e);
}
