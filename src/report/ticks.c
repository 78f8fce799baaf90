// SPDX-License-Identifier: MIT
// One look after the other at even distances, until the last one or an interrupt (report/report.h).
#include "os/os.h"
#include "report/report.h"

struct error *report_ticks_begin(uint64_t interval_ns, uint64_t count, struct report_ticks *ret)
{
	*ret = (struct report_ticks){ .interval_ns = interval_ns,
		                      .next_ns = os_monotonic_ns() + interval_ns,
		                      .count = count,
		                      .interrupts = -1 };
	return interval_ns ? os_interrupts_take(&ret->interrupts) : NULL;
}

bool report_ticks_next(struct report_ticks *ticks)
{
	struct os_awaited interrupt = { .fd = ticks->interrupts };
	uint64_t now;

	ticks->number++;
	if (!ticks->interval_ns || (ticks->count && ticks->number >= ticks->count))
		return false;
	while ((now = os_monotonic_ns()) < ticks->next_ns)
		if (os_await(&interrupt, 1, ticks->next_ns - now))
			return false;
	ticks->next_ns += ticks->interval_ns;
	if (ticks->next_ns < now) // we were held up: no burst of looks
		ticks->next_ns = now + ticks->interval_ns;
	return true;
}

void report_ticks_end(struct report_ticks *ticks)
{
	os_close(ticks->interrupts);
}
