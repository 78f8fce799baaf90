// SPDX-License-Identifier: MIT
// Export of every allocation and free as the file that heaptrack_print and heaptrack_gui read: text, one
// letter and hexadecimal numbers a line (heaptrack's file format version 3; its README and files tell).
// Numbers of strings, places, traces and allocations are given in order of appearance.
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/history_export_impl.h"

#define HEAPTRACK_VERSION 0x10400
#define HEAPTRACK_FORMAT  3
#define PAGE_BYTES        4096
#define CLOCK_EVERY_NS    10000000u
#define FIRST_INDEX_COUNT 1024
#define MOST_ALLOCATIONS \
	(1u << 22) // that are remembered; more get a second number, which readers add up

// Allocations of one size with one stack.
struct allocation {
	uint64_t bytes;
	uint32_t trace;
};

struct heaptrack {
	struct history_view *view;
	FILE *out;
	struct export_strings strings;
	VEC(uint32_t) places; // number by place, 0: none yet
	VEC(uint32_t) traces; // number by node, 0: none yet
	VEC(struct allocation) allocations;
	uint32_t forgotten; // allocations with the numbers below these
	uint32_t *index;    // of allocations: number + 1, 0: empty
	size_t index_count;
	uint32_t place_count, trace_count;
	uint64_t clock_ns;
};

static uint32_t string(struct heaptrack *h, const char *text)
{
	bool is_new;
	uint32_t number = export_string(&h->strings, text, &is_new);

	if (is_new)
		fprintf(h->out, "s %zx %s\n", strlen(text), text);
	return number;
}

// The strings come before the line that names them.
static uint32_t place(struct heaptrack *h, const struct history_frame *frames, size_t count)
{
	uint32_t module;

	while (h->places.n <= frames->place)
		vec_push(&h->places, 0);
	if (h->places.v[frames->place])
		return h->places.v[frames->place];
	module = frames->module ? string(h, frames->module->path) : 0;
	for (size_t i = 0; i < count; i++) {
		if (frames[i].function)
			string(h, frames[i].function);
		if (frames[i].file)
			string(h, frames[i].file);
	}
	fprintf(h->out, "i %" PRIx64 " %x", frames->address, module);
	for (size_t i = 0; i < count && frames[i].function; i++)
		fprintf(h->out, " %x %x %x", string(h, frames[i].function),
		        frames[i].file ? string(h, frames[i].file) : 0, frames[i].line);
	fputc('\n', h->out);
	return h->places.v[frames->place] = ++h->place_count;
}

// The callers' traces come first.
static uint32_t trace(struct heaptrack *h, uint32_t node)
{
	const struct history_frame *frames;
	uint32_t parent, at;
	size_t count;
	VEC(uint32_t) nodes;

	vec_init(&nodes, &os_page_source);
	for (at = node; at && (at >= h->traces.n || !h->traces.v[at]);
	     at = history_parent(h->view->history, at))
		vec_push(&nodes, at);
	parent = at ? h->traces.v[at] : 0;
	while (nodes.n) {
		at = nodes.v[--nodes.n];
		history_frames_of(h->view->history, at, &frames, &count);
		fprintf(h->out, "t %x %x\n", count ? place(h, frames, count) : 0, parent);
		while (h->traces.n <= at)
			vec_push(&h->traces, 0);
		parent = h->traces.v[at] = ++h->trace_count;
	}
	vec_deinit(&nodes);
	return parent;
}

static uint32_t *allocation_at(const struct heaptrack *h, const struct allocation *key)
{
	uint64_t hash = (key->bytes << 24 ^ key->trace) * 0x9e3779b97f4a7c15u;
	size_t at = (size_t)(hash >> 32) & (h->index_count - 1);

	for (; h->index[at]; at = (at + 1) & (h->index_count - 1)) {
		const struct allocation *found = &h->allocations.v[h->index[at] - 1];

		if (found->bytes == key->bytes && found->trace == key->trace)
			break;
	}
	return &h->index[at];
}

static void index_free(struct heaptrack *h)
{
	if (h->index)
		os_page_source.resize(h->index, h->index_count * sizeof(uint32_t), 0);
}

static uint32_t allocation(struct heaptrack *h, const struct history_block *block)
{
	uint32_t from = trace(h, block->node), *at;

	if (h->allocations.n == MOST_ALLOCATIONS) {
		h->forgotten += MOST_ALLOCATIONS;
		h->allocations.n = 0;
		memset(h->index, 0, h->index_count * sizeof(uint32_t));
	}
	if ((h->allocations.n + 1) * 2 > h->index_count) {
		index_free(h);
		h->index_count = h->index_count ? 2 * h->index_count : FIRST_INDEX_COUNT;
		h->index = os_page_source.resize(NULL, 0, h->index_count * sizeof(uint32_t));
		for (size_t i = 0; i < h->allocations.n; i++)
			*allocation_at(h, &h->allocations.v[i]) = (uint32_t)i + 1;
	}
	at = allocation_at(h, &(struct allocation){ block->bytes, from });
	if (!*at) {
		vec_push(&h->allocations, ((struct allocation){ block->bytes, from }));
		*at = (uint32_t)h->allocations.n;
		fprintf(h->out, "a %" PRIx64 " %x\n", block->bytes, from);
	}
	return h->forgotten + *at - 1;
}

static void put_clock(struct heaptrack *h, uint64_t time_ns)
{
	if (time_ns == HISTORY_BEFORE || time_ns - h->clock_ns < CLOCK_EVERY_NS)
		return;
	h->clock_ns = time_ns;
	fprintf(h->out, "c %" PRIx64 "\n", time_ns / 1000000);
}

static void put_made(void *context, const struct history_block *block)
{
	struct heaptrack *h = context;
	uint32_t number;

	if (history_is_mapping((uint8_t)block->kind))
		return;
	put_clock(h, block->time_ns);
	number = allocation(h, block);
	fprintf(h->out, "+ %x\n", number);
}

static void put_died(void *context, const struct history_block *block,
                     const struct log_event *death, uint64_t number)
{
	struct heaptrack *h = context;

	(void)number;
	if (history_is_mapping((uint8_t)block->kind) || block->event == HISTORY_BEFORE)
		return;
	put_clock(h, death->time_ns);
	fprintf(h->out, "- %x\n", allocation(h, block));
}

static void heaptrack_init(struct heaptrack *h)
{
	export_strings_init(&h->strings);
	vec_init(&h->places, &os_page_source);
	vec_init(&h->traces, &os_page_source);
	vec_init(&h->allocations, &os_page_source);
}

static void heaptrack_deinit(struct heaptrack *h)
{
	export_strings_deinit(&h->strings);
	index_free(h);
	vec_deinit(&h->places);
	vec_deinit(&h->traces);
	vec_deinit(&h->allocations);
}

struct error *export_heaptrack(struct history_view *view, FILE *out)
{
	const struct log_process *process = history_process(view->history);
	struct heaptrack h = { .view = view, .out = out };
	struct error *error;

	heaptrack_init(&h);
	fprintf(out, "v %x %x\nX %s\nI %x 0\n", HEAPTRACK_VERSION, HEAPTRACK_FORMAT,
	        text_printable(view->arena, process->command_line), PAGE_BYTES);
	error = history_follow(view->history, view->last, put_made, put_died, &h);
	fprintf(out, "c %" PRIx64 "\n", history_end_ns(view->history) / 1000000);
	heaptrack_deinit(&h);
	return error;
}
