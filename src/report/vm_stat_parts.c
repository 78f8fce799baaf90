// SPDX-License-Identifier: MIT
// The parts of vm_stat beside its lines: NUMA nodes and zones with the thresholds of their free lists, the
// head of a control group, and processes.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/vm_stat_impl.h"

// --- nodes ---------------------------------------------------------------------------------------

struct column {
	const char *title, *name;
	size_t offset;
};

#define ZONE(field) offsetof(struct machine_zone, field)
#define COUNTER(of) offsetof(struct machine_zone, counters.value[MACHINE_##of])

static const struct column zone_columns[] = {
	{ "free", "free_pages", ZONE(free) },
	{ "min", "min_pages", ZONE(min) },
	{ "low", "low_pages", ZONE(low) },
	{ "high", "high_pages", ZONE(high) },
	{ "promo", "promo_pages", ZONE(promo) },
	{ "boost", "boost_pages", ZONE(boost) },
	{ "managed", "managed_pages", ZONE(managed) },
};

static const struct {
	const char *label, *name;
	enum machine_counter part[2];
	uint8_t count;
} node_lines[] = {
	{ "free", "free_pages", { MACHINE_FREE }, 1 },
	{ "active", "active_pages", { MACHINE_ACTIVE_ANON, MACHINE_ACTIVE_FILE }, 2 },
	{ "inactive", "inactive_pages", { MACHINE_INACTIVE_ANON, MACHINE_INACTIVE_FILE }, 2 },
	{ "unevictable", "unevictable_pages", { MACHINE_UNEVICTABLE }, 1 },
	{ "anonymous", "anonymous_pages", { MACHINE_ANON }, 1 },
	{ "file", "file_pages", { MACHINE_FILE }, 1 },
	{ "shared memory", "shared_memory_pages", { MACHINE_SHMEM }, 1 },
	{ "slab", "slab_pages", { MACHINE_SLAB_RECLAIMABLE, MACHINE_SLAB_UNRECLAIMABLE }, 2 },
	{ "page tables", "page_table_pages", { MACHINE_PAGE_TABLES }, 1 },
	{ "numa misses", "numa_misses_pages", { MACHINE_NUMA_MISS }, 1 },
};

static const char *zone_state(const struct machine_zone *zone)
{
	uint64_t low = zone->low + zone->boost;

	if (zone->free < zone->min)
		return "below min";
	return zone->free < low ? "below low" : zone->free < zone->high ? "below high" : "ok";
}

static void emit_zone(struct emitter *e, const struct machine_zone *zone, struct arena *arena)
{
	emit_object(e, NULL);
	emit_string(e, "name", text_printable(arena, zone->name), "  %-7s");
	for (size_t i = 0; i < sizeof(zone_columns) / sizeof(zone_columns[0]); i++)
		emit_u64(e, zone_columns[i].name,
		         *(const uint64_t *)((const char *)zone + zone_columns[i].offset),
		         i ? " %8" PRIu64 : " %9" PRIu64);
	emit_string(e, "state", zone_state(zone), "  %s\n");
	emit_object_end(e);
}

static void emit_node(struct emitter *e, const struct machine_node *node, struct arena *arena)
{
	bool known;
	uint64_t value;

	emit_object(e, NULL);
	emit_u64(e, "node", node->number, "\nNode %" PRIu64 ":");
	for (size_t i = 0; i < sizeof(node_lines) / sizeof(node_lines[0]); i++) {
		value = machine_sum(&node->counters, 1, node_lines[i].part, node_lines[i].count,
		                    &known);
		if (!known)
			continue;
		emit_u64(e, node_lines[i].name, value, NULL);
		emit_text(e, "%s%s %" PRIu64,
		          i % 4 ? ", "
		          : i   ? ",\n  "
		                : " ",
		          node_lines[i].label, value);
	}
	emit_text(e, "\n  %-7s", "zone");
	for (size_t i = 0; i < sizeof(zone_columns) / sizeof(zone_columns[0]); i++)
		emit_text(e, i ? " %8s" : " %9s", zone_columns[i].title);
	emit_text(e, "  state\n");
	emit_array(e, "zones");
	for (size_t i = 0; i < node->zone_count; i++)
		emit_zone(e, &node->zones[i], arena);
	emit_array_end(e);
	emit_object_end(e);
}

