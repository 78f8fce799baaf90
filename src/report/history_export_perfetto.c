// SPDX-License-Identifier: MIT
// Export as a trace of Chrome's JSON form ("Trace Event Format"), which Perfetto and chrome://tracing
// show: counters of the heap and of the monitor's samples over time, marks as instants. Times are microseconds.
#include <inttypes.h>

#include "base/text.h"
#include "report/history_export_impl.h"

#define MOST_POINTS 4096

struct trace {
	FILE *out;
	int pid;
};

static void put_head(const struct trace *trace, const char *phase, const char *name,
                     uint64_t time_ns)
{
	fprintf(trace->out, ",\n{\"ph\":\"%s\",\"name\":\"%s\",\"pid\":%d,\"ts\":%" PRIu64 ".%03u",
	        phase, name, trace->pid, time_ns / 1000, (unsigned)(time_ns % 1000));
}

static void put_counter(const struct trace *trace, uint64_t time_ns, const char *name,
                        uint64_t value)
{
	put_head(trace, "C", name, time_ns);
	fprintf(trace->out, ",\"args\":{\"%s\":%" PRIu64 "}}", name, value);
}

static void put_point(void *context, const struct history_point *point)
{
	put_counter(context, point->time_ns, "heap bytes", point->live_bytes);
	put_counter(context, point->time_ns, "heap blocks", point->live_count);
	put_counter(context, point->time_ns, "mapped bytes", point->map_bytes);
}

// The names are printable: only the two characters that end or escape a string are left.
static void put_name(FILE *out, const char *name)
{
	fputc('"', out);
	for (; *name; name++) {
		if (*name == '"' || *name == '\\')
			fputc('\\', out);
		fputc(*name, out);
	}
	fputc('"', out);
}

static void put_mark(const struct trace *trace, const struct history_mark *mark)
{
	put_head(trace, "i", "mark", mark->time_ns);
	fputs(",\"s\":\"p\",\"args\":{\"name\":", trace->out);
	put_name(trace->out, mark->name);
	fputs("}}", trace->out);
}

static void put_sample(const struct trace *trace, const struct history_sample *sample)
{
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{ "footprint bytes", sample->footprint_bytes },
		{ "resident bytes", sample->resident_bytes },
		{ "soft faults", sample->soft_faults },
		{ "hard faults", sample->hard_faults },
		{ "bytes available to the machine", sample->machine_available_bytes },
	};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		if (counters[i].value != HISTORY_UNKNOWN)
			put_counter(trace, sample->time_ns, counters[i].name, counters[i].value);
}

struct error *export_perfetto(struct history_view *view, FILE *out)
{
	const struct log_process *process = history_process(view->history);
	struct trace trace = { out, process->id };
	const struct history_mark *marks;
	const struct history_sample *samples;
	struct error *error;
	size_t count, sample_count;

	TRY(history_marks(view->history, &marks, &count));
	TRY(history_samples(view->history, view->first, view->last, view->arena, &samples,
	                    &sample_count));
	fprintf(out,
	        "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
	        "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":",
	        process->id);
	put_name(out, text_printable(view->arena, process->name));
	fputs("}}", out);
	error = history_series(view->history, MOST_POINTS, put_point, &trace);
	for (size_t i = 0; i < count && !error; i++)
		put_mark(&trace, &marks[i]);
	for (size_t i = 0; i < sample_count && !error; i++)
		put_sample(&trace, &samples[i]);
	fputs("\n]}\n", out);
	return error;
}
