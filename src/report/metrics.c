// SPDX-License-Identifier: MIT
// The numbers of vm_stat for monitoring systems: the text format of Prometheus, or OpenMetrics to the
// letter, which names a counter's family without _total. Called by vm_stat and the loopback server.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "machine/machine.h"
#include "os/os.h"
#include "report/report.h"

struct writer {
	FILE *out;
	struct arena *arena;
	const struct metrics_settings *settings;
};

static void write_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			fputc('\\', out);
		fputc(*text, out);
	}
}

// The head of a family. name is without heapwright_ and _total.
static void family(const struct writer *w, const char *name, bool is_total, const char *help)
{
	const char *suffix = is_total && !w->settings->strict ? "_total" : "";

	fprintf(w->out, "# HELP heapwright_%s%s ", name, suffix);
	write_escaped(w->out, help);
	fprintf(w->out, "\n# TYPE heapwright_%s%s %s\n", name, suffix,
	        is_total ? "counter" : "gauge");
}

// Labels come in pairs of name and value, NULL at the end; values are foreign.
static void sample_begin(const struct writer *w, const char *name, bool is_total,
                         const char *const *labels)
{
	fprintf(w->out, "heapwright_%s%s", name, is_total ? "_total" : "");
	for (size_t i = 0; labels && labels[i]; i += 2) {
		fprintf(w->out, "%s%s=\"", i ? "," : "{", labels[i]);
		write_escaped(w->out, text_printable(w->arena, labels[i + 1]));
		fputc('"', w->out);
	}
	fputs(labels && labels[0] ? "} " : " ", w->out);
}

static void sample_u64(const struct writer *w, const char *name, bool is_total,
                       const char *const *labels, uint64_t value)
{
	sample_begin(w, name, is_total, labels);
	fprintf(w->out, "%" PRIu64 "\n", value);
}

static void sample_double(const struct writer *w, const char *name, bool is_total,
                          const char *const *labels, double value)
{
	sample_begin(w, name, is_total, labels);
	fprintf(w->out, "%.6f\n", value);
}

// --- the machine ---------------------------------------------------------------------------------

static void write_counter(const struct writer *w, const struct machine_counter_row *row,
                          uint64_t value)
{
	static const char *const suffixes[] = { "_pages", "_bytes", "" };
	static const char *const files[] = { "/proc/vmstat", "/proc/meminfo", "zram" };
	char name[96], help[96];

	snprintf(name, sizeof(name), "%s%s", row->name, suffixes[row->unit]);
	snprintf(help, sizeof(help), "%s of %s.", row->key, files[row->file]);
	family(w, name, row->is_total, help);
	sample_u64(w, name, row->is_total, NULL, value);
}

static void write_counters(const struct writer *w, const struct machine_counters *counters)
{
	for (size_t i = 0; i < MACHINE_COUNTER_COUNT; i++)
		if (counters->is_known[i])
			write_counter(w, &machine_counter_rows[i], counters->value[i]);
}

// The lines of vm_stat that are no single counter of the kernel.
static void write_lines(const struct writer *w, const struct machine_sample *sample)
{
	uint64_t value;

	for (size_t i = 0; i < MACHINE_LINE_COUNT; i++) {
		const struct machine_line *line = &machine_lines[i];
		char name[64];

		if (line->plus_count + line->minus_count < 2 || line->is_total ||
		    !machine_line_value(line, &sample->counters, sample->page_bytes, &value))
			continue;
		snprintf(name, sizeof(name), "vm_%s", line->name);
		family(w, name, false, line->formula);
		sample_u64(w, name, false, NULL, value);
	}
}

static const struct {
	const char *name;
	size_t offset;
} resources[] = {
	{ "memory", offsetof(struct machine_sample, memory) },
	{ "io", offsetof(struct machine_sample, io) },
	{ "cpu", offsetof(struct machine_sample, cpu) },
};

static void write_stall(const struct writer *w, bool shares, const char *resource, const char *kind,
                        const struct os_stall *stall)
{
	const char *labels[] = { "resource", resource, "kind", kind, NULL, NULL, NULL };
	const double windows[] = { stall->share_10, stall->share_60, stall->share_300 };
	static const char *const names[] = { "10s", "60s", "300s" };

	if (!stall->is_known)
		return;
	if (!shares) {
		sample_double(w, "pressure_stalled_seconds", true, labels,
		              (double)stall->total_us / 1e6);
		return;
	}
	labels[4] = "window";
	for (size_t i = 0; i < 3; i++) {
		labels[5] = names[i];
		sample_double(w, "pressure_stalled_ratio", false, labels, windows[i] / 100);
	}
}

static void write_pressure(const struct writer *w, const struct machine_sample *sample, bool shares)
{
	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
		const struct os_pressure *pressure =
			(const void *)((const char *)sample + resources[i].offset);

		write_stall(w, shares, resources[i].name, "some", &pressure->some);
		write_stall(w, shares, resources[i].name, "full", &pressure->full);
	}
}

static void write_machine(const struct writer *w, const struct machine_sample *sample)
{
	write_counters(w, &sample->counters);
	write_lines(w, sample);
	if (!sample->memory.some.is_known)
		return;
	family(w, "pressure_stalled_seconds", true,
	       "Time in which some or all tasks waited for a resource (/proc/pressure).");
	write_pressure(w, sample, false);
	family(w, "pressure_stalled_ratio", false,
	       "Share of a window of time in which some or all tasks waited for a resource.");
	write_pressure(w, sample, true);
}

static void write_level(const struct writer *w, const struct machine_sample *sample,
                        const struct machine_group *group)
{
	struct machine_verdict verdict;

	machine_judge(NULL, sample, NULL, group, &verdict);
	family(w, "memory_pressure_level", false,
	       "1 normal, 2 warning, 4 critical, by the rules of heapwright pressure.");
	sample_u64(w, "memory_pressure_level", false, NULL, verdict.level);
}

