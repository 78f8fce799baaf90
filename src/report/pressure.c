// SPDX-License-Identifier: MIT
// heapwright pressure: the level of memory pressure, and with -v or in JSON every rule with what it found.
#include <stdio.h>

#include "machine/machine.h"
#include "os/os.h"
#include "report/report.h"

static void emit_known(struct emitter *e, const char *key, bool known, double value,
                       const char *text)
{
	if (known) {
		emit_double(e, key, value, text);
		return;
	}
	emit_null(e, key);
	if (text)
		emit_text(e, " %9s", "-");
}

static void emit_rule(struct emitter *e, const struct machine_verdict *verdict, size_t number,
                      bool in_text)
{
	const struct machine_rule *rule = &machine_rules[number];
	const char *value = in_text ? " %8.2f%%" : NULL;

	emit_object(e, NULL);
	emit_string(e, "name", rule->name, in_text ? "%-20s" : NULL);
	emit_known(e, "percent", verdict->is_known[number], verdict->value[number], value);
	emit_known(e, "warning_percent", rule->warning > 0, rule->warning, value);
	emit_known(e, "critical_percent", rule->critical > 0, rule->critical, value);
	emit_bool(e, "below", rule->below, NULL);
	emit_string(e, "level", machine_level_name(verdict->of_rule[number]),
	            in_text ? "  %s\n" : NULL);
	emit_string(e, "meaning", rule->meaning, in_text ? "    %s\n" : NULL);
	emit_object_end(e);
}

static void emit_rules(struct emitter *e, const struct machine_verdict *verdict, bool in_text)
{
	if (in_text)
		emit_text(e, "\n%-20s %9s %9s %9s  level\n", "rule", "now", "warning", "critical");
	emit_array(e, "rules");
	for (size_t i = 0; i < MACHINE_RULE_COUNT; i++)
		emit_rule(e, verdict, i, in_text);
	emit_array_end(e);
	if (in_text)
		emit_text(e, "\nStalls reach a level at or above its share of time, room at or "
		             "below its share\nof memory. The worst rule decides. Shares of time "
		             "are the kernel's of the last\nten seconds, or of the last looks "
		             "where that is more.\n");
}

struct error *report_pressure(const struct report_options *options,
                              const struct machine_verdict *verdict, const char *group,
                              bool is_simulated, int *ret_exit)
{
	struct emitter *e = emit_begin(options->out, options->json ? EMIT_JSON : EMIT_TEXT);
	bool found = verdict->level != MACHINE_NORMAL;
	size_t why = verdict->why;

	emit_string(e, "tool", options->tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	emit_string(e, "level", machine_level_name(verdict->level), "Memory pressure: %s");
	emit_u64(e, "level_number", verdict->level, NULL);
	emit_bool(e, "is_simulated", is_simulated, " (simulated)");
	emit_string(e, "why", found && !is_simulated ? machine_rules[why].name : NULL, " (%s");
	if (found && !is_simulated)
		emit_text(e, " %.2f%%)", verdict->value[why]);
	emit_text(e, "\n");
	if (verdict->is_known[MACHINE_RULE_AVAILABLE])
		emit_text(e, "System-wide memory free percentage: %.0f%%\n",
		          verdict->value[MACHINE_RULE_AVAILABLE]);
	emit_string(e, "group", group, NULL);
	emit_rules(e, verdict, options->verbose);
	*ret_exit = found ? EXIT_FOUND : EXIT_FINE;
	return emit_end(e);
}
