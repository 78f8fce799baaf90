// SPDX-License-Identifier: MIT
// The samples of heapwright monitor as JSON (monitor.c).
#include "tools/monitor_impl.h"

#include "base/text.h"
#include "os/os.h"

static void emit_machine(struct emitter *e, const struct monitor_view *view)
{
	char key[64];

	for (size_t i = 0; i < MONITOR_NUMBER_COUNT; i++) {
		if (!monitor_number_key((enum monitor_number)i, key))
			continue;
		if (!view->numbers.is_known[i])
			emit_null(e, key);
		else if (monitor_number_rows[i].is_total)
			emit_double(e, key, view->rate[i], NULL);
		else
			emit_u64(e, key, view->numbers.value[i], NULL);
	}
}

static void emit_process(struct emitter *e, const struct monitor_row *row)
{
	struct arena arena;

	arena_init(&arena, &os_page_source);
	emit_object(e, NULL);
	emit_u64(e, "pid", (uint64_t)row->process.pid, NULL);
	emit_string(e, "name", text_printable(&arena, row->process.name), NULL);
	emit_u64(e, "footprint_bytes", row->process.footprint_bytes, NULL);
	emit_i64(e, "growth_bytes", row->growth_bytes, NULL);
	emit_u64(e, "resident_bytes", row->process.resident_bytes, NULL);
	emit_u64(e, "swapped_bytes", row->process.swapped_bytes, NULL);
	emit_double(e, "faults_per_s", row->faults, NULL);
	emit_double(e, "hard_faults_per_s", row->hard, NULL);
	emit_object_end(e);
	arena_deinit(&arena);
}

void monitor_emit_sample(struct emitter *e, const struct monitor_view *view, size_t most)
{
	const struct monitor_verdict *verdict = &view->verdict;
	char when[32];

	monitor_time_text(view->wall_ns, when);
	emit_object(e, NULL);
	emit_string(e, "time", when, NULL);
	emit_u64(e, "time_ns", view->wall_ns, NULL);
	emit_u64(e, "passed_ns", view->passed_ns, NULL);
	emit_string(e, "pressure", machine_level_name(view->level), NULL);
	emit_bool(e, "thrashing", verdict->is_thrashing, NULL);
	emit_known_double(e, "some_stall_percent", verdict->has_stall, verdict->some_percent, NULL);
	emit_known_double(e, "full_stall_percent", verdict->has_stall, verdict->full_percent, NULL);
	emit_double(e, "refault_percent", verdict->refault_percent, NULL);
	emit_u64(e, "process_count", view->process_count, NULL);
	emit_machine(e, view);
	emit_array(e, "processes");
	for (size_t i = 0; i < view->row_count && i < most; i++)
		emit_process(e, &view->rows.v[i]);
	emit_array_end(e);
	emit_object_end(e);
}
