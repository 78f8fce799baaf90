// SPDX-License-Identifier: MIT
// Processes that the recorded one makes by fork, when a tool has attached to it: their recorder has no
// program for a collector of its own, so it waits for one, which is started here. Called by
// collector.c, with what the events of the program say.
#include "collect/collect_impl.h"

#include <string.h>

#define WORDS_MAX       16
#define FINISH_LIMIT_NS UINT64_C(10000000000)
#define FINISH_PAUSE_NS UINT64_C(2000000)

// --- numbers of processes ------------------------------------------------------------------------
struct search {
	const char *namespace; // that of the program
	struct arena *arena;
	int own, found;
};

static const char *namespace_of(struct arena *arena, int process)
{
	const char *path = arena_format(arena, "/proc/%d/ns/pid", process), *leads_to;

	return os_read_link(arena, path, &leads_to) ? NULL : leads_to;
}

static bool is_searched(void *context, int process)
{
	struct search *search = context;
	const char *namespace;
	struct os_process facts;

	if (os_process_read(process, &facts) || facts.own_pid != search->own)
		return true;
	namespace = namespace_of(search->arena, process);
	if (!namespace || strcmp(namespace, search->namespace) != 0)
		return true;
	search->found = process;
	return false;
}

// The number that we use for a process to which the program gives another; 0: it is gone.
static int number_of(struct arena *arena, int program, int own)
{
	struct search search = { .arena = arena, .own = own };
	struct os_process facts;

	// Unless the program is in a namespace below ours.
	if (os_process_read(program, &facts) || facts.namespaces <= 1)
		return own;
	search.namespace = namespace_of(arena, program);
	if (search.namespace)
		os_each_number("/proc", is_searched, &search);
	return search.found;
}

// --- collectors ----------------------------------------------------------------------------------
static const char *seconds(struct arena *arena, const char *name, uint64_t ns)
{
	return arena_format(arena, "--%s=%.3f", name, (double)ns / 1e9);
}

static struct error *start(struct collect_follow *follow, struct arena *arena, int process, int own)
{
	const struct collect_settings *s = follow->settings;
	const char *words[WORDS_MAX] = {
		os_self_path(arena),
		arena_format(arena, "%d", process),
		"-1",
		arena_format(arena, "--log=%s.%d", follow->log, own),
		"--replace",
		"--attached",
		"--follow",
		"--await",
	};
	size_t n = 8;
	int collector;

	if (s->max_log_bytes)
		words[n++] = arena_format(arena, "--max-size=%llu",
		                          (unsigned long long)s->max_log_bytes);
	if (s->duration_ns)
		words[n++] = seconds(arena, "duration", s->duration_ns);
	if (s->leaks_every_ns)
		words[n++] = seconds(arena, "leaks-every", s->leaks_every_ns);
	if (s->monitor_every_ns)
		words[n++] = seconds(arena, "monitor", s->monitor_every_ns);
	TRY(os_start(words, &collector));
	vec_push(&follow->collectors, collector);
	return NULL;
}

static void collect_ended(struct collect_follow *follow)
{
	size_t kept = 0;
	int status;

	for (size_t i = 0; i < follow->collectors.n; i++)
		if (!os_child_ended(follow->collectors.v[i], &status))
			follow->collectors.v[kept++] = follow->collectors.v[i];
	follow->collectors.n = kept;
}

void collect_follow_init(struct collect_follow *follow, const struct collect_settings *settings,
                         const char *log, int shown)
{
	*follow = (struct collect_follow){ .settings = settings, .log = log, .shown = shown };
	vec_init(&follow->collectors, &os_page_source);
}

// One that cannot be started is missed by the new process alone, which goes on unrecorded.
void collect_follow_start(struct collect_follow *follow, const int *forks, size_t count)
{
	struct arena arena;

	collect_ended(follow);
	arena_init(&arena, &os_page_source);
	for (size_t i = 0; i < count; i++) {
		int process = number_of(&arena, follow->shown, forks[i]);

		if (process > 0)
			(void)start(follow, &arena, process, forks[i]);
	}
	arena_deinit(&arena);
}

void collect_follow_finish(struct collect_follow *follow)
{
	uint64_t end_ns = os_monotonic_ns() + FINISH_LIMIT_NS;

	for (;;) {
		collect_ended(follow);
		if (!follow->collectors.n || os_monotonic_ns() >= end_ns)
			break;
		os_sleep_ns(FINISH_PAUSE_NS);
	}
	vec_deinit(&follow->collectors);
}
