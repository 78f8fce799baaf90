// SPDX-License-Identifier: MIT
// When a machine is thrashing: it takes pages away and gets them back so soon that tasks wait for that
// more than they work (monitor.h). docs/monitor.md states the rule for users.
#include "monitor/monitor.h"

static bool is_known(const struct monitor_numbers *before, const struct monitor_numbers *now,
                     enum monitor_number number)
{
	return before->is_known[number] && now->is_known[number];
}

static double added(const struct monitor_numbers *before, const struct monitor_numbers *now,
                    enum monitor_number number)
{
	if (!is_known(before, now, number) || now->value[number] < before->value[number])
		return 0;
	return (double)(now->value[number] - before->value[number]);
}

static double percent(double part, double whole)
{
	double share = whole > 0 ? part * 100 / whole : part > 0 ? 100 : 0;

	return share > 100 ? 100 : share;
}

void monitor_judge(const struct monitor_numbers *before, const struct monitor_numbers *now,
                   uint64_t passed_ns, struct monitor_verdict *ret)
{
	double passed_us = (double)passed_ns / 1000, refaulted, rate;

	*ret = (struct monitor_verdict){ 0 };
	if (!passed_ns)
		return;
	ret->has_stall = is_known(before, now, MONITOR_STALL_SOME);
	ret->some_percent = percent(added(before, now, MONITOR_STALL_SOME), passed_us);
	ret->full_percent = percent(added(before, now, MONITOR_STALL_FULL), passed_us);
	refaulted = added(before, now, MONITOR_REFAULTED);
	ret->refault_percent = percent(refaulted, added(before, now, MONITOR_RECLAIMED));
	rate = refaulted * 1e6 / passed_us;
	if (ret->has_stall)
		ret->is_thrashing = ret->full_percent >= MONITOR_THRASH_STALL_PERCENT &&
		                    ret->refault_percent >= MONITOR_THRASH_SHARE_PERCENT &&
		                    rate >= MONITOR_THRASH_BYTES_PER_S;
	else
		ret->is_thrashing = ret->refault_percent >= MONITOR_THRASH_BLIND_PERCENT &&
		                    rate >= MONITOR_THRASH_BLIND_PER_S;
}