struct error *vm_stat_emit_nodes(struct emitter *e, const char *root)
{
	struct machine_node *nodes;
	struct arena arena;
	struct error *error;
	size_t count = 0;

	arena_init(&arena, &os_page_source);
	error = machine_nodes_read(root, &arena, &nodes, &count);
	emit_array(e, "nodes");
	for (size_t i = 0; i < count; i++)
		emit_node(e, &nodes[i], &arena);
	emit_array_end(e);
	arena_deinit(&arena);
	return error;
}

// --- a control group -----------------------------------------------------------------------------

static void emit_limit(struct emitter *e, const char *key, const char *label, uint64_t bytes)
{
	char size[TEXT_SIZE_BYTES];

	emit_text(e, "%-16s %s\n", label, bytes == UINT64_MAX ? "none" : text_size(bytes, size));
	emit_known_u64(e, key, bytes != UINT64_MAX, bytes, NULL);
}

void vm_stat_emit_group(struct emitter *e, const struct machine_group *group)
{
	struct arena arena;

	arena_init(&arena, &os_page_source);
	emit_object(e, "group");
	emit_string(e, "path", text_printable(&arena, group->path), "Control group:   %s");
	emit_u64(e, "version", group->version, " (version %" PRIu64 ")\n");
	emit_limit(e, "usage_bytes", "Used:", group->usage_bytes);
	emit_limit(e, "limit_bytes", "Limit:", group->limit_bytes);
	emit_limit(e, "high_bytes", "Slowed down at:", group->high_bytes);
	emit_known_u64(e, "peak_bytes", group->peak_bytes, group->peak_bytes, NULL);
	emit_known_u64(e, "swap_bytes", group->has_swap, group->swap_bytes, NULL);
	emit_known_u64(e, "limit_hits", group->has_limit_hits, group->limit_hits, NULL);
	emit_known_u64(e, "oom_kills", group->has_oom_kills, group->oom_kills, NULL);
	if (group->has_limit_hits)
		emit_text(e, "Limit reached:   %" PRIu64 " times\n", group->limit_hits);
	if (group->has_oom_kills)
		emit_text(e, "Ended:           %" PRIu64 " for lack of memory\n", group->oom_kills);
	emit_object_end(e);
	arena_deinit(&arena);
}

// --- processes -----------------------------------------------------------------------------------

static void emit_pages(struct emitter *e, const char *key, uint64_t bytes, bool known)
{
	emit_known_u64(e, key, known, bytes, NULL);
	if (known)
		emit_text(e, " %9" PRIu64, bytes / os_page_bytes());
	else
		emit_text(e, " %9s", "n/a");
}

static void emit_process(struct emitter *e, const struct machine_process *process,
                         const struct machine_process *before, struct arena *arena)
{
	const struct os_status_memory *memory = &process->memory;
	bool has = memory->is_known;
	char buffer[32];
	uint64_t soft = process->soft_faults, hard = process->hard_faults;

	if (before) {
		soft -= soft > before->soft_faults ? before->soft_faults : soft;
		hard -= hard > before->hard_faults ? before->hard_faults : hard;
	}
	emit_object(e, NULL);
	emit_u64(e, "pid", (uint64_t)process->pid, "%8" PRIu64);
	emit_u64(e, "soft_faults", soft, NULL);
	emit_text(e, " %10s", vm_stat_scaled(soft, 10, buffer));
	emit_u64(e, "hard_faults", hard, NULL);
	emit_text(e, " %8s", vm_stat_scaled(hard, 8, buffer));
	emit_u64(e, "children_soft_faults", process->children_soft_faults, NULL);
	emit_u64(e, "children_hard_faults", process->children_hard_faults, NULL);
	emit_pages(e, "resident_bytes", memory->resident_bytes, has);
	emit_pages(e, "swapped_bytes", memory->swapped_bytes, has);
	emit_pages(e, "wired_bytes", memory->locked_bytes + memory->pinned_bytes, has);
	emit_u64(e, "locked_bytes", memory->locked_bytes, NULL);
	emit_u64(e, "pinned_bytes", memory->pinned_bytes, NULL);
	emit_string(e, "name", text_printable(arena, process->name), "  %s\n");
	emit_object_end(e);
}

