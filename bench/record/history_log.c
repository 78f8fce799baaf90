// SPDX-License-Identifier: MIT
// Writes a long recording of a program that never ran. Called by bench/record/history; it prints an address
// that had many owners and one that had few.
//
// Stacks: a tree of 2,000,000 nodes. Each new stack leaves an older one, of the recent half, at a random depth
// and goes on with new nodes to a depth of its own: 10 to 60 for 90 of 100, up to 300 for the others; one
// recursion goes down to 4,000 and is left at every depth. A function calls eight others at most, so that
// stacks share their functions as those of real programs do. Allocations and frees end where a stack
// ends; of ten, nine take one of the 4,096 stacks in use at the time.
//
// Blocks: most die young, some live long, up to a million at a time; addresses are used again and again.
// Eight threads take turns; a mapping comes every 10,000 events, a mark every tenth part.
//
// usage: history_log LOG EVENTS
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"

#define NODES        2000000
#define RECURSION    4000
#define CALLED       8    // by a function, at most
#define IN_USE       4096 // stacks at a time
#define CODES        4000
#define LIVE         (1 << 20)
#define CLASSES      64
#define CLASS_BYTES  (UINT64_C(1) << 32)
#define FIRST        UINT64_C(0x550000000000)
#define YOUNG        64 // blocks that die young are among the newest so many
#define FRAME_EVENTS (4 << 20)
#define THREADS      8
#define FIRST_MAP    UINT64_C(0x7f0000000000)
#define MAP_BYTES    65536
#define MAP_EVERY    10000
#define MAPPINGS     (1 << 14)

struct block {
	uint64_t address, bytes;
	uint32_t node, thread;
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
	struct log_live frame[LIVE + YOUNG + MAPPINGS], mappings[MAPPINGS];
	size_t mapping_count;
	uint64_t mark_every;
	struct log_text mark; // of the block that is made
	bool has_mark;
	uint64_t codes[CODES];
	struct log_node nodes[NODES];
	uint32_t node_codes[NODES], depths[NODES], ends[NODES]; // ends: of stacks
	size_t end_count;
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

static uint32_t node_add(struct maker *m, uint32_t node, uint32_t caller)
{
	uint32_t code = m->node_codes[caller];

	code = (uint32_t)((code * UINT64_C(2654435761) + random_next(m) % CALLED) % CODES);
	m->node_codes[node] = code;
	m->depths[node] = m->depths[caller] + 1;
	m->nodes[node] = (struct log_node){ m->codes[code], caller };
	return node;
}

static uint32_t depth_wanted(struct maker *m)
{
	return (uint32_t)(random_next(m) % 10 ? 10 + random_next(m) % 51
	                                      : 60 + random_next(m) % 241);
}

// Where the next stack leaves an older one, above the depth that it is to have.
static uint32_t branching_off(struct maker *m, uint32_t depth)
{
	size_t half = m->end_count / 2;
	uint32_t at = m->ends[half + random_next(m) % (m->end_count - half)];
	uint32_t keep = (uint32_t)(random_next(m) % depth);

	while (m->depths[at] > keep)
		at = m->nodes[at].parent;
	return at;
}

static void make_stacks(struct maker *m)
{
	uint32_t next = 1, at = 0;

	while (next <= RECURSION) {
		at = node_add(m, next, at);
		m->ends[m->end_count++] = next++;
	}
	while (next < NODES) {
		// One of a thousand goes on from the depth of the recursion.
		uint32_t more = random_next(m) % 1000 ? 0 : (uint32_t)(random_next(m) % RECURSION);
		uint32_t depth = depth_wanted(m);

		at = more ? more : branching_off(m, depth);
		depth += more;
		while (next < NODES && m->depths[at] < depth)
			at = node_add(m, next++, at);
		m->ends[m->end_count++] = at;
	}
}

static void write_tables(struct maker *m)
{
	uint32_t index;

	dl_iterate_phdr(write_module, m);
	make_stacks(m);
	must(log_write_nodes(m->writer, m->nodes + 1, NODES - 1));
	for (int i = 0; i < THREADS; i++)
		must(log_write_thread(m->writer, &(struct log_thread){ 5000 + i, 0, "worker" },
		                      &index));
}

// What is in use moves through all stacks.
static uint32_t stack_next(struct maker *m)
{
	size_t first = (size_t)(m->number / 1000);

	if (random_next(m) % 10)
		return m->ends[(first + random_next(m) % IN_USE) % m->end_count];
	return m->ends[random_next(m) % m->end_count];
}

static uint32_t thread_now(const struct maker *m)
{
	return (uint32_t)(m->number / 50 % THREADS);
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
		                 stack_next(m), thread_now(m) };
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
		                   .node = stack_next(m) };
}

