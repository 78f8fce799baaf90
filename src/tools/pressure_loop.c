// SPDX-License-Identifier: MIT
// The level from now on: a look a second, sooner when the kernel's triggers fire (tools/pressure_impl.h).
#include <string.h>

#include "os/os.h"
#include "tools/pressure_impl.h"

#define LOOK_EVERY_NS 1000000000ull

static void verdict_simulate(struct machine_verdict *verdict, enum machine_level level)
{
	*verdict = (struct machine_verdict){ .level = level };
	for (size_t i = 0; i < MACHINE_RULE_COUNT; i++)
		verdict->of_rule[i] = MACHINE_NORMAL;
}

void pressure_simulate(struct pressure_loop *loop, enum machine_level level)
{
	verdict_simulate(&loop->verdict, level);
	loop->level = level;
	loop->is_simulated = true;
}

struct error *pressure_loop_open(const struct pressure_settings *settings,
                                 struct pressure_loop *ret)
{
	enum machine_level level;

	*ret = (struct pressure_loop){ .settings = settings,
		                       .interrupts = -1,
		                       .deadline_ns = UINT64_MAX };
	if (settings->has_timeout)
		ret->deadline_ns = os_monotonic_ns() + settings->timeout_ns;
	if (settings->simulate && machine_level_parse(settings->simulate, &level))
		pressure_simulate(ret, level);
	else
		TRY(machine_watch_open(settings->root, settings->group, &ret->watch));
	return os_interrupts_take(&ret->interrupts);
}

void pressure_loop_close(struct pressure_loop *loop)
{
	machine_watch_close(loop->watch);
	os_interrupts_return(loop->interrupts);
}

static struct error *look(struct pressure_loop *loop, const struct os_awaited *triggers)
{
	struct machine_verdict verdict;

	if (!loop->watch)
		return NULL;
	TRY(machine_watch_look(loop->watch, triggers, &verdict));
	if (loop->is_simulated)
		return NULL;
	loop->verdict = verdict;
	loop->level = verdict.level;
	return NULL;
}

struct error *pressure_loop_look(struct pressure_loop *loop)
{
	return look(loop, NULL);
}

struct error *pressure_loop_next(struct pressure_loop *loop, struct os_awaited *others,
                                 size_t count, enum pressure_end *ret)
{
	struct os_awaited list[OS_AWAITED_MAX];
	uint64_t now = os_monotonic_ns(), limit = LOOK_EVERY_NS;

	*ret = PRESSURE_GOES_ON;
	if (now >= loop->deadline_ns) {
		*ret = PRESSURE_TIMEOUT;
		return NULL;
	}
	if (loop->deadline_ns - now < limit)
		limit = loop->deadline_ns - now;
	if (count > OS_AWAITED_MAX - MACHINE_WATCH_TRIGGERS - 1)
		count = OS_AWAITED_MAX - MACHINE_WATCH_TRIGGERS - 1;
	for (size_t i = 0; i < MACHINE_WATCH_TRIGGERS; i++)
		list[i] = (struct os_awaited){ .fd = -1 };
	if (loop->watch)
		machine_watch_await(loop->watch, list);
	list[MACHINE_WATCH_TRIGGERS] = (struct os_awaited){ .fd = loop->interrupts };
	if (count)
		memcpy(list + MACHINE_WATCH_TRIGGERS + 1, others, count * sizeof(*others));
	os_await(list, MACHINE_WATCH_TRIGGERS + 1 + count, limit);
	if (count)
		memcpy(others, list + MACHINE_WATCH_TRIGGERS + 1, count * sizeof(*others));
	if (list[MACHINE_WATCH_TRIGGERS].ready)
		*ret = PRESSURE_INTERRUPT;
	return look(loop, list);
}