struct watched {
	int pid;
	struct machine_process before;
	bool is_seen, is_gone;
};

struct watch {
	const struct vm_stat_settings *settings;
	struct arena *arena;
	VEC(struct watched) list;
};

static struct error *watch_fill(struct watch *watch)
{
	const struct option_list *wanted = &watch->settings->processes;

	for (size_t i = 0; i < wanted->n; i++) {
		size_t count;
		int *pids;

		TRY(machine_processes_find(watch->settings->root, watch->arena, wanted->v[i], &pids,
		                           &count));
		for (size_t k = 0; k < count; k++)
			vec_add(&watch->list)->pid = pids[k];
	}
	return NULL;
}

// How many are left. The error is that of a process which never was.
static struct error *emit_processes(struct emitter *e, struct watch *watch, size_t *ret_left)
{
	struct error *failed = NULL;

	*ret_left = 0;
	emit_object(e, NULL);
	emit_array(e, "processes");
	for (size_t i = 0; i < watch->list.n; i++) {
		struct watched *one = &watch->list.v[i];
		struct machine_process now;
		struct error *error =
			one->is_gone ? NULL
				     : machine_process_read(watch->settings->root, one->pid, &now);

		if (error && !one->is_seen)
			failed = error;
		one->is_gone |= error != NULL;
		if (one->is_gone)
			continue;
		emit_process(e, &now, one->is_seen ? &one->before : NULL, watch->arena);
		one->before = now;
		one->is_seen = true;
		++*ret_left;
	}
	emit_array_end(e);
	emit_object_end(e);
	return failed;
}

static struct error *watch_run(struct emitter *e, struct watch *watch)
{
	const struct vm_stat_settings *settings = watch->settings;
	struct report_ticks ticks;
	struct error *error;
	size_t left;

	TRY(report_ticks_begin(settings->interval_ns, settings->count, &ticks));
	do {
		if (ticks.number % 20 == 0)
			emit_text(e, "%8s %10s %8s %9s %9s %9s  name\n", "pid", "soft", "hard",
			          "resident", "swapped", "wired");
		error = emit_processes(e, watch, &left);
	} while (!error && left && emit_flush(e) && report_ticks_next(&ticks));
	report_ticks_end(&ticks);
	return error;
}

static struct error *emit_watch(struct watch *watch)
{
	const struct report_options *common = &watch->settings->common;
	struct emitter *e = emit_begin(common->out, common->json ? EMIT_JSON : EMIT_TEXT);
	struct error *error, *failed;

	emit_string(e, "tool", common->tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	emit_u64(e, "page_bytes", os_page_bytes(), NULL);
	emit_array(e, "samples");
	error = watch_run(e, watch);
	emit_array_end(e);
	failed = emit_end(e);
	return error ? error : failed;
}

struct error *vm_stat_processes(const struct vm_stat_settings *settings, int *ret_exit)
{
	struct watch watch = { .settings = settings };
	struct error *error;
	struct arena arena;

	arena_init(&arena, &os_page_source);
	watch.arena = &arena;
	vec_init(&watch.list, &os_page_source);
	error = watch_fill(&watch);
	if (!error)
		error = emit_watch(&watch);
	vec_deinit(&watch.list);
	arena_deinit(&arena);
	*ret_exit = EXIT_FINE;
	return error;
}