// Mappings lie side by side and stay.
static void map(struct maker *m, struct log_event *ret)
{
	struct log_live *mapping = &m->mappings[m->mapping_count];

	*mapping = (struct log_live){ FIRST_MAP + m->mapping_count++ * MAP_BYTES, MAP_BYTES,
		                      stack_next(m), RECORD_MAP, thread_now(m) };
	*ret = (struct log_event){ .kind = RECORD_MAP,
		                   .address = mapping->address,
		                   .bytes = MAP_BYTES,
		                   .node = mapping->node };
}

static void mark(struct maker *m, struct log_event *ret)
{
	m->has_mark = true;
	m->mark = (struct log_text){ m->number, "a tenth" };
	*ret = (struct log_event){ .kind = RECORD_MARK };
}

static void allocate(struct maker *m, struct log_event *ret, struct log_summary *summary)
{
	bool grows = m->live_count < LIVE && (!m->live_count || random_next(m) % 100 < 51);

	*ret = grows ? make(m) : unmake(m);
	if (grows) {
		summary->allocations++;
		summary->allocated_bytes += ret->bytes;
	} else {
		summary->frees++;
	}
	if (m->live_bytes <= summary->peak_bytes)
		return;
	summary->peak_bytes = m->live_bytes;
	summary->peak_event = (uint32_t)(ret - m->events);
}

static void step(struct maker *m, struct log_event *event, struct log_summary *summary)
{
	if (m->number % MAP_EVERY == 0 && m->mapping_count < MAPPINGS)
		map(m, event);
	else if (m->number % m->mark_every == 1)
		mark(m, event);
	else
		allocate(m, event, summary);
	m->time_ns += random_next(m) % 400;
	event->time_ns = m->time_ns;
	event->thread = thread_now(m);
	m->number++;
}

static int compare(const void *a, const void *b)
{
	const struct log_live *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static void write_frame(struct maker *m)
{
	for (size_t i = 0; i < m->live_count; i++)
		m->frame[i] =
			(struct log_live){ m->live[i].address, m->live[i].bytes, m->live[i].node,
			                   RECORD_MALLOC, m->live[i].thread };
	qsort(m->frame, m->live_count, sizeof(*m->frame), compare);
	memcpy(m->frame + m->live_count, m->mappings, m->mapping_count * sizeof(*m->frame));
	must(log_write_live(m->writer, m->time_ns, m->frame, m->live_count + m->mapping_count,
	                    true));
	m->since_frame = 0;
}

static void write_block(struct maker *m, size_t count)
{
	struct log_summary summary = { 0 };

	m->has_mark = false;
	for (size_t i = 0; i < count; i++)
		step(m, &m->events[i], &summary);
	summary.live_blocks = m->live_count;
	summary.live_bytes = m->live_bytes;
	summary.map_bytes = m->mapping_count * MAP_BYTES;
	must(log_write_events(m->writer, m->events, count, &m->mark, m->has_mark, &summary));
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
	maker.mark_every = events < 10 ? events : events / 10;
	write_tables(&maker);
	while (maker.number < events)
		write_block(&maker, events - maker.number < LOG_BLOCK_EVENTS ? events - maker.number
		                                                             : LOG_BLOCK_EVENTS);
	must(log_close_writer(maker.writer));
	printf("0x%" PRIx64 " 0x%" PRIx64 "\n", maker.live[maker.live_count / 2].address,
	       maker.live[0].address);
	return 0;
}
