// SPDX-License-Identifier: MIT
// The level from now on: samples some seconds apart, and the kernel's triggers, which wake sooner than any
// clock (machine/machine.h). Called by tools.
#include <string.h>

#include "machine/machine_impl.h"

#define SECOND_NS       1000000000ull
#define WINDOW_US       2000000ull // the shortest that needs no rights
#define OLDEST_NS       (2 * SECOND_NS)
#define FIRED_COUNTS_NS (3 * SECOND_NS)

// The triggers, and the rule that each stands for.
static const struct {
	enum machine_rule_number rule;
	bool of_group, full;
} triggers[MACHINE_WATCH_TRIGGERS] = {
	{ MACHINE_RULE_SOME, false, false },
	{ MACHINE_RULE_FULL, false, true },
	{ MACHINE_RULE_GROUP_SOME, true, false },
	{ MACHINE_RULE_GROUP_FULL, true, true },
};

struct look {
	struct machine_sample sample;
	struct machine_group group;
};

struct machine_watch {
	const char *root, *group;
	struct arena arena;
	struct look older, newer;
	unsigned look_count;
	int trigger[MACHINE_WATCH_TRIGGERS];       // -1 none
	uint64_t fired_ns[MACHINE_WATCH_TRIGGERS]; // 0 never
};

static double rule_limit(enum machine_rule_number number)
{
	const struct machine_rule *rule = &machine_rules[number];

	return rule->warning > 0 ? rule->warning : rule->critical;
}

// The group's texts are not kept.
static struct error *look_now(const struct machine_watch *watch, struct look *ret)
{
	struct arena arena;
	struct error *error;

	ret->group = (struct machine_group){ 0 };
	error = machine_read(watch->root, &ret->sample);
	if (error || !watch->group)
		return error;
	arena_init(&arena, &os_page_source);
	error = machine_group_read(watch->root, &arena, watch->group, &ret->group);
	ret->group.path = NULL;
	arena_deinit(&arena);
	return error;
}

// A kernel without PSI, and version 1 of control groups, have no triggers: then the clock must do.
static void open_triggers(struct machine_watch *watch, const char *group_path)
{
	const char *root = watch->root ? watch->root : "";

	for (size_t i = 0; i < MACHINE_WATCH_TRIGGERS; i++) {
		uint64_t stall_us = (uint64_t)(rule_limit(triggers[i].rule) * WINDOW_US / 100);
		const char *path =
			triggers[i].of_group
				? arena_format(&watch->arena, "%s%s/memory.pressure", root,
		                               group_path)
				: arena_format(&watch->arena, "%s/proc/pressure/memory", root);

		watch->trigger[i] = -1;
		if (!*root && (!triggers[i].of_group || *group_path))
			(void)os_trigger_open(path, triggers[i].full, stall_us, WINDOW_US,
			                      &watch->trigger[i]);
	}
}

struct error *machine_watch_open(const char *root, const char *group, struct machine_watch **ret)
{
	struct arena arena;
	struct machine_group found = { 0 };
	struct error *error = NULL;

	arena_init(&arena, &os_page_source);
	if (group)
		error = machine_group_read(root, &arena, group, &found);
	if (!error) {
		*ret = arena_alloc(&arena, sizeof(**ret));
		(*ret)->root = root ? arena_copy(&arena, root) : NULL;
		(*ret)->group = group ? arena_copy(&arena, group) : NULL;
		(*ret)->arena = arena;
		open_triggers(*ret, found.version == 2 ? found.path : "");
		return NULL;
	}
	arena_deinit(&arena);
	return error;
}

void machine_watch_close(struct machine_watch *watch)
{
	struct arena arena;

	if (!watch)
		return;
	for (size_t i = 0; i < MACHINE_WATCH_TRIGGERS; i++)
		os_close(watch->trigger[i]);
	arena = watch->arena; // which the watch itself lies in
	arena_deinit(&arena);
}

void machine_watch_await(const struct machine_watch *watch, struct os_awaited *ret)
{
	for (size_t i = 0; i < MACHINE_WATCH_TRIGGERS; i++)
		ret[i] = (struct os_awaited){ .fd = watch->trigger[i], .urgent = true };
}

static void take_triggers(struct machine_watch *watch, const struct os_awaited *awaited,
                          uint64_t now_ns, struct machine_verdict *verdict)
{
	for (size_t i = 0; i < MACHINE_WATCH_TRIGGERS; i++) {
		double limit = rule_limit(triggers[i].rule);

		if (awaited && awaited[i].ready)
			watch->fired_ns[i] = now_ns;
		if (watch->fired_ns[i] && now_ns - watch->fired_ns[i] < FIRED_COUNTS_NS &&
		    verdict->value[triggers[i].rule] < limit)
			machine_verdict_apply(verdict, triggers[i].rule, limit);
	}
}

struct error *machine_watch_look(struct machine_watch *watch, const struct os_awaited *awaited,
                                 struct machine_verdict *ret)
{
	bool has_older = watch->look_count > 0;
	struct look now;

	TRY(look_now(watch, &now));
	machine_judge(has_older ? &watch->older.sample : NULL, &now.sample,
	              has_older ? &watch->older.group : NULL, watch->group ? &now.group : NULL,
	              ret);
	take_triggers(watch, awaited, now.sample.when_ns, ret);
	// At first there is one sample; then the older of two, which is two to four seconds old.
	if (!watch->look_count) {
		watch->newer = watch->older = now;
		watch->look_count = 1;
	} else if (now.sample.when_ns - watch->newer.sample.when_ns >= OLDEST_NS) {
		watch->older = watch->newer;
		watch->newer = now;
	}
	return NULL;
}
