// SPDX-License-Identifier: MIT
// What the collector costs: plays the events of a log into rings again, as fast as the collector takes
// them, and prints its CPU per event, split into the thread that drains and the one that writes.
// usage: collector_bench LOG OUTPUT [REPEATS]
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../../../src/collect/collect.h"
#include "../../../src/log/log.h"
#include "../../../src/os/os.h"
#include "../../../tests/record/player.h"

enum { RING_EVENTS = 1 << 14 };

static struct player player;
static struct log_event *events;
static size_t count;
static struct log_reader *reader;

static void check(struct error *error)
{
	if (!error)
		return;
	fprintf(stderr, "collector_bench: %s\n", error->text);
	exit(1);
}

static void load(const char *path)
{
	size_t blocks, done = 0;

	check(log_open(path, &reader));
	blocks = log_block_count(reader);
	for (size_t i = 0; i < blocks; i++)
		count += log_block(reader, i)->events;
	events = calloc(count + 1, sizeof(*events));
	for (size_t i = 0; i < blocks; i++) {
		check(log_read_events(reader, i, events + done));
		done += log_block(reader, i)->events;
	}
}

static void put_tables(void)
{
	size_t modules;
	const struct log_module *module = log_modules(reader, &modules);

	for (uint32_t i = 1; i < log_node_count(reader); i++)
		player_node(&player, log_node(reader, i).parent, log_node(reader, i).code);
	for (size_t i = 0; i < modules; i++)
		player_module(&player, module[i].start, module[i].end, module[i].path);
}

// The whole log by one thread of ours that owns all rings: what the rings' order costs is in it, what
// the program's threads do to each other is not.
static void play(unsigned repeats)
{
	size_t threads, types;
	const struct log_type *type = log_types(reader, &types);
	struct record_ring **rings;

	log_threads(reader, &threads);
	rings = calloc(threads + 1, sizeof(struct record_ring *));
	for (size_t i = 0; i < threads; i++)
		rings[i] = player_claim_ring(&player);
	for (unsigned n = 0; n < repeats; n++)
		for (size_t i = 0; i < count; i++) {
			const struct log_event *event = &events[i];
			uint64_t bytes = event->type ? type[event->type].word : event->bytes;

			if (event->kind >= RECORD_SHM_OPEN)
				continue;
			player_event(&player, rings[event->thread], event->kind, event->address,
			             bytes, event->node);
		}
}

static pid_t start(unsigned repeats)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (player_wait_for_collector(&player))
		play(repeats);
	_exit(0);
}

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double cpu_s(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int main(int argc, char **argv)
{
	unsigned repeats = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	struct collect_settings settings = { .replace = true };
	struct player_sizes sizes = { .modules = 4096, .texts = 4096, .ring_events = RING_EVENTS };
	double all, drain, played = 0;
	struct os_status status;
	size_t threads;

	if (argc < 3) {
		fprintf(stderr, "usage: collector_bench LOG OUTPUT [REPEATS]\n");
		return 64;
	}
	load(argv[1]);
	log_threads(reader, &threads);
	sizes.rings = (uint32_t)threads + 1;
	sizes.nodes = log_node_count(reader) + 1;
	if (!player_open(&player, &sizes, argv[2]))
		return 1;
	put_tables();
	all = cpu_s(RUSAGE_SELF);
	drain = cpu_s(RUSAGE_THREAD);
	settings.process = start(repeats);
	settings.descriptor = player.fd;
	player.header->process_id = (uint32_t)settings.process;
	check(collect_run(&settings));
	all = cpu_s(RUSAGE_SELF) - all;
	drain = cpu_s(RUSAGE_THREAD) - drain;
	waitpid(settings.process, NULL, 0);
	for (uint32_t i = 0; i < sizes.rings; i++)
		played += (double)player_ring(&player, i)->written;
	check(os_path_status(argv[2], &status));
	printf("{\"events\":%.0f,\"drain_ns\":%.1f,\"write_ns\":%.1f,\"total_ns\":%.1f,"
	       "\"bytes\":%.2f}\n",
	       played, drain * 1e9 / played, (all - drain) * 1e9 / played, all * 1e9 / played,
	       (double)status.bytes / played);
	return 0;
}
