// SPDX-License-Identifier: MIT
// What only Linux counts: how well reclaim works, swap and its compressors, huge pages, stalls. The text
// has the form of vm_stat's lines; JSON has every counter under its own name.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "report/vm_stat_impl.h"

#define PARTS 4

// A sum of counters as a line. Sizes are shown in pages, as all of vm_stat.
struct more_line {
	const char *label; // without counters: a heading
	enum machine_counter part[PARTS];
	uint8_t count;
};

static const struct more_line more_lines[] = {
	{ "Reclaim", { 0 }, 0 },
	{ "Hard faults", { MACHINE_MAJOR_FAULTS }, 1 },
	{ "Scanned in background", { MACHINE_SCAN_KSWAPD, MACHINE_SCAN_KHUGEPAGED }, 2 },
	{ "Reclaimed in background", { MACHINE_STEAL_KSWAPD, MACHINE_STEAL_KHUGEPAGED }, 2 },
	{ "Scanned by who waits", { MACHINE_SCAN_DIRECT, MACHINE_SCAN_PROACTIVE }, 2 },
	{ "Reclaimed by who waits", { MACHINE_STEAL_DIRECT, MACHINE_STEAL_PROACTIVE }, 2 },
	{ "Allocations that waited",
	  { MACHINE_STALL_DMA, MACHINE_STALL_DMA32, MACHINE_STALL_NORMAL, MACHINE_STALL_MOVABLE },
	  4 },
	{ "Refaults of files", { MACHINE_REFAULT_FILE }, 1 },
	{ "Refaults of anonymous pages", { MACHINE_REFAULT_ANON }, 1 },
	{ "Refaults of hot pages", { MACHINE_REACTIVATE_FILE, MACHINE_REACTIVATE_ANON }, 2 },
	{ "Copies avoided", { MACHINE_REUSED }, 1 },
	{ "Ended for lack of memory", { MACHINE_OOM_KILLS }, 1 },
	{ "Swap", { 0 }, 0 },
	{ "Swap space", { MACHINE_SWAP_TOTAL }, 1 },
	{ "Swap space free", { MACHINE_SWAP_FREE }, 1 },
	{ "Stored in zswap", { MACHINE_ZSWAP_STORED }, 1 },
	{ "Occupied by zswap", { MACHINE_ZSWAP_OCCUPIED }, 1 },
	{ "Written back by zswap", { MACHINE_ZSWAP_WRITEBACK }, 1 },
	{ "Stored in zram", { MACHINE_ZRAM_STORED }, 1 },
	{ "Occupied by zram", { MACHINE_ZRAM_OCCUPIED }, 1 },
	{ "Huge pages", { 0 }, 0 },
	{ "Anonymous in huge pages", { MACHINE_THP_ANON }, 1 },
	{ "Shared memory in huge pages", { MACHINE_THP_SHMEM }, 1 },
	{ "Files in huge pages", { MACHINE_THP_FILE }, 1 },
	{ "Huge faults", { MACHINE_THP_FAULT }, 1 },
	{ "Huge faults without a page", { MACHINE_THP_FALLBACK }, 1 },
	{ "Collapsed to huge pages", { MACHINE_THP_COLLAPSE }, 1 },
	{ "Huge pages split", { MACHINE_THP_SPLIT }, 1 },
	{ "Reserved for hugetlbfs", { MACHINE_HUGETLB }, 1 },
};

static const enum machine_counter scanned[] = { MACHINE_SCAN_KSWAPD, MACHINE_SCAN_DIRECT,
	                                        MACHINE_SCAN_KHUGEPAGED, MACHINE_SCAN_PROACTIVE };
static const enum machine_counter stolen[] = { MACHINE_STEAL_KSWAPD, MACHINE_STEAL_DIRECT,
	                                       MACHINE_STEAL_KHUGEPAGED, MACHINE_STEAL_PROACTIVE };

static void emit_label(struct emitter *e, const char *label)
{
	emit_text(e, "%s:%*s", label, (int)(29 - strlen(label)), "");
}

