// SPDX-License-Identifier: MIT
// Writes a long recording of a program that never ran: most blocks die young, some live long, addresses
// are used again and again, stacks are paths through 200,000 nodes of real code addresses. Called by
// bench/record/history; it prints an address that had many owners and one that had few.
//
// usage: history_log LOG EVENTS
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"

#define NODES        200000
#define CODES        4000
#define LIVE         (1 << 20)
#define CLASSES      64
#define CLASS_BYTES  (UINT64_C(1) << 32)
#define FIRST        UINT64_C(0x550000000000)
#define YOUNG        64 // blocks that die young are among the newest so many
#define FRAME_EVENTS (4 << 20)
#define THREADS      8

struct block {
	uint64_t address, bytes;
	uint32_t node;
};

struct maker {
	struct log_writer *writer;
	uint64_t seed, number, time_ns;
	struct block live[LIVE + YOUNG];
	size_t live_count;
	uint64_t live_bytes;
	uint64_t *free_places[CLASSES]; // addresses, newest last
	size_t free_count[CLASSES], fresh[CLASSES];
	struct log_event events[LOG_BLOCK_EVENTS];
	struct log_live frame[LIVE + YOUNG];
	uint64_t codes[CODES];
	uint64_t since_frame;
};

static void must(struct error *error)
{
	if (!error)
		return;
	fprintf(stderr, "history_log: %s\n", error->text);
	exit(2);
}

static uint64_t random_next(struct maker *m)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return m->seed >> 11;
}

static int write_module(struct dl_phdr_info *info, size_t bytes, void *context)
{
	struct log_module module = { .bias = info->dlpi_addr,
		                     .start = UINT64_MAX,
		                     .unloaded_ns = UINT64_MAX,
		                     .path = info->dlpi_name };
	struct maker *m = context;
	static char own[4096];

	(void)bytes;
	if (!*info->dlpi_name && readlink("/proc/self/exe", own, sizeof(own) - 1) > 0)
		module.path = own;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uint64_t start = info->dlpi_addr + part->p_vaddr;

		if (part->p_type != PT_LOAD)
			continue;
		if (start < module.start)
			module.start = start & ~UINT64_C(4095);
		module.end = start + part->p_memsz;
		for (int code = 0; part->p_flags & PF_X && code < CODES; code++)
			if (!m->codes[code] || random_next(m) % 2)
				m->codes[code] = start + random_next(m) % part->p_memsz;
	}
	must(log_write_module(m->writer, &module));
	return 0;
}

static void write_tables(struct maker *m)
{
	uint32_t index;

	dl_iterate_phdr(write_module, m);
	for (uint32_t i = 1; i < NODES; i++) {
		uint32_t back = 1 + (uint32_t)(random_next(m) % (i < 40 ? i : 40));
		struct log_node node = { m->codes[random_next(m) % CODES],
			                 i < 40 ? i - 1 : i - back };

		must(log_write_nodes(m->writer, &node, 1));
	}
	for (int i = 0; i < THREADS; i++)
		must(log_write_thread(m->writer, &(struct log_thread){ 5000 + i, 0, "worker" },
		                      &index));
}

static uint64_t place_take(struct maker *m, size_t class)
{
	if (m->free_count[class])
		return m->free_places[class][--m->free_count[class]];
	return FIRST + class * CLASS_BYTES + m->fresh[class]++ * (class + 1) * 16;
}

static struct log_event make(struct maker *m)
{
	size_t class = random_next(m) % CLASSES * (random_next(m) % CLASSES) / CLASSES;
	struct block *block = &m->live[m->live_count++];

	*block = (struct block){ place_take(m, class), (class + 1) * 16 - random_next(m) % 16,
		                 1 + (uint32_t)(random_next(m) % (NODES - 1)) };
	m->live_bytes += block->bytes;
	return (struct log_event){ .kind = RECORD_MALLOC,
		                   .address = block->address,
		                   .bytes = block->bytes,
		                   .node = block->node };
}

static struct log_event unmake(struct maker *m)
{
	size_t young = m->live_count < YOUNG ? m->live_count : YOUNG;
	size_t at = random_next(m) % 8 ? m->live_count - 1 - random_next(m) % young
	                               : random_next(m) % m->live_count;
	struct block block = m->live[at];
	size_t class = (block.address - FIRST) / CLASS_BYTES;

	m->live[at] = m->live[--m->live_count];
	m->live_bytes -= block.bytes;
	m->free_places[class][m->free_count[class]++] = block.address;
	return (struct log_event){ .kind = RECORD_FREE,
		                   .address = block.address,
		                   .node = 1 + (uint32_t)(random_next(m) % (NODES - 1)) };
}

static void step(struct maker *m, struct log_event *event, struct log_summary *summary)
{
	bool grows = m->live_count < LIVE && (!m->live_count || random_next(m) % 100 < 51);

	*event = grows ? make(m) : unmake(m);
	m->time_ns += random_next(m) % 400;
	event->time_ns = m->time_ns;
	event->thread = (uint32_t)(m->number / 50 % THREADS);
	m->number++;
	if (grows) {
		summary->allocations++;
		summary->allocated_bytes += event->bytes;
	} else {
		summary->frees++;
	}
	if (m->live_bytes <= summary->peak_bytes)
		return;
	summary->peak_bytes = m->live_bytes;
	summary->peak_event = (uint32_t)(event - m->events);
}

static int compare(const void *a, const void *b)
{
	const struct log_live *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static void write_frame(struct maker *m)
{
	for (size_t i = 0; i < m->live_count; i++)
		m->frame[i] = (struct log_live){ m->live[i].address, m->live[i].bytes,
			                         m->live[i].node, RECORD_MALLOC };
	qsort(m->frame, m->live_count, sizeof(*m->frame), compare);
	must(log_write_live(m->writer, m->time_ns, m->frame, m->live_count, true));
	m->since_frame = 0;
}

static void write_block(struct maker *m, size_t count)
{
	struct log_summary summary = { 0 };

	for (size_t i = 0; i < count; i++)
		step(m, &m->events[i], &summary);
	summary.live_blocks = m->live_count;
	summary.live_bytes = m->live_bytes;
	must(log_write_events(m->writer, m->events, count, NULL, 0, &summary));
	m->since_frame += count;
	if (m->since_frame >= FRAME_EVENTS)
		write_frame(m);
}

int main(int argc, char **argv)
{
	static struct maker maker = { .seed = 88172645463325252u };
	struct log_process process = { .id = 5000,
		                       .mode = RECORD_FULL,
		                       .what = RECORD_WHAT_MALLOC,
		                       .wall_ns = UINT64_C(1790000000000000000),
		                       .name = "long",
		                       .path = argv[0],
		                       .command_line = argv[0],
		                       .host = "",
		                       .system = "Linux",
		                       .cpu = "x86_64" };
	uint64_t events = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

	if (!events)
		return 64;
	for (size_t i = 0; i < CLASSES; i++)
		maker.free_places[i] = malloc((LIVE + YOUNG) * sizeof(uint64_t));
	must(log_create(argv[1], true, &process, &maker.writer));
	write_tables(&maker);
	while (maker.number < events)
		write_block(&maker, events - maker.number < LOG_BLOCK_EVENTS ? events - maker.number
		                                                             : LOG_BLOCK_EVENTS);
	must(log_close_writer(maker.writer));
	printf("0x%" PRIx64 " 0x%" PRIx64 "\n", maker.live[maker.live_count / 2].address,
	       maker.live[0].address);
	return 0;
}