// --- zones, a group, processes -------------------------------------------------------------------

static void write_zone(const struct writer *w, unsigned node, const struct machine_zone *zone)
{
	const struct {
		const char *state;
		uint64_t pages;
	} rows[] = {
		{ "free", zone->free }, { "min", zone->min },         { "low", zone->low },
		{ "high", zone->high }, { "managed", zone->managed },
	};
	char number[16];

	snprintf(number, sizeof(number), "%u", node);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *const labels[] = { "node",  number,        "zone", zone->name,
			                       "state", rows[i].state, NULL };

		sample_u64(w, "zone_pages", false, labels, rows[i].pages);
	}
}

static void write_zones(const struct writer *w)
{
	struct machine_node *nodes;
	size_t count;

	if (machine_nodes_read(w->settings->root, w->arena, &nodes, &count) || !count)
		return;
	family(w, "zone_pages", false,
	       "Free pages of a zone, the thresholds of its free list, and its size "
	       "(/proc/zoneinfo).");
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < nodes[i].zone_count; k++)
			write_zone(w, nodes[i].number, &nodes[i].zones[k]);
}

static void write_group(const struct writer *w, const struct machine_group *group)
{
	const char *const labels[] = { "group", group->path, NULL };

	family(w, "group_usage_bytes", false, "What a control group uses, file cache included.");
	sample_u64(w, "group_usage_bytes", false, labels, group->usage_bytes);
	if (group->limit_bytes != UINT64_MAX) {
		family(w, "group_limit_bytes", false, "What a control group may use.");
		sample_u64(w, "group_limit_bytes", false, labels, group->limit_bytes);
	}
	if (group->has_oom_kills) {
		family(w, "group_oom_kills", true,
		       "Processes of a control group that were ended for lack of memory.");
		sample_u64(w, "group_oom_kills", true, labels, group->oom_kills);
	}
	family(w, "group_faults", true, "Page faults of a control group.");
	sample_u64(w, "group_faults", true, labels, group->counters.value[MACHINE_FAULTS]);
}

static const struct {
	const char *name;
	bool is_total;
	const char *help;
	size_t offset[2]; // of what is summed
	size_t count;
} process_families[] = {
	{ "process_soft_faults",
	  true,
	  "Page faults that did not read.",
	  { offsetof(struct machine_process, soft_faults) },
	  1 },
	{ "process_hard_faults",
	  true,
	  "Page faults that had to read.",
	  { offsetof(struct machine_process, hard_faults) },
	  1 },
	{ "process_resident_bytes",
	  false,
	  "VmRSS of a process.",
	  { offsetof(struct machine_process, memory.resident_bytes) },
	  1 },
	{ "process_swapped_bytes",
	  false,
	  "VmSwap of a process.",
	  { offsetof(struct machine_process, memory.swapped_bytes) },
	  1 },
	{ "process_wired_bytes",
	  false,
	  "VmLck and VmPin of a process.",
	  { offsetof(struct machine_process, memory.locked_bytes),
	    offsetof(struct machine_process, memory.pinned_bytes) },
	  2 },
};

typedef VEC(struct machine_process) process_vec;

static void write_process(const struct writer *w, size_t which,
                          const struct machine_process *process)
{
	char number[16];
	const char *const labels[] = { "pid", number, "name", process->name, NULL };
	uint64_t value = 0;

	snprintf(number, sizeof(number), "%d", process->pid);
	for (size_t i = 0; i < process_families[which].count; i++)
		value += *(const uint64_t *)((const char *)process +
		                             process_families[which].offset[i]);
	sample_u64(w, process_families[which].name, process_families[which].is_total, labels,
	           value);
}

// Each process once, also when two words name it.
static void add_process(const struct writer *w, process_vec *list, int pid)
{
	struct machine_process process;

	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].pid == pid)
			return;
	if (!machine_process_read(w->settings->root, pid, &process))
		vec_push(list, process);
}

static void write_processes(const struct writer *w)
{
	const struct option_list *wanted = &w->settings->processes;
	process_vec list;
	size_t count;
	int *pids;

	vec_init(&list, &os_page_source);
	for (size_t i = 0; i < wanted->n; i++) {
		if (machine_processes_find(w->settings->root, w->arena, wanted->v[i], &pids,
		                           &count))
			continue;
		for (size_t k = 0; k < count; k++)
			add_process(w, &list, pids[k]);
	}
	for (size_t i = 0; list.n && i < sizeof(process_families) / sizeof(process_families[0]);
	     i++) {
		family(w, process_families[i].name, process_families[i].is_total,
		       process_families[i].help);
		for (size_t k = 0; k < list.n; k++)
			write_process(w, i, &list.v[k]);
	}
	vec_deinit(&list);
}

static struct error *write_all(const struct writer *w)
{
	const struct metrics_settings *settings = w->settings;
	struct machine_sample sample;
	struct machine_group group;

	TRY(machine_read(settings->root, &sample));
	if (settings->group)
		TRY(machine_group_read(settings->root, w->arena, settings->group, &group));
	write_machine(w, &sample);
	write_level(w, &sample, settings->group ? &group : NULL);
	write_zones(w);
	if (settings->group)
		write_group(w, &group);
	write_processes(w);
	fputs("# EOF\n", w->out);
	return NULL;
}

struct error *report_metrics(FILE *out, const struct metrics_settings *settings)
{
	struct arena arena;
	struct writer w = { out, &arena, settings };
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = write_all(&w);
	arena_deinit(&arena);
	return error;
}
