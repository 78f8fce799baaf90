// SPDX-License-Identifier: MIT
// footprint --sample: the cheap number of each process again and again, and its peak. Called by
// footprint.c.
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "report/footprint_impl.h"

struct peak {
	uint64_t least_bytes, most_bytes;
	bool gone;
};

static void sample_one(struct emitter *e, struct footprint_view *view, size_t index,
                       struct arena *arena, struct peak *peak)
{
	const struct os_account *process = &view->chosen.v[index].process;
	char size[FOOTPRINT_SIZE_BYTES];
	struct account now;

	// Another process may have got the number meanwhile.
	peak->gone |= !accounts_read(view->accounts, process->pid, &now) ||
	              now.process.start_ticks != process->start_ticks;
	if (peak->gone)
		return;
	if (now.footprint_bytes > peak->most_bytes)
		peak->most_bytes = now.footprint_bytes;
	if (now.footprint_bytes < peak->least_bytes)
		peak->least_bytes = now.footprint_bytes;
	emit_object(e, NULL);
	emit_text(e, "%11s", footprint_size(view, now.footprint_bytes, size));
	emit_text(e, "    %s [%d]\n", text_printable(arena, process->name), process->pid);
	emit_u64(e, "pid", (uint64_t)process->pid, NULL);
	emit_u64(e, "footprint_bytes", now.footprint_bytes, NULL);
	emit_u64(e, "resident_bytes", now.process.resident_bytes, NULL);
	emit_u64(e, "swapped_bytes", now.process.swapped_bytes, NULL);
	emit_object_end(e);
}

// False when every process has ended.
static bool sample_all(struct emitter *e, struct footprint_view *view, struct peak *peaks)
{
	struct arena arena;
	bool alive = false;

	arena_init(&arena, &os_page_source);
	emit_object(e, NULL);
	emit_string(e, "time", report_time_text(&arena, os_wall_ns(), true), "%s\n");
	emit_array(e, "processes");
	for (size_t i = 0; i < view->chosen.n; i++) {
		if (!peaks[i].gone)
			sample_one(e, view, i, &arena, &peaks[i]);
		alive |= !peaks[i].gone;
	}
	emit_array_end(e);
	emit_object_end(e);
	arena_deinit(&arena);
	return alive;
}

static void emit_peaks(struct emitter *e, struct footprint_view *view, const struct peak *peaks)
{
	char least[FOOTPRINT_SIZE_BYTES], most[FOOTPRINT_SIZE_BYTES];

	emit_text(e, "\n      least       most    process\n");
	emit_array(e, "peaks");
	for (size_t i = 0; i < view->chosen.n; i++) {
		const struct os_account *process = &view->chosen.v[i].process;
		const char *name = text_printable(&view->arena, process->name);

		if (peaks[i].least_bytes == UINT64_MAX)
			continue;
		emit_object(e, NULL);
		emit_text(e, "%11s%11s    %s [%d]%s\n",
		          footprint_size(view, peaks[i].least_bytes, least),
		          footprint_size(view, peaks[i].most_bytes, most), name, process->pid,
		          peaks[i].gone ? " (ended)" : "");
		emit_string(e, "name", name, NULL);
		emit_u64(e, "pid", (uint64_t)process->pid, NULL);
		emit_u64(e, "least_bytes", peaks[i].least_bytes, NULL);
		emit_u64(e, "most_bytes", peaks[i].most_bytes, NULL);
		emit_bool(e, "ended", peaks[i].gone, NULL);
		emit_object_end(e);
	}
	emit_array_end(e);
}

// Without a duration until all processes have ended or an interrupt comes. Each round is flushed:
// somebody may be watching.
struct error *footprint_samples(struct footprint_view *view)
{
	const struct footprint_settings *settings = view->settings;
	struct emitter *e =
		emit_begin(settings->common.out, settings->common.json ? EMIT_JSON : EMIT_TEXT);
	struct peak *peaks = arena_array(&view->arena, view->chosen.n, sizeof(*peaks));
	uint64_t rounds =
		settings->has_duration ? settings->duration_ns / settings->sample_ns + 1 : 0;
	struct report_ticks ticks;
	struct error *error, *unwritten;

	error = report_ticks_begin(settings->sample_ns, rounds, &ticks);
	for (size_t i = 0; i < view->chosen.n; i++)
		peaks[i].least_bytes = UINT64_MAX;
	emit_string(e, "tool", settings->common.tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	emit_array(e, "samples");
	while (!error && sample_all(e, view, peaks) && emit_flush(e) && report_ticks_next(&ticks))
		;
	report_ticks_end(&ticks);
	emit_array_end(e);
	emit_peaks(e, view, peaks);
	unwritten = emit_end(e);
	return error ? error : unwritten;
}
