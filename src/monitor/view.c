// SPDX-License-Identifier: MIT
// What samples say together (monitor.h): rates, growth and curves of the machine and of each process. A
// process that is missing keeps its row for MONITOR_CURVE samples: a recording has only those that matter,
// and a process may come back into it.
#include "monitor/monitor.h"

#include <stdlib.h>
#include <string.h>

#include "os/os.h"

#define FIRST_INDEX 1024

const char *const monitor_order_names[MONITOR_ORDER_COUNT] = {
	[MONITOR_BY_FOOTPRINT] = "footprint",
	[MONITOR_BY_GROWTH] = "growth",
	[MONITOR_BY_FAULTS] = "faults",
	[MONITOR_BY_RESIDENT] = "resident",
	[MONITOR_BY_SWAP] = "swap",
	[MONITOR_BY_NAME] = "name",
	[MONITOR_BY_PID] = "pid",
};

bool monitor_order_parse(const char *name, enum monitor_order *ret)
{
	for (size_t i = 0; i < MONITOR_ORDER_COUNT; i++) {
		if (strcmp(name, monitor_order_names[i]) != 0)
			continue;
		*ret = (enum monitor_order)i;
		return true;
	}
	return false;
}

void monitor_view_init(struct monitor_view *view)
{
	*view = (struct monitor_view){ .level = MACHINE_NORMAL };
	vec_init(&view->rows, &os_page_source);
}

void monitor_view_deinit(struct monitor_view *view)
{
	vec_deinit(&view->rows);
	if (view->index)
		os_page_source.resize(view->index, view->index_count * sizeof(*view->index), 0);
	view->index = NULL;
}

// --- rows by process -------------------------------------------------------------------------------
static uint32_t *index_slot(const struct monitor_view *view, const struct monitor_process *process)
{
	uint64_t hash =
		((uint64_t)(uint32_t)process->pid << 32 ^ process->start) * 0x9e3779b97f4a7c15ull;
	size_t i = (size_t)(hash >> 32) & (view->index_count - 1);

	for (; view->index[i]; i = (i + 1) & (view->index_count - 1)) {
		const struct monitor_process *at = &view->rows.v[view->index[i] - 1].process;

		if (at->pid == process->pid && at->start == process->start)
			break;
	}
	return &view->index[i];
}

static void index_build(struct monitor_view *view, size_t rows)
{
	size_t count = view->index_count ? view->index_count : FIRST_INDEX;

	while (count < rows * 2)
		count *= 2;
	if (count != view->index_count) {
		if (view->index)
			os_page_source.resize(view->index, view->index_count * sizeof(*view->index),
			                      0);
		view->index = os_page_source.resize(NULL, 0, count * sizeof(*view->index));
		view->index_count = count;
	} else {
		memset(view->index, 0, count * sizeof(*view->index));
	}
	for (size_t i = 0; i < view->rows.n; i++)
		*index_slot(view, &view->rows.v[i].process) = (uint32_t)i + 1;
}

static double rate_of(uint64_t before, uint64_t now, uint64_t passed_ns)
{
	return passed_ns && now > before ? (double)(now - before) * 1e9 / (double)passed_ns : 0;
}

static void row_update(struct monitor_row *row, const struct monitor_process *now,
                       uint64_t passed_ns)
{
	uint64_t kilobytes = now->footprint_bytes / 1024;

	passed_ns *= row->missing ? row->missing : 1;
	row->faults = rate_of(row->process.soft_faults, now->soft_faults, passed_ns);
	row->hard = rate_of(row->process.hard_faults, now->hard_faults, passed_ns);
	row->process = *now;
	row->growth_bytes = (int64_t)(now->footprint_bytes - row->first_bytes);
	row->missing = 0;
	memmove(row->curve, row->curve + 1, sizeof(row->curve) - sizeof(row->curve[0]));
	row->curve[MONITOR_CURVE - 1] = kilobytes < UINT32_MAX ? (uint32_t)kilobytes : UINT32_MAX;
	row->points += row->points < MONITOR_CURVE;
}

// Faults of the time before a process was seen are not those of this interval.
static void row_take(struct monitor_view *view, const struct monitor_process *process)
{
	uint32_t *slot = index_slot(view, process);
	struct monitor_row *row;

	if (!*slot) {
		row = vec_add(&view->rows);
		*row = (struct monitor_row){ .process = *process,
			                     .first_bytes = process->footprint_bytes,
			                     .missing = 1 };
		*slot = (uint32_t)view->rows.n;
	}
	row_update(&view->rows.v[*slot - 1], process, view->passed_ns);
}

