// SPDX-License-Identifier: MIT
// How short of memory the machine, or a control group, is. The rules are a table, which the documents and
// `heapwright pressure -v` print.
#include <string.h>

#include "machine/machine_impl.h"

#define SHORTEST_NS 1000000000ull // a shorter time says little about a share of it

const struct machine_rule machine_rules[MACHINE_RULE_COUNT] = {
	[MACHINE_RULE_SOME] = { "machine_some_stall",
	                        "time in which at least one task waited for memory", 10, 0, false },
	[MACHINE_RULE_FULL] = { "machine_full_stall", "time in which all tasks waited for memory",
	                        0, 10, false },
	[MACHINE_RULE_AVAILABLE] = { "machine_available",
	                             "memory that can be had without swapping (MemAvailable)", 5, 2,
	                             true },
	[MACHINE_RULE_GROUP_SOME] = { "group_some_stall",
	                              "time in which a task of the group waited for memory", 10, 0,
	                              false },
	[MACHINE_RULE_GROUP_FULL] = { "group_full_stall",
	                              "time in which all tasks of the group waited for memory", 0,
	                              10, false },
	[MACHINE_RULE_GROUP_ROOM] = { "group_room",
	                              "of the group's limit that is unused or inactive file cache",
	                              5, 2, true },
};

void machine_verdict_apply(struct machine_verdict *verdict, enum machine_rule_number number,
                           double value)
{
	const struct machine_rule *rule = &machine_rules[number];
	enum machine_level level = MACHINE_NORMAL;

	if (rule->warning > 0 && (rule->below ? value <= rule->warning : value >= rule->warning))
		level = MACHINE_WARNING;
	if (rule->critical > 0 && (rule->below ? value <= rule->critical : value >= rule->critical))
		level = MACHINE_CRITICAL;
	verdict->is_known[number] = true;
	verdict->value[number] = value;
	verdict->of_rule[number] = level;
	if (level > verdict->level) {
		verdict->level = level;
		verdict->why = number;
	}
}

// The share of time since before, or the kernel's of the last ten seconds when that is more: a level that
// was reached does not end with the next look.
static void apply_stall(struct machine_verdict *verdict, enum machine_rule_number number,
                        const struct os_stall *before, const struct os_stall *now,
                        uint64_t since_ns)
{
	double share = now->share_10, recent;

	if (!now->is_known)
		return;
	if (before && before->is_known && since_ns >= SHORTEST_NS &&
	    now->total_us > before->total_us) {
		recent = (double)(now->total_us - before->total_us) * 1e5 / (double)since_ns;
		if (recent > 100)
			recent = 100;
		if (recent > share)
			share = recent;
	}
	machine_verdict_apply(verdict, number, share);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? (double)part * 100 / (double)whole : 100;
}

static void judge_group(const struct machine_group *before, const struct machine_group *group,
                        uint64_t since_ns, struct machine_verdict *ret)
{
	uint64_t cache = group->counters.value[MACHINE_INACTIVE_FILE] * os_page_bytes();
	uint64_t used = group->usage_bytes > cache ? group->usage_bytes - cache : 0;

	apply_stall(ret, MACHINE_RULE_GROUP_SOME, before ? &before->memory.some : NULL,
	            &group->memory.some, since_ns);
	apply_stall(ret, MACHINE_RULE_GROUP_FULL, before ? &before->memory.full : NULL,
	            &group->memory.full, since_ns);
	if (group->limit_bytes != UINT64_MAX)
		machine_verdict_apply(ret, MACHINE_RULE_GROUP_ROOM,
		                      percent(group->limit_bytes > used ? group->limit_bytes - used
		                                                        : 0,
		                              group->limit_bytes));
}

void machine_judge(const struct machine_sample *before, const struct machine_sample *now,
                   const struct machine_group *group_before, const struct machine_group *group,
                   struct machine_verdict *ret)
{
	uint64_t since_ns =
		before && now->when_ns > before->when_ns ? now->when_ns - before->when_ns : 0;
	const struct machine_counters *counters = &now->counters;

	*ret = (struct machine_verdict){ .level = MACHINE_NORMAL };
	for (size_t i = 0; i < MACHINE_RULE_COUNT; i++)
		ret->of_rule[i] = MACHINE_NORMAL;
	apply_stall(ret, MACHINE_RULE_SOME, before ? &before->memory.some : NULL, &now->memory.some,
	            since_ns);
	apply_stall(ret, MACHINE_RULE_FULL, before ? &before->memory.full : NULL, &now->memory.full,
	            since_ns);
	if (counters->is_known[MACHINE_AVAILABLE] && counters->is_known[MACHINE_TOTAL])
		machine_verdict_apply(ret, MACHINE_RULE_AVAILABLE,
		                      percent(counters->value[MACHINE_AVAILABLE],
		                              counters->value[MACHINE_TOTAL]));
	if (group)
		judge_group(group_before, group, since_ns, ret);
}

const char *machine_level_name(enum machine_level level)
{
	switch (level) {
	case MACHINE_WARNING:
		return "warning";
	case MACHINE_CRITICAL:
		return "critical";
	default:
		return "normal";
	}
}

bool machine_level_parse(const char *name, enum machine_level *ret)
{
	static const enum machine_level levels[] = { MACHINE_NORMAL, MACHINE_WARNING,
		                                     MACHINE_CRITICAL };

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(name, machine_level_name(levels[i])) != 0)
			continue;
		*ret = levels[i];
		return true;
	}
	return false;
}
