// SPDX-License-Identifier: MIT
// What a log costs: takes the events of a recording, writes them to another log, several times over, and
// reads them again. usage: log_bench LOG OUTPUT [TIMES] writes; log_bench LOG reads. Prints one line of
// JSON: bytes, ns of CPU per event, memory.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/base.h"
#include "log/log.h"
#include "os/os.h"

#define PAUSE_NS 1000000 // between two times over

struct input {
	VEC(struct log_event) events;
	struct log_reader *reader;
	size_t thread_count, type_count;
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

static void input_read(struct input *in, const char *path)
{
	vec_init(&in->events, &os_page_source);
	check(log_open(path, &in->reader));
	for (size_t i = 0; i < log_block_count(in->reader); i++) {
		uint32_t n = log_block(in->reader, i)->events;

		vec_reserve(&in->events, in->events.n + n);
		check(log_read_events(in->reader, i, in->events.v + in->events.n));
		in->events.n += n;
	}
	log_threads(in->reader, &in->thread_count);
	log_types(in->reader, &in->type_count);
}

static void tables_write(const struct input *in, struct log_writer *writer)
{
	const struct log_thread *threads = log_threads(in->reader, &(size_t){ 0 });
	const struct log_type *types = log_types(in->reader, &(size_t){ 0 });
	uint32_t index;

	for (size_t i = 0; i < in->thread_count; i++)
		check(log_write_thread(writer, &threads[i], &index));
	for (size_t i = 1; i < in->type_count; i++)
		check(log_write_type(writer, types[i].word, &index));
}

// The nodes up to the highest that the events name, which are not written yet.
static void nodes_write(const struct input *in, struct log_writer *writer,
                        const struct log_event *events, size_t count, uint32_t *written)
{
	uint32_t top = *written;

	for (size_t i = 0; i < count; i++)
		top = events[i].node > top ? events[i].node : top;
	while (*written < top) {
		struct log_node node = log_node(in->reader, ++*written);

		check(log_write_nodes(writer, &node, 1));
	}
}

static double write_all(const struct input *in, const char *path, unsigned times)
{
	struct log_event *block = calloc(LOG_BLOCK_EVENTS, sizeof(*block));
	uint64_t span_ns = in->events.v[in->events.n - 1].time_ns + PAUSE_NS;
	struct log_writer *writer;
	uint32_t nodes = 0;
	double spent = 0;

	check(log_create(path, true, log_process(in->reader), &writer));
	tables_write(in, writer);
	for (uint64_t i = 0; i < times; i++)
		for (size_t first = 0, n; first < in->events.n; first += n) {
			struct log_summary summary = { 0 };
			double from;

			n = in->events.n - first;
			n = n < LOG_BLOCK_EVENTS ? n : LOG_BLOCK_EVENTS;
			memcpy(block, in->events.v + first, n * sizeof(*block));
			for (size_t j = 0; j < n; j++)
				block[j].time_ns += i * span_ns;
			from = cpu_ns();
			nodes_write(in, writer, block, n, &nodes);
			check(log_write_events(writer, block, n, NULL, 0, &summary));
			spent += cpu_ns() - from;
		}
	check(log_close_writer(writer));
	free(block);
	return spent;
}

// Reads a log; returns the CPU time, the number of events and a sum over them.
static double read_all(const char *path, double *ret_open_ns, uint64_t *ret_events,
                       uint64_t *ret_sum)
{
	struct log_event *events = calloc(LOG_BLOCK_EVENTS, sizeof(*events));
	struct log_reader *reader;
	double from = cpu_ns(), spent = 0;

	check(log_open(path, &reader));
	*ret_open_ns = cpu_ns() - from;
	*ret_events = *ret_sum = 0;
	for (size_t i = 0; i < log_block_count(reader); i++) {
		uint32_t n = log_block(reader, i)->events;

		from = cpu_ns();
		check(log_read_events(reader, i, events));
		spent += cpu_ns() - from;
		*ret_events += n;
		for (uint32_t j = 0; j < n; j++)
			*ret_sum += events[j].address * 3 + events[j].bytes * 5 +
			            events[j].node * 7 + events[j].kind;
	}
	log_close(reader);
	free(events);
	return spent;
}

static uint64_t input_sum(const struct input *in, unsigned times)
{
	uint64_t sum = 0;

	for (size_t j = 0; j < in->events.n; j++)
		sum += in->events.v[j].address * 3 + in->events.v[j].bytes * 5 +
		       in->events.v[j].node * 7 + in->events.v[j].kind;
	return sum * times;
}

int main(int argc, char **argv)
{
	unsigned times = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	uint64_t events, sum;
	double written = 0, read, open_ns;
	struct os_status status;
	struct rusage usage;
	struct input in;

	if (argc < 2 || !times)
		return 64;
	if (argc > 2) {
		input_read(&in, argv[1]);
		if (!in.events.n)
			return 1;
		written = write_all(&in, argv[2], times);
		argv[1] = argv[2];
	}
	read = read_all(argv[1], &open_ns, &events, &sum);
	if (argc > 2 && (sum != input_sum(&in, times) || events != in.events.n * times)) {
		fprintf(stderr, "log_bench: other events were read than written\n");
		return 1;
	}
	check(os_path_status(argv[1], &status));
	getrusage(RUSAGE_SELF, &usage);
	printf("{\"events\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"bytes_per_event\": %.3f, ",
	       events, status.bytes, (double)status.bytes / (double)events);
	printf("\"write_ns\": %.1f, \"read_ns\": %.1f, \"open_ms\": %.2f, \"peak_kib\": %ld}\n",
	       written / (double)events, read / (double)events, open_ns / 1e6, usage.ru_maxrss);
	return 0;
}
