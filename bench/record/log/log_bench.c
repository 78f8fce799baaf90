// SPDX-License-Identifier: MIT
// What a log costs: writes the events of a dumped trace, or of another log, to a log and reads them
// again; prints bytes and ns of CPU per event as one
// line of JSON. usage: log_bench INPUT OUTPUT [REPEATS]
// REPEATS writes the same events several times over, for long logs.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "../../../src/base/base.h"
#include "../../../src/log/log.h"
#include "../../../src/os/os.h"
#include "dump_trace.h"

#define RUNS 5 // the best one counts

struct input {
	VEC(struct log_event) events;
	VEC(struct log_node) nodes; // without node 0
	VEC(uint64_t) types;        // without type 0
	uint32_t thread_count;
};

static void check(struct error *error)
{
	if (!error)
		return;
	fprintf(stderr, "log_bench: %s\n", error->text);
	exit(1);
}

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint32_t type_of(struct input *in, uint64_t word)
{
	static uint64_t last_word;
	static uint32_t last;

	if (!word || word == last_word)
		return word ? last : 0;
	last_word = word;
	for (last = 1; last <= in->types.n; last++)
		if (in->types.v[last - 1] == word)
			return last;
	vec_push(&in->types, word);
	return last;
}

static void trace_read(struct input *in, FILE *file)
{
	struct trace_event e;
	uint64_t start_ns = 0;

	while (fread(&e, sizeof(e), 1, file) == 1) {
		if (e.kind == TRACE_NODE) {
			vec_push(&in->nodes, ((struct log_node){ e.address, e.node }));
			continue;
		}
		if (!start_ns)
			start_ns = e.time_ns;
		bool is_free = e.kind == RECORD_FREE || e.kind == RECORD_REALLOC_FREE;

		vec_push(&in->events,
		         ((struct log_event){ .time_ns = e.time_ns > start_ns ? e.time_ns - start_ns
		                                                              : 0,
		                              .address = e.address,
		                              .bytes = is_free ? 0 : e.bytes,
		                              .node = e.node,
		                              .thread = e.thread,
		                              .extra = e.extra,
		                              .type = is_free ? type_of(in, e.bytes) : 0,
		                              .kind = (uint8_t)e.kind }));
		if (e.thread >= in->thread_count)
			in->thread_count = e.thread + 1;
	}
}

static void log_input(struct input *in, const char *path)
{
	struct log_reader *reader;
	size_t count;

	check(log_open(path, &reader));
	for (uint32_t i = 1; i < log_node_count(reader); i++)
		vec_push(&in->nodes, *log_node(reader, i));
	for (size_t i = 0; i < log_block_count(reader); i++) {
		uint32_t n = log_block(reader, i)->events;

		vec_reserve(&in->events, in->events.n + n);
		check(log_read_events(reader, i, in->events.v + in->events.n));
		in->events.n += n;
	}
	log_threads(reader, &count);
	in->thread_count = (uint32_t)count;
	const struct log_type *types = log_types(reader, &count);

	for (size_t i = 1; i < count; i++)
		vec_push(&in->types, types[i].word);
	log_close(reader);
}

static void input_read(struct input *in, const char *path)
{
	FILE *file = fopen(path, "rb");

	vec_init(&in->events, &os_page_source);
	vec_init(&in->nodes, &os_page_source);
	vec_init(&in->types, &os_page_source);
	in->thread_count = 0;
	if (log_is(path)) {
		log_input(in, path);
	} else if (file) {
		trace_read(in, file);
	}
	if (file)
		fclose(file);
}

// The highest node among events.
static uint32_t top_node(const struct log_event *events, size_t count)
{
	uint32_t top = 0;

	for (size_t i = 0; i < count; i++)
		top = events[i].node > top ? events[i].node : top;
	return top;
}

static double write_all(const struct input *in, const char *path, unsigned repeats)
{
	const struct log_process process = { .id = 1, .name = "bench" };
	const struct log_thread thread = { .name = "bench" };
	struct log_writer *writer;
	uint32_t nodes = 0, index;
	double from, spent = 0;

	check(log_create(path, true, &process, &writer));
	for (uint32_t i = 0; i < in->thread_count; i++)
		check(log_write_thread(writer, &thread, &index));
	for (size_t i = 0; i < in->types.n; i++)
		check(log_write_type(writer, in->types.v[i], &index));
	for (unsigned r = 0; r < repeats; r++)
		for (size_t first = 0; first < in->events.n; first += LOG_BLOCK_EVENTS) {
			size_t n = in->events.n - first;
			struct log_summary summary = { 0 };

			n = n < LOG_BLOCK_EVENTS ? n : LOG_BLOCK_EVENTS;
			uint32_t top = top_node(in->events.v + first, n);

			from = cpu_ns();
			if (top > nodes)
				check(log_write_nodes(writer, in->nodes.v + nodes, top - nodes));
			nodes = top > nodes ? top : nodes;
			check(log_write_events(writer, in->events.v + first, n, NULL, 0, &summary));
			spent += cpu_ns() - from;
		}
	check(log_close_writer(writer));
	return spent;
}

static double read_all(const struct input *in, const char *path)
{
	struct log_event *events = calloc(LOG_BLOCK_EVENTS, sizeof(*events));
	struct log_reader *reader;
	double spent = 0, from;
	size_t first = 0;

	check(log_open(path, &reader));
	for (size_t i = 0; i < log_block_count(reader); i++) {
		uint32_t n = log_block(reader, i)->events;

		from = cpu_ns();
		check(log_read_events(reader, i, events));
		spent += cpu_ns() - from;
		for (uint32_t j = 0; j < n; j++) {
			const struct log_event *want = &in->events.v[(first + j) % in->events.n];

			if (events[j].address != want->address || events[j].bytes != want->bytes ||
			    events[j].node != want->node || events[j].thread != want->thread ||
			    events[j].kind != want->kind || events[j].type != want->type ||
			    events[j].extra != want->extra) {
				fprintf(stderr, "log_bench: event %zu was read otherwise\n",
				        first + j);
				exit(1);
			}
		}
		first += n;
	}
	log_close(reader);
	free(events);
	return spent;
}

int main(int argc, char **argv)
{
	unsigned repeats = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	struct input in;
	struct os_status status;
	struct rusage usage;
	double written = 1e30, read = 1e30, events, spent;

	if (argc < 3)
		return 64;
	input_read(&in, argv[1]);
	if (!in.events.n)
		return 1;
	for (int run = 0; run < RUNS; run++) {
		spent = write_all(&in, argv[2], repeats);
		written = spent < written ? spent : written;
		spent = read_all(&in, argv[2]);
		read = spent < read ? spent : read;
	}
	check(os_path_status(argv[2], &status));
	getrusage(RUSAGE_SELF, &usage);
	events = (double)in.events.n * repeats;
	printf("{\"events\": %.0f, \"nodes\": %zu, \"bytes\": %llu, \"bytes_per_event\": %.3f, "
	       "\"write_ns\": %.1f, \"read_ns\": %.1f, \"peak_kib\": %ld}\n",
	       events, in.nodes.n, (unsigned long long)status.bytes, (double)status.bytes / events,
	       written / events, read / events, usage.ru_maxrss);
	return 0;
}