static void rows_drop(struct monitor_view *view)
{
	size_t kept = 0;

	for (size_t i = 0; i < view->rows.n; i++) {
		if (view->rows.v[i].missing > MONITOR_CURVE)
			continue;
		if (kept != i)
			view->rows.v[kept] = view->rows.v[i];
		kept++;
	}
	view->rows.n = kept;
}

static void add_processes(struct monitor_view *view, const struct monitor_sample *sample)
{
	for (size_t i = 0; i < view->rows.n; i++)
		view->rows.v[i].missing++;
	rows_drop(view);
	index_build(view, view->rows.n + sample->processes.n);
	for (size_t i = 0; i < sample->processes.n; i++)
		row_take(view, &sample->processes.v[i]);
}

// --- the machine -----------------------------------------------------------------------------------
static void curve_add(float *curve, double value)
{
	memmove(curve, curve + 1, (MONITOR_CURVE - 1) * sizeof(*curve));
	curve[MONITOR_CURVE - 1] = (float)value;
}

static void add_numbers(struct monitor_view *view, const struct monitor_sample *sample)
{
	const struct monitor_numbers *now = &sample->numbers;

	for (size_t i = 0; i < MONITOR_NUMBER_COUNT; i++) {
		bool both = now->is_known[i] && view->numbers.is_known[i];

		view->rate[i] =
			!monitor_number_rows[i].is_total || !both
				? 0
				: rate_of(view->numbers.value[i], now->value[i], view->passed_ns);
		curve_add(view->curve[i],
		          monitor_number_rows[i].is_total ? view->rate[i] : (double)now->value[i]);
	}
	monitor_judge(&view->numbers, now, view->passed_ns, &view->verdict);
	curve_add(view->stall_curve, view->verdict.some_percent);
	view->points += view->points < MONITOR_CURVE;
	view->numbers = *now;
}

void monitor_view_add(struct monitor_view *view, const struct monitor_sample *sample)
{
	view->passed_ns = view->samples && sample->when_ns > view->when_ns
	                          ? sample->when_ns - view->when_ns
	                          : 0;
	if (!view->samples++)
		view->since_ns = sample->wall_ns;
	add_numbers(view, sample);
	view->wall_ns = sample->wall_ns;
	view->when_ns = sample->when_ns;
	view->level = sample->level;
	view->process_count = sample->process_count;
	add_processes(view, sample);
	monitor_view_sort(view, MONITOR_BY_FOOTPRINT, false);
}

void monitor_view_reset_growth(struct monitor_view *view)
{
	view->since_ns = view->wall_ns;
	for (size_t i = 0; i < view->rows.n; i++) {
		view->rows.v[i].first_bytes = view->rows.v[i].process.footprint_bytes;
		view->rows.v[i].growth_bytes = 0;
	}
}

// --- order -----------------------------------------------------------------------------------------
#define BIGGER_FIRST(a, b) ((a) < (b) ? 1 : (a) > (b) ? -1 : 0)

static int compare_by(const struct monitor_row *a, const struct monitor_row *b,
                      enum monitor_order order)
{
	const struct monitor_process *x = &a->process, *y = &b->process;

	switch (order) {
	case MONITOR_BY_GROWTH:
		return BIGGER_FIRST(a->growth_bytes, b->growth_bytes);
	case MONITOR_BY_FAULTS:
		return BIGGER_FIRST(a->faults + a->hard, b->faults + b->hard);
	case MONITOR_BY_RESIDENT:
		return BIGGER_FIRST(x->resident_bytes, y->resident_bytes);
	case MONITOR_BY_SWAP:
		return BIGGER_FIRST(x->swapped_bytes, y->swapped_bytes);
	case MONITOR_BY_NAME:
		return strcmp(x->name, y->name);
	case MONITOR_BY_PID:
		return BIGGER_FIRST(y->pid, x->pid);
	default:
		return BIGGER_FIRST(x->footprint_bytes, y->footprint_bytes);
	}
}

struct ordering {
	enum monitor_order order;
	bool reversed;
};

static int compare_rows(const void *a, const void *b, void *context)
{
	const struct monitor_row *x = a, *y = b;
	const struct ordering *ordering = context;
	int result;

	if (!x->missing != !y->missing)
		return x->missing ? 1 : -1;
	result = compare_by(x, y, ordering->order);
	if (ordering->reversed)
		result = -result;
	return result ? result : BIGGER_FIRST(y->process.pid, x->process.pid);
}

void monitor_view_sort(struct monitor_view *view, enum monitor_order order, bool reversed)
{
	struct ordering ordering = { order, reversed };

	if (view->rows.n)
		qsort_r(view->rows.v, view->rows.n, sizeof(*view->rows.v), compare_rows, &ordering);
	for (view->row_count = 0;
	     view->row_count < view->rows.n && !view->rows.v[view->row_count].missing;)
		view->row_count++;
}
