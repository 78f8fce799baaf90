// SPDX-License-Identifier: MIT
// heapwright pressure -end: ends named processes when memory is critical. Only what was named is ever
// ended; never process 1, this tool, or any process above it.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "tools/pressure_impl.h"

#define GRACE_NS 10000000000ull
#define CALM_NS  10000000000ull
#define MOST_UP  64 // processes above us

// Whether it is one that this tool runs below, or the tool itself.
static bool is_above(int pid)
{
	struct os_process process;
	int at = os_own_pid();

	for (unsigned i = 0; i < MOST_UP && at > 0; i++) {
		if (at == pid)
			return true;
		if (os_process_read(at, &process))
			return true;
		at = process.parent_pid;
	}
	return false;
}

static uint64_t cost_bytes(const struct machine_process *process)
{
	return process->memory.resident_bytes + process->memory.swapped_bytes;
}

// By the rights that this tool has.
static bool can_be_signalled(int pid)
{
	struct error *error;
	int fd = -1;

	if (os_watch_open(pid, &fd) || fd < 0)
		return false;
	error = os_process_signal(fd, 0, 0);
	os_close(fd);
	return !error;
}

// The biggest process of a name that may be ended, of those that this tool has no right to end only
// when there are no others (then *ret_can is false); false when there is none.
static bool choose(struct arena *arena, const char *name, struct machine_process *ret,
                   bool *ret_can)
{
	struct machine_process process;
	bool found = false, best_can = false;
	size_t count;
	int *pids;

	if (machine_processes_find(NULL, arena, name, &pids, &count))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (pids[i] <= 1 || is_above(pids[i]) ||
		    machine_process_read(NULL, pids[i], &process) || !process.memory.is_known)
			continue;
		const bool can = can_be_signalled(pids[i]);

		if (!found || can > best_can ||
		    (can == best_can && cost_bytes(&process) > cost_bytes(ret))) {
			*ret = process;
			best_can = can;
		}
		found = true;
	}
	*ret_can = best_can;
	return found;
}

static void say(struct arena *arena, const char *what, const struct machine_process *process)
{
	char size[TEXT_SIZE_BYTES];

	printf("%s %s [%d], which has %s\n", what, text_printable(arena, process->name),
	       process->pid, text_size(cost_bytes(process), size));
	fflush(stdout);
}

// Asks it to end, and when it has not after a while, ends it. The descriptor is that of the very process
// that was chosen.
static struct error *end_process(struct arena *arena, const struct machine_process *process,
                                 uint64_t grace_ns, int interrupts)
{
	struct machine_process again;
	struct os_awaited awaited[] = { { .fd = -1 }, { .fd = interrupts } }, *ended = &awaited[0];
	struct error *error;

	TRY(os_watch_open(process->pid, &ended->fd));
	if (ended->fd < 0)
		return error_new(ERROR_UNSUPPORTED, "this kernel has no descriptors of processes");
	// Its number may have gone to another one meanwhile.
	error = machine_process_read(NULL, process->pid, &again);
	if (!error && strcmp(again.name, process->name) != 0)
		error = error_new(ERROR_GONE, "process %d is another one now", process->pid);
	if (!error) {
		say(arena, "ending", process);
		error = os_process_signal(ended->fd, SIGTERM, MACHINE_CRITICAL);
	}
	if (!error && !os_await(awaited, 2, grace_ns)) { // an interrupt lets it live
		say(arena, "killing", process);
		error = os_process_signal(ended->fd, SIGKILL, MACHINE_CRITICAL);
	}
	os_close(ended->fd);
	if (!error || error->kind == ERROR_GONE)
		return error;
	return error_prefix(error, "%s [%d]", text_printable(arena, process->name), process->pid);
}

// Of the first name that has a process which this tool has the right to end; without any, of the first name
// that has one at all, so that the refusal is said.
static bool choose_of_names(struct arena *arena, const struct option_list *names,
                            struct machine_process *ret)
{
	struct machine_process process;
	bool found = false, can = false;

	for (size_t i = 0; i < names->n && !can; i++)
		if (choose(arena, names->v[i], &process, &can) && (can || !found)) {
			*ret = process;
			found = true;
		}
	return found;
}

static struct error *end_first(struct arena *arena, const struct pressure_settings *settings,
                               int interrupts, bool *ret_some)
{
	struct machine_process process;

	*ret_some = choose_of_names(arena, &settings->end, &process);
	if (!*ret_some)
		return NULL;
	if (settings->dry_run) {
		say(arena, "would end", &process);
		return NULL;
	}
	return end_process(arena, &process, settings->has_grace ? settings->grace_ns : GRACE_NS,
	                   interrupts);
}

struct error *pressure_end_one(struct pressure_loop *loop, bool *ret_some)
{
	struct arena arena;
	struct error *error;

	*ret_some = false;
	if (loop->level != MACHINE_CRITICAL || os_monotonic_ns() < loop->calm_ns)
		return NULL;
	arena_init(&arena, &os_page_source);
	error = end_first(&arena, loop->settings, loop->interrupts, ret_some);
	arena_deinit(&arena);
	if (*ret_some)
		loop->calm_ns = os_monotonic_ns() + CALM_NS;
	return error && error->kind == ERROR_GONE ? NULL : error;
}
