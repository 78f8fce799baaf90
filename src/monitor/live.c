// SPDX-License-Identifier: MIT
// Samples of the running machine (monitor.h). Reads a few files of /proc and two for each process; nothing
// is stopped or attached to.
#include "monitor/monitor.h"

#include <stdlib.h>
#include <string.h>

#include "accounts/accounts.h"
#include "os/os.h"

#define LEVEL_SPAN_NS 10000000000u // a level looks at the stalls of so long
#define KEPT          16           // samples to find one so old in

struct monitor_live {
	struct accounts *accounts;
	const int *pids;
	size_t pid_count;
	struct machine_sample kept[KEPT]; // a ring; the newest is kept[(n - 1) % KEPT]
	size_t n;
	struct arena arena;
};

struct error *monitor_live_open(const int *pids, size_t count, struct monitor_live **ret)
{
	struct arena arena;
	struct monitor_live *live;
	struct error *error;

	arena_init(&arena, &os_page_source);
	live = arena_alloc(&arena, sizeof(*live));
	live->arena = arena;
	live->pids = pids;
	live->pid_count = count;
	error = accounts_open(&live->accounts);
	if (error) {
		arena_deinit(&arena);
		return error;
	}
	*ret = live;
	return NULL;
}

void monitor_live_close(struct monitor_live *live)
{
	struct arena arena;

	if (!live)
		return;
	accounts_close(live->accounts);
	arena = live->arena; // live itself lives in it
	arena_deinit(&arena);
}

static bool take_process(void *context, const struct account *account)
{
	struct monitor_sample *sample = context;
	const struct os_account *from = &account->process;
	struct monitor_process *process = vec_add(&sample->processes);

	process->pid = from->pid;
	process->start = from->start_ticks;
	memset(process->name, 0, sizeof(process->name));
	memccpy(process->name, from->name, '\0', sizeof(process->name) - 1);
	process->footprint_bytes = account->footprint_bytes;
	process->resident_bytes = from->resident_bytes;
	process->swapped_bytes = from->swapped_bytes;
	process->soft_faults = from->soft_faults;
	process->hard_faults = from->hard_faults;
	return true;
}

static struct error *take_processes(struct monitor_live *live, struct monitor_sample *sample)
{
	struct account account;

	sample->processes.n = 0;
	if (!live->pid_count)
		return accounts_each(live->accounts, false, take_process, sample);
	for (size_t i = 0; i < live->pid_count; i++)
		if (accounts_read(live->accounts, live->pids[i], &account))
			take_process(sample, &account);
	return NULL;
}

// The oldest sample that is not older than the level looks back.
static const struct machine_sample *sample_before(const struct monitor_live *live, uint64_t when_ns)
{
	size_t oldest = live->n > KEPT ? live->n - KEPT : 0;

	for (size_t i = oldest; i < live->n; i++)
		if (when_ns - live->kept[i % KEPT].when_ns <= LEVEL_SPAN_NS)
			return &live->kept[i % KEPT];
	return live->n ? &live->kept[(live->n - 1) % KEPT] : NULL;
}

struct error *monitor_live_take(struct monitor_live *live, struct monitor_sample *sample)
{
	struct machine_sample now;
	struct machine_verdict verdict;

	TRY(machine_read(NULL, &now));
	TRY(take_processes(live, sample));
	machine_judge(sample_before(live, now.when_ns), &now, NULL, NULL, &verdict);
	sample->wall_ns = os_wall_ns();
	sample->when_ns = now.when_ns;
	sample->level = verdict.level;
	sample->process_count = sample->processes.n;
	monitor_numbers_take(&now, &sample->numbers);
	live->kept[live->n++ % KEPT] = now;
	return NULL;
}
