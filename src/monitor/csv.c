// SPDX-License-Identifier: MIT
// Rows of CSV (monitor.h): of the machine, its totals as what was added a second; or of processes. Fields
// are quoted as RFC 4180 says.
#include "monitor/monitor.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"

void monitor_csv_heading(FILE *out, bool by_process)
{
	char key[64];

	if (by_process) {
		fputs("time,pid,name,footprint_bytes,growth_bytes,resident_bytes,swapped_bytes,"
		      "faults_per_s,hard_faults_per_s\n",
		      out);
		return;
	}
	fputs("time,interval_s,pressure,thrashing,some_stall_percent,full_stall_percent,processes",
	      out);
	for (size_t i = 0; i < MONITOR_NUMBER_COUNT; i++)
		if (monitor_number_key((enum monitor_number)i, key))
			fprintf(out, ",%s", key);
	fputc('\n', out);
}

// Commas and quotes within quotes; lines are one line, as control characters are escaped before.
static void put_name(FILE *out, const char *name)
{
	struct arena arena;

	arena_init(&arena, &os_page_source);
	name = text_printable(&arena, name);
	fputc('"', out);
	for (; *name; name++) {
		if (*name == '"')
			fputc('"', out);
		fputc(*name, out);
	}
	fputc('"', out);
	arena_deinit(&arena);
}

static void put_machine(FILE *out, const struct monitor_view *view, const char *when)
{
	const struct monitor_verdict *verdict = &view->verdict;

	fprintf(out, "%s,%.3f,%s,%d,", when, (double)view->passed_ns / 1e9,
	        machine_level_name(view->level), verdict->is_thrashing);
	if (verdict->has_stall)
		fprintf(out, "%.2f,%.2f", verdict->some_percent, verdict->full_percent);
	else
		fputc(',', out);
	fprintf(out, ",%" PRIu64, view->process_count);
	for (size_t i = 0; i < MONITOR_NUMBER_COUNT; i++) {
		if (monitor_number_rows[i].unit == MONITOR_MICROSECONDS)
			continue;
		fputc(',', out);
		if (view->numbers.is_known[i] && monitor_number_rows[i].is_total)
			fprintf(out, "%.1f", view->rate[i]);
		else if (view->numbers.is_known[i])
			fprintf(out, "%" PRIu64, view->numbers.value[i]);
	}
	fputc('\n', out);
}

static void put_process(FILE *out, const struct monitor_row *row, const char *when)
{
	const struct monitor_process *process = &row->process;

	fprintf(out, "%s,%d,", when, process->pid);
	put_name(out, process->name);
	fprintf(out, ",%" PRIu64 ",%" PRId64 ",%" PRIu64 ",%" PRIu64 ",%.1f,%.1f\n",
	        process->footprint_bytes, row->growth_bytes, process->resident_bytes,
	        process->swapped_bytes, row->faults, row->hard);
}

void monitor_csv_rows(FILE *out, const struct monitor_view *view, bool by_process)
{
	char when[32];

	monitor_time_text(view->wall_ns, when);
	if (!by_process)
		put_machine(out, view, when);
	for (size_t i = 0; by_process && i < view->row_count; i++)
		put_process(out, &view->rows.v[i], when);
}
