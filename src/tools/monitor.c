// SPDX-License-Identifier: MIT
// heapwright monitor: the memory of the machine and its processes, live or from a recording.
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tools/monitor_impl.h"
#include "os/os.h"
#include "tools/tools.h"

#define AT(field)     offsetof(struct monitor_settings, field)
#define SECOND_NS     1000000000u
#define LEAST_NS      100000000u
#define DEFAULT_LIMIT ((uint64_t)64 << 20)
#define LEAST_LIMIT   ((uint64_t)1 << 20)
#define BATCH_WIDTH   80
#define BATCH_MOST    20

struct monitor_settings {
	bool batch, csv, json, ascii;
	bool has_interval, has_count, has_limit, has_processes;
	uint64_t interval_ns, count, limit_bytes, processes;
	const char *record, *sort;
};

static const struct option_row rows[] = {
	{ "d", "interval", OPTION_SECONDS, "SECONDS", "1", "Time between two samples, 0.1 or more.",
	  AT(interval_ns), AT(has_interval) },
	{ "sort", NULL, OPTION_TEXT, "COLUMN", "footprint",
	  "Order of the processes: footprint, growth, faults, resident, swap, name or pid.",
	  AT(sort), 0 },
	{ "b", "batch", OPTION_FLAG, NULL, NULL,
	  "Print a page for each sample, for pipes and files.", AT(batch), 0 },
	{ "csv", NULL, OPTION_FLAG, NULL, NULL,
	  "Print a row of CSV for each sample; with PID one for each of these processes.", AT(csv),
	  0 },
	{ "json", NULL, OPTION_FLAG, NULL, NULL,
	  "Print one JSON document with all samples, at its end; give -c.", AT(json), 0 },
	{ "c", "count", OPTION_NUMBER, "COUNT", NULL,
	  "With -b, -csv, -json: end after COUNT samples, not at an interrupt.", AT(count),
	  AT(has_count) },
	{ "processes", NULL, OPTION_NUMBER, "N", "20",
	  "With -b and -json: at most N processes of each sample; 0: all.", AT(processes),
	  AT(has_processes) },
	{ "record", NULL, OPTION_TEXT, "FILE", NULL,
	  "Write the samples to a new file, which heapwright monitor FILE shows.", AT(record), 0 },
	{ "limit", NULL, OPTION_SIZE, "SIZE", "64M",
	  "With -record: when the file would grow beyond SIZE, every second sample of it is dropped.",
	  AT(limit_bytes), AT(has_limit) },
	{ "ascii", NULL, OPTION_FLAG, NULL, NULL,
	  "Draw curves with ASCII only, as is done anyway where the locale is not UTF-8.",
	  AT(ascii), 0 },
};

static const char *const description[] = {
	"heapwright monitor shows how the machine's memory is used and what changes, each second: pages "
	"free, active, inactive and wired, the file cache, faults, paging, swapping and reclaim with "
	"curves of the last minutes; the memory pressure (normal, warning, critical), thrashing; and the "
	"processes by footprint, growth or faults. It only reads what the kernel counts and touches no "
	"process.",
	"On a terminal, keys sort and scroll as in top; h lists them. -b, -csv and -json print instead. "
	"-record keeps the samples in a file, which is shown by naming it: the keys then go back and "
	"forth in time, and -b, -csv and -json print what it holds.",
	"FOOTPRINT is what would be free if the process ended: anonymous memory and swap. GROWTH is its "
	"change since the first sample. THRASHING is shown when all tasks wait for memory 5 percent of "
	"the time or more, while at least 20 percent of what is reclaimed, and 1 MiB a second, is needed "
	"again; docs/monitor.md has all rules and the format of the file.",
	NULL,
};

static const struct option_example examples[] = {
	{ "heapwright monitor -b -c 1 -d 0.1", "One page as text.", 0 },
	{ "heapwright monitor -csv -c 3 -d 0.1 server", "How the server's memory changes.", 0 },
	{ "heapwright monitor -b -c 2 -d 0.1 -record /tmp/day.hwmon", "Shows and records.", 0 },
	{ "heapwright monitor -csv /tmp/day.hwmon", "What was recorded.", 0 },
	{ NULL, NULL, 0 },
};

struct monitoring {
	const struct monitor_settings *settings;
	struct arena arena;
	uint64_t interval_ns;
	enum monitor_order order;
	const int *pids;
	size_t pid_count;
	bool is_file;
	struct monitor_file file;
	struct monitor_live *live;
	struct monitor_recorder *recorder;
	const char *host, *title;
};

// --- what is asked ---------------------------------------------------------------------------------
static bool is_number(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return n && !text[n];
}

