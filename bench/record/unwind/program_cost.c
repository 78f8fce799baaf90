// SPDX-License-Identifier: MIT
// A preload that walks the stack at each allocation and free, and prints at the end what a walk took in
// that program: ns per event (by the processor's clock; walks of more than 20 us were interrupted and do
// not count), frames per stack, nodes. Built and run by bench/record/unwind/run.
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "record/unwind.h"

#define PUBLIC __attribute__((visibility("default")))

enum { NODES = 1 << 24, MODULES = 4096, EVENTS_MIN = 1000 };

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void __libc_free(void *block);

static struct record_header *header;
static struct record_unwinder *unwinder;
static __thread int busy;
static uint64_t events, frames, ticks, limit_ticks = UINT64_MAX, start_ticks, start_ns;

static void *map(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void start(void)
{
	size_t nodes_bytes = NODES * sizeof(struct record_node);
	struct record_header *made =
		map(sizeof(*made) + nodes_bytes + MODULES * sizeof(struct record_module));

	made->nodes_offset = sizeof(*made);
	made->node_capacity = NODES;
	made->modules_offset = sizeof(*made) + nodes_bytes;
	made->module_capacity = MODULES;
	record_nodes_start(made);
	record_modules_start(made);
	unwinder = map(sizeof(*unwinder));
	start_ticks = inside_ticks();
	start_ns = inside_monotonic_ns();
	header = made;
}

static double ns_of(uint64_t count)
{
	return (double)count * (double)(inside_monotonic_ns() - start_ns) /
	       (double)(inside_ticks() - start_ticks);
}

static void event(const struct record_position *at)
{
	uint64_t before, took;

	if (!busy++) {
		if (!header)
			start();
		before = inside_ticks();
		record_unwinder_node(unwinder, at);
		took = inside_ticks() - before;
		if (events++ == EVENTS_MIN) // the clock's rate is known by then
			limit_ticks = (uint64_t)(20000 / ns_of(1));
		ticks += took < limit_ticks ? took : 0;
		frames += unwinder->frame_count;
	}
	busy--;
}

PUBLIC void *malloc(size_t bytes)
{
	struct record_position at = RECORD_POSITION_HERE();
	void *block = __libc_malloc(bytes);

	event(&at);
	return block;
}

PUBLIC void *calloc(size_t count, size_t bytes)
{
	struct record_position at = RECORD_POSITION_HERE();
	void *block = __libc_calloc(count, bytes);

	event(&at);
	return block;
}

PUBLIC void *realloc(void *old, size_t bytes)
{
	struct record_position at = RECORD_POSITION_HERE();
	void *block = __libc_realloc(old, bytes);

	event(&at);
	return block;
}

PUBLIC void free(void *block)
{
	struct record_position at = RECORD_POSITION_HERE();

	if (block)
		event(&at);
	__libc_free(block);
}

__attribute__((destructor)) static void finish(void)
{
	busy++;
	if (events >= EVENTS_MIN)
		fprintf(stderr,
		        "%-10s %9lu events %6.0f ns per stack, %.1f frames, %u nodes, %lu truncated\n",
		        program_invocation_short_name, events, ns_of(ticks) / (double)events,
		        (double)frames / (double)events, header->node_count, unwinder->truncated);
}