static void more_in_text(struct emitter *e, const struct vm_stat_look *look,
                         const struct more_line *line)
{
	bool known;
	uint64_t value;

	if (!line->count) {
		emit_text(e, "\n%s\n", line->label);
		return;
	}
	value = machine_sum(vm_stat_counters(look), look->sample.page_bytes, line->part,
	                    line->count, &known);
	if (machine_counter_rows[line->part[0]].unit != MACHINE_UNIT_EVENTS)
		value /= look->sample.page_bytes;
	emit_label(e, line->label);
	if (known)
		emit_text(e, "%16" PRIu64 ".\n", value);
	else
		emit_text(e, "%16s.\n", "n/a");
}

// Of the pages that were looked at, those that could be taken.
static void emit_efficiency(struct emitter *e, const struct vm_stat_look *look, bool in_text)
{
	bool known, ignored;
	uint64_t looked = machine_sum(vm_stat_counters(look), 1, scanned, 4, &known);
	uint64_t taken = machine_sum(vm_stat_counters(look), 1, stolen, 4, &ignored);

	if (in_text)
		emit_label(e, "\nReclaim efficiency");
	if (!known || !looked) {
		emit_null(e, "reclaim_efficiency_percent");
		if (in_text)
			emit_text(e, "%17s.\n", "n/a");
		return;
	}
	emit_double(e, "reclaim_efficiency_percent", (double)taken * 100 / (double)looked,
	            in_text ? "%16.0f%%.\n" : NULL);
}

static const char *counter_key(const struct machine_counter_row *row, char buffer[64])
{
	static const char *const suffixes[] = { "_pages", "_bytes", "" };

	snprintf(buffer, 64, "%s%s", row->name, suffixes[row->unit]);
	return buffer;
}

static void emit_counters(struct emitter *e, const struct machine_counters *counters)
{
	char key[64];

	emit_object(e, "counters");
	for (size_t i = 0; i < MACHINE_COUNTER_COUNT; i++)
		if (counters->is_known[i])
			emit_u64(e, counter_key(&machine_counter_rows[i], key), counters->value[i],
			         NULL);
	emit_object_end(e);
}

static void emit_stall(struct emitter *e, const char *key, const struct os_stall *stall,
                       const char *label)
{
	if (!stall->is_known)
		return;
	emit_object(e, key);
	if (label)
		emit_text(e, "%-8s %s  ", label, key);
	emit_double(e, "percent_10", stall->share_10, label ? "%8.2f%%" : NULL);
	emit_double(e, "percent_60", stall->share_60, label ? "%8.2f%%" : NULL);
	emit_double(e, "percent_300", stall->share_300, label ? "%8.2f%%" : NULL);
	emit_u64(e, "total_us", stall->total_us, NULL);
	if (label)
		emit_text(e, "%16.3f\n", (double)stall->total_us / 1e6);
	emit_object_end(e);
}

static void emit_pressure(struct emitter *e, const char *key, const struct os_pressure *pressure,
                          const char *label)
{
	emit_object(e, key);
	emit_stall(e, "some", &pressure->some, label);
	emit_stall(e, "full", &pressure->full, label);
	emit_object_end(e);
}

static void emit_stalls(struct emitter *e, const struct vm_stat_look *look, bool in_text)
{
	bool known = look->has_group ? look->group.memory.some.is_known
	                             : look->sample.memory.some.is_known;

	if (in_text && known)
		emit_text(e, "\nPressure         10 s     60 s    300 s    %s\n",
		          look->is_difference ? "   seconds now" : "seconds in all");
	else if (in_text)
		emit_text(e, "\nPressure: n/a (no pressure stall information here)\n");
	emit_object(e, "pressure");
	if (look->has_group) {
		emit_pressure(e, "memory", &look->group.memory, in_text ? "memory" : NULL);
	} else {
		emit_pressure(e, "memory", &look->sample.memory, in_text ? "memory" : NULL);
		emit_pressure(e, "io", &look->sample.io, in_text ? "io" : NULL);
		emit_pressure(e, "cpu", &look->sample.cpu, in_text ? "cpu" : NULL);
	}
	emit_object_end(e);
}

void vm_stat_emit_more(struct emitter *e, const struct vm_stat_look *look, bool in_text)
{
	for (size_t i = 0; in_text && i < sizeof(more_lines) / sizeof(more_lines[0]); i++)
		more_in_text(e, look, &more_lines[i]);
	emit_efficiency(e, look, in_text);
	emit_stalls(e, look, in_text);
	emit_counters(e, vm_stat_counters(look));
}