static bool is_path(const char *text)
{
	struct os_status status;

	return strchr(text, '/') && !os_path_status(text, &status);
}

static struct error *find_pids(struct monitoring *m, const struct option_list *operands)
{
	struct machine_process process; // only whether it is there
	int *pids = NULL, *found;
	size_t n = 0, count;

	for (size_t i = 0; i < operands->n; i++) {
		int *more;

		TRY(machine_processes_find(NULL, &m->arena, operands->v[i], &found, &count));
		for (size_t k = 0; k < count && is_number(operands->v[i]); k++)
			TRY(machine_process_read(NULL, found[k], &process));
		more = arena_array(&m->arena, n + count, sizeof(*more));
		if (n)
			memcpy(more, pids, n * sizeof(*more));
		memcpy(more + n, found, count * sizeof(*more));
		pids = more;
		n += count;
	}
	m->pids = pids;
	m->pid_count = n;
	return NULL;
}

static struct error *open_source(struct monitoring *m, const struct option_list *operands)
{
	if (operands->n == 1 && !is_number(operands->v[0]) && monitor_file_is(operands->v[0])) {
		if (m->settings->record)
			return error_new(ERROR_USAGE, "a recording is not recorded again");
		TRY(monitor_file_open(operands->v[0], &m->file));
		m->is_file = true;
		m->host = m->file.host;
		if (!m->settings->has_interval && m->file.interval_ns)
			m->interval_ns = m->file.interval_ns;
		if (!m->file.samples.n)
			return error_new(ERROR_DAMAGED, "the recording has no samples");
		return NULL;
	}
	for (size_t i = 0; i < operands->n; i++)
		if (is_path(operands->v[i]))
			return error_new(ERROR_DAMAGED,
			                 "%.200s is no recording of heapwright monitor",
			                 operands->v[i]);
	TRY(find_pids(m, operands));
	m->host = text_printable(&m->arena, os_host_name(&m->arena));
	TRY(monitor_live_open(m->pids, m->pid_count, &m->live));
	if (m->settings->record)
		return monitor_record_open(m->settings->record, m->interval_ns,
		                           m->settings->has_limit ? m->settings->limit_bytes
		                                                  : DEFAULT_LIMIT,
		                           &m->recorder);
	return NULL;
}

static struct error *check(struct monitoring *m)
{
	const struct monitor_settings *s = m->settings;

	m->interval_ns = s->has_interval ? s->interval_ns : SECOND_NS;
	if (m->interval_ns < LEAST_NS)
		return error_new(ERROR_USAGE, "-d: 0.1 seconds or more, please");
	if (s->sort && !monitor_order_parse(s->sort, &m->order))
		return error_new(ERROR_USAGE, "-sort: there is no column '%s'", s->sort);
	if (s->batch + s->csv + s->json > 1)
		return error_new(ERROR_USAGE, "one of -b, -csv and -json, please");
	if (s->has_limit && s->limit_bytes < LEAST_LIMIT)
		return error_new(ERROR_USAGE, "-limit: 1M or more, please");
	return NULL;
}

// --- printing --------------------------------------------------------------------------------------
struct output {
	const struct monitoring *m;
	struct emitter *e; // of JSON
	bool utf8;
	size_t printed;
};

static void print_line(void *context, enum monitor_style style, const char *text)
{
	size_t n = strlen(text);

	(void)context;
	(void)style;
	while (n && text[n - 1] == ' ')
		n--;
	printf("%.*s\n", (int)n, text);
}

static void print_page(const struct output *output, struct monitor_view *view)
{
	const struct monitor_settings *s = output->m->settings;
	struct monitor_page page = {
		.width = BATCH_WIDTH,
		.utf8 = output->utf8,
		.title = output->m->title,
		.order = output->m->order,
		.most_processes = s->has_processes ? s->processes : BATCH_MOST,
		.interval_ns = output->m->interval_ns,
	};

	if (output->printed)
		putchar('\n');
	monitor_page_write(view, &page, print_line, NULL);
}

static void print_sample(struct output *output, struct monitor_view *view)
{
	const struct monitor_settings *s = output->m->settings;
	size_t most = s->has_processes ? s->processes : BATCH_MOST;

	monitor_view_sort(view, output->m->order, false);
	if (s->json)
		monitor_emit_sample(output->e, view, most ? most : SIZE_MAX);
	else if (s->csv)
		monitor_csv_rows(stdout, view, output->m->pid_count > 0);
	else
		print_page(output, view);
	output->printed++;
	if (!s->json)
		fflush(stdout);
}

