// SPDX-License-Identifier: MIT
// The numbers of a sample (monitor.h). Those that vm_stat shows too are taken from its lines, so that both
// always say the same.
#include "monitor/monitor.h"

#include <string.h>

#include "os/os.h"

#define ROW(identifier, name, unit, is_total) \
	[MONITOR_##identifier] = { name, MONITOR_##unit, is_total },
const struct monitor_number_row monitor_number_rows[MONITOR_NUMBER_COUNT] = { MONITOR_NUMBERS(
	ROW) };
#undef ROW

const char *monitor_number_key(enum monitor_number number, char ret[64])
{
	const struct monitor_number_row *row = &monitor_number_rows[number];

	if (row->unit == MONITOR_MICROSECONDS) // shown as shares of time
		return NULL;
	snprintf(ret, 64, "%s%s%s", row->name, row->unit == MONITOR_BYTES ? "_bytes" : "",
	         row->is_total ? "_per_s" : "");
	return ret;
}

static void set(struct monitor_numbers *numbers, enum monitor_number number, bool is_known,
                uint64_t value)
{
	numbers->is_known[number] = is_known;
	numbers->value[number] = is_known ? value : 0;
}

// Lines of vm_stat, by their name in JSON.
static const struct {
	enum monitor_number number;
	const char *line;
} from_lines[] = {
	{ MONITOR_FREE, "free_pages" },
	{ MONITOR_ACTIVE, "active_pages" },
	{ MONITOR_INACTIVE, "inactive_pages" },
	{ MONITOR_WIRED, "wired_pages" },
	{ MONITOR_ANONYMOUS, "anonymous_pages" },
	{ MONITOR_CACHED, "file_backed_pages" },
	{ MONITOR_STORED, "compressor_stored_pages" },
	{ MONITOR_COMPRESSED, "compressor_occupied_pages" },
	{ MONITOR_FAULTS, "faults" },
	{ MONITOR_REACTIVATED, "reactivated_pages" },
	{ MONITOR_PAGED_IN, "pageins" },
	{ MONITOR_PAGED_OUT, "pageouts" },
	{ MONITOR_SWAPPED_IN, "swapins" },
	{ MONITOR_SWAPPED_OUT, "swapouts" },
};

static const struct machine_line *line_named(const char *name)
{
	for (size_t i = 0; i < MACHINE_LINE_COUNT; i++)
		if (!strcmp(machine_lines[i].name, name))
			return &machine_lines[i];
	return NULL;
}

// Sums of counters.
struct sum {
	enum monitor_number number;
	size_t count;
	enum machine_counter counters[4];
};

static const struct sum sums[] = {
	{ MONITOR_SIZE, 1, { MACHINE_TOTAL } },
	{ MONITOR_AVAILABLE, 1, { MACHINE_AVAILABLE } },
	{ MONITOR_DIRTY, 2, { MACHINE_DIRTY, MACHINE_WRITEBACK } },
	{ MONITOR_SWAP_SIZE, 1, { MACHINE_SWAP_TOTAL } },
	{ MONITOR_HARD_FAULTS, 1, { MACHINE_MAJOR_FAULTS } },
	{ MONITOR_OOM_KILLS, 1, { MACHINE_OOM_KILLS } },
	{ MONITOR_RECLAIMED,
	  4,
	  { MACHINE_STEAL_KSWAPD, MACHINE_STEAL_DIRECT, MACHINE_STEAL_KHUGEPAGED,
	    MACHINE_STEAL_PROACTIVE } },
	{ MONITOR_REFAULTED, 2, { MACHINE_REFAULT_ANON, MACHINE_REFAULT_FILE } },
	{ MONITOR_REFAULTED_HOT, 2, { MACHINE_REACTIVATE_ANON, MACHINE_REACTIVATE_FILE } },
};

static void take_swap(const struct machine_counters *counters, struct monitor_numbers *ret)
{
	uint64_t size = counters->value[MACHINE_SWAP_TOTAL];
	uint64_t unused = counters->value[MACHINE_SWAP_FREE];

	set(ret, MONITOR_SWAP_USED,
	    counters->is_known[MACHINE_SWAP_TOTAL] && counters->is_known[MACHINE_SWAP_FREE],
	    size > unused ? size - unused : 0);
}

void monitor_numbers_take(const struct machine_sample *machine, struct monitor_numbers *ret)
{
	const struct machine_counters *counters = &machine->counters;
	uint64_t value;
	bool known;

	*ret = (struct monitor_numbers){ 0 };
	for (size_t i = 0; i < sizeof(from_lines) / sizeof(from_lines[0]); i++) {
		enum monitor_number number = from_lines[i].number;

		known = machine_line_value(line_named(from_lines[i].line), counters,
		                           machine->page_bytes, &value);
		if (monitor_number_rows[number].unit == MONITOR_BYTES)
			value *= machine->page_bytes;
		set(ret, number, known, value);
	}
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
		value = machine_sum(counters, machine->page_bytes, sums[i].counters, sums[i].count,
		                    &known);
		set(ret, sums[i].number, known, value);
	}
	take_swap(counters, ret);
	set(ret, MONITOR_STALL_SOME, machine->memory.some.is_known, machine->memory.some.total_us);
	set(ret, MONITOR_STALL_FULL, machine->memory.full.is_known, machine->memory.full.total_us);
}

void monitor_sample_init(struct monitor_sample *sample)
{
	*sample = (struct monitor_sample){ .level = MACHINE_NORMAL };
	vec_init(&sample->processes, &os_page_source);
}

void monitor_sample_deinit(struct monitor_sample *sample)
{
	vec_deinit(&sample->processes);
}
