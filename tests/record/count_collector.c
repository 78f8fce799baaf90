// SPDX-License-Identifier: MIT
// A collector that only counts: what tests/record/run compares with what a program says it called.
// Started by the recorder as `count_collector PID DESCRIPTOR ...`; writes "KIND COUNT" lines of the blocks
// of marked.h, and what it finds wrong, to the path that the shared header names, when the program has
// ended.
#include <fcntl.h>
#include <linux/futex.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "marked.h"

static struct record_header *header;
static uint64_t counts[128], events, calls, wrong_order, wrong_first, gap_events;
static uint64_t last_stamp[1 << 16];

static struct record_ring *ring_at(uint32_t i)
{
	return (struct record_ring *)((char *)header + header->rings_offset +
	                              i * header->ring_stride);
}

// What a sample stands for: 1/p blocks for the chance p that it was taken (Horvitz and Thompson), each of its
// size.
static double estimated_blocks, estimated_bytes;

static void estimate(const struct record_event *event)
{
	double bytes = (double)event->bytes;
	double chance = -expm1(-bytes / (double)header->sample_bytes);

	estimated_blocks += 1 / chance;
	estimated_bytes += bytes / chance;
}

static void take(uint32_t ring, uint64_t n, const struct record_event *event)
{
	uint32_t kind = event->stamp & 0xff;

	counts[kind < 128 ? kind : 0] += marked_event(event);
	events++;
	calls += (kind >= RECORD_MALLOC && kind <= RECORD_REALLOC) || kind == RECORD_FREE;
	if (kind >= RECORD_MALLOC && kind <= RECORD_REALLOC && header->mode == RECORD_SAMPLED &&
	    event->bytes)
		estimate(event);
	if (event->stamp >> 8 < last_stamp[ring])
		wrong_order++;
	last_stamp[ring] = event->stamp >> 8;
	if (!n && kind != RECORD_THREAD)
		wrong_first++;
	if (kind == RECORD_GAP)
		gap_events += event->bytes;
}

static uint64_t drain(void)
{
	uint32_t rings = __atomic_load_n(&header->ring_count, __ATOMIC_ACQUIRE);
	uint64_t taken = 0;

	for (uint32_t i = 0; i < rings; i++) {
		struct record_ring *ring = ring_at(i);
		const struct record_event *events =
			(void *)((char *)ring + header->ring_header_bytes);
		uint64_t end = __atomic_load_n(&ring->written, __ATOMIC_ACQUIRE);

		for (uint64_t n = ring->read; n < end; n++, taken++)
			take(i, n, &events[n & (header->ring_events - 1)]);
		__atomic_store_n(&ring->read, end, __ATOMIC_SEQ_CST);
		if (__atomic_exchange_n(&ring->waiting, 0, __ATOMIC_SEQ_CST))
			syscall(SYS_futex, &ring->waiting, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	return taken;
}

// Events without room whose gap found none either: a ring's count has them.
static uint64_t untold(void)
{
	uint64_t lost = 0;

	for (uint32_t i = 0; i < header->ring_count; i++)
		lost += ring_at(i)->lost;
	return lost > gap_events ? lost - gap_events : 0;
}

static void put_counts(void)
{
	char part[RECORD_PATH_BYTES + 8];
	FILE *out;

	snprintf(part, sizeof(part), "%s.part", header->log_path);
	out = fopen(part, "w");
	if (!out)
		exit(1);
	for (int kind = 0; kind < 128; kind++)
		if (counts[kind])
			fprintf(out, "%d %llu\n", kind, (unsigned long long)counts[kind]);
	fprintf(out, "rings %u\nnodes %u\nlost %llu\ngap %llu\n", header->ring_count,
	        header->node_count, (unsigned long long)header->lost,
	        (unsigned long long)(gap_events + untold()));
	fprintf(out, "events %llu\ncalls %llu\n", (unsigned long long)events,
	        (unsigned long long)calls);
	fprintf(out, "estimated_blocks %.0f\nestimated_bytes %.0f\n", estimated_blocks,
	        estimated_bytes);
	fprintf(out, "disorder %llu\nheadless %llu\nstate %u\n", (unsigned long long)wrong_order,
	        (unsigned long long)wrong_first, header->state);
	fclose(out);
	rename(part, header->log_path);
}

static void wait_for_work(void)
{
	struct timespec limit = { .tv_nsec = 2000000 };
	uint32_t wake = header->wake;

	__atomic_store_n(&header->collector_sleeps, 1, __ATOMIC_SEQ_CST);
	if (!drain())
		syscall(SYS_futex, &header->wake, FUTEX_WAIT, wake, &limit, NULL, 0);
	__atomic_store_n(&header->collector_sleeps, 0, __ATOMIC_SEQ_CST);
}

static int mapped(int process)
{
	char path[64], line[512];
	FILE *maps;
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", process);
	maps = fopen(path, "r");
	while (maps && !found && fgets(line, sizeof(line), maps))
		found = strstr(line, RECORD_NAME) != NULL;
	if (maps)
		fclose(maps);
	return found;
}

int main(int argc, char **argv)
{
	int process = argc > 2 ? atoi(argv[1]) : 0;
	struct stat status;

	if (!process || fstat(3, &status))
		return 2;
	header = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
	if (header == MAP_FAILED || memcmp(header->magic, RECORD_MAGIC, 8))
		return 2;
	header->collector_id = (uint32_t)getpid();
	__atomic_store_n(&header->collector, RECORD_COLLECTOR_RUNS, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &header->collector, FUTEX_WAKE, 1, NULL, NULL, 0);
	for (unsigned i = 0; header->state != RECORD_OFF; i++) {
		if (!drain())
			wait_for_work();
		if (!kill(process, 0) && (i & 63 || mapped(process)))
			continue;
		break;
	}
	drain();
	put_counts();
	return 0;
}