// A reader that saw enough, or a full disk.
static bool may_go_on(const struct output *output)
{
	const struct monitor_settings *s = output->m->settings;

	return !ferror(stdout) && !(s->has_count && output->printed >= s->count);
}

static struct error *print_recorded(struct output *output, struct monitor_sample *sample,
                                    struct monitor_view *view)
{
	const struct monitor_file *file = &output->m->file;

	for (size_t i = 0; i < file->samples.n && may_go_on(output); i++) {
		TRY(monitor_file_read(file, i, sample));
		monitor_view_add(view, sample);
		print_sample(output, view);
	}
	return NULL;
}

// The first sample only begins what the others are compared with.
static struct error *print_live(struct output *output, struct monitor_sample *sample,
                                struct monitor_view *view)
{
	const struct monitoring *m = output->m;
	OS_DESCRIPTOR int interrupts = -1;
	uint64_t next = os_monotonic_ns(), now;

	TRY(os_interrupts_take(&interrupts));
	for (bool first = true; first || may_go_on(output); first = false) {
		struct os_awaited awaited = { .fd = interrupts };

		TRY(monitor_live_take(m->live, sample));
		monitor_view_add(view, sample);
		if (m->recorder)
			TRY(monitor_record_add(m->recorder, sample, view));
		if (!first)
			print_sample(output, view);
		next += m->interval_ns;
		now = os_monotonic_ns();
		if (next < now)
			next = now;
		if (!may_go_on(output) || os_await(&awaited, 1, next - now))
			break;
	}
	return NULL;
}

static struct error *print_all(struct output *output)
{
	const struct monitor_settings *s = output->m->settings;
	struct monitor_sample sample;
	struct monitor_view view;
	struct error *error;

	monitor_sample_init(&sample);
	monitor_view_init(&view);
	if (s->csv)
		monitor_csv_heading(stdout, output->m->pid_count > 0);
	error = output->m->is_file ? print_recorded(output, &sample, &view)
	                           : print_live(output, &sample, &view);
	monitor_view_deinit(&view);
	monitor_sample_deinit(&sample);
	return error;
}

static struct error *print_json(struct output *output)
{
	struct error *error, *end;

	output->e = emit_begin(stdout, EMIT_JSON);
	emit_string(output->e, "tool", "monitor", NULL);
	emit_string(output->e, "version", HEAPWRIGHT_VERSION, NULL);
	emit_string(output->e, "host", output->m->host, NULL);
	emit_u64(output->e, "interval_ns", output->m->interval_ns, NULL);
	emit_bool(output->e, "recorded", output->m->is_file, NULL);
	emit_array(output->e, "samples");
	error = print_all(output);
	emit_array_end(output->e);
	end = emit_end(output->e);
	return error ? error : end;
}

static struct error *show(struct monitoring *m)
{
	const struct monitor_settings *s = m->settings;
	struct output output = { .m = m, .utf8 = monitor_locale_utf8() && !s->ascii };
	struct monitor_screen screen = {
		.live = m->live,
		.file = m->is_file ? &m->file : NULL,
		.recorder = m->recorder,
		.host = m->host,
		.interval_ns = m->interval_ns,
		.order = m->order,
		.ascii = s->ascii,
	};

	m->title = arena_format(&m->arena, "heapwright monitor  %s", m->host);
	if (s->json)
		TRY(print_json(&output));
	else if (s->batch || s->csv)
		TRY(print_all(&output));
	else
		return monitor_screen_run(&screen);
	if (m->is_file && m->file.is_cut)
		return error_new(ERROR_DAMAGED, "the recording ends within a sample: it is being "
		                                "written, or was cut off");
	return NULL;
}

static int run(const void *given, const struct option_list *operands)
{
	struct monitoring m = { .settings = given };
	struct error *error, *end;

	arena_init(&m.arena, &os_page_source);
	error = check(&m);
	if (!error)
		error = open_source(&m, operands);
	if (!error)
		error = show(&m);
	end = monitor_record_close(m.recorder);
	monitor_live_close(m.live);
	if (m.is_file)
		monitor_file_close(&m.file);
	arena_deinit(&m.arena);
	error = error ? error : end;
	return error ? tools_fail("heapwright monitor", error) : EXIT_FINE;
}

const struct command monitor_command = {
	.name = "monitor",
	.title = "heapwright monitor",
	.one_line = "show the memory of the machine and its processes, live or recorded",
	.synopsis = "[options] [PID | FILE]...",
	.operands =
		"PID is a process id or the name of processes: only these are listed. FILE is a "
		"recording.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct monitor_settings),
	.examples = examples,
	.exits = tools_plain_exits,
	.see_also = "vm_stat footprint heapwright-pressure",
	.run = run,
};
