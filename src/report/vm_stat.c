// SPDX-License-Identifier: MIT
// vm_stat: the numbers of the virtual memory system, once as lines or again and again as rows, of the
// machine or of a control group.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "os/os.h"
#include "report/vm_stat_impl.h"

// Texts of the group are in arena.
static struct error *take_look(const struct vm_stat_settings *settings, struct arena *arena,
                               struct vm_stat_look *ret)
{
	*ret = (struct vm_stat_look){ 0 };
	TRY(machine_read(settings->root, &ret->sample));
	if (!settings->group)
		return NULL;
	ret->has_group = true;
	return machine_group_read(settings->root, arena, settings->group, &ret->group);
}

static void difference(const struct vm_stat_look *before, const struct vm_stat_look *now,
                       struct vm_stat_look *ret)
{
	*ret = *now;
	ret->is_difference = true;
	machine_subtract(&before->sample, &now->sample, &ret->sample);
	machine_counters_subtract(&before->group.counters, &now->group.counters,
	                          &ret->group.counters);
	machine_pressure_subtract(&before->group.memory, &now->group.memory, &ret->group.memory);
}

static void emit_look(struct emitter *e, const struct vm_stat_look *look,
                      const struct vm_stat_settings *settings, uint64_t number)
{
	emit_object(e, NULL);
	emit_u64(e, "at_ms", look->sample.when_ns / 1000000, NULL);
	emit_bool(e, "is_difference", look->is_difference, NULL);
	if (settings->interval_ns) {
		vm_stat_emit_row(e, look, settings, number);
	} else {
		vm_stat_emit_banner(e, look, settings);
		vm_stat_emit_lines(e, look, settings);
	}
	vm_stat_emit_more(e, look, settings->more && !settings->interval_ns);
	emit_object_end(e);
}

static struct error *emit_looks(struct emitter *e, const struct vm_stat_settings *settings,
                                struct vm_stat_look *look, struct report_ticks *ticks)
{
	struct vm_stat_look before = *look, now, changed;
	struct error *error = NULL;
	struct arena arena;

	emit_look(e, look, settings, 0);
	while (!error && emit_flush(e) && report_ticks_next(ticks)) {
		arena_init(&arena, &os_page_source);
		error = take_look(settings, &arena, &now);
		if (!error) {
			difference(&before, &now, &changed);
			emit_look(e, &changed, settings, ticks->number);
			before = now;
		}
		arena_deinit(&arena);
	}
	return error;
}

static struct error *emit_document(struct emitter *e, const struct vm_stat_settings *settings,
                                   struct vm_stat_look *look)
{
	struct report_ticks ticks;
	struct error *error, *failed = NULL;

	emit_string(e, "tool", settings->common.tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	emit_u64(e, "page_bytes", look->sample.page_bytes, NULL);
	if (look->has_group)
		vm_stat_emit_group(e, &look->group);
	error = report_ticks_begin(settings->interval_ns, settings->count, &ticks);
	emit_array(e, "samples");
	if (!error)
		error = emit_looks(e, settings, look, &ticks);
	emit_array_end(e);
	report_ticks_end(&ticks);
	if (settings->nodes)
		failed = vm_stat_emit_nodes(e, settings->root);
	return error ? error : failed;
}

static struct error *run(const struct vm_stat_settings *settings, struct arena *arena)
{
	const struct report_options *common = &settings->common;
	struct vm_stat_look look;
	struct error *error, *failed;
	struct emitter *e;

	TRY(take_look(settings, arena, &look));
	e = emit_begin(common->out, common->json ? EMIT_JSON : EMIT_TEXT);
	error = emit_document(e, settings, &look);
	failed = emit_end(e);
	return error ? error : failed;
}

struct error *report_vm_stat(const struct vm_stat_settings *settings, int *ret_exit)
{
	struct arena arena;
	struct error *error;

	*ret_exit = EXIT_FINE;
	if (settings->metrics) {
		struct metrics_settings metrics = { !strcmp(settings->metrics, "strict"),
			                            settings->group, settings->processes,
			                            settings->root };

		return report_metrics(settings->common.out, &metrics);
	}
	if (settings->processes.n)
		return vm_stat_processes(settings, ret_exit);
	arena_init(&arena, &os_page_source);
	error = run(settings, &arena);
	arena_deinit(&arena);
	return error;
}
