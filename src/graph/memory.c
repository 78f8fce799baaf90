// SPDX-License-Identifier: MIT
// The source of references that reads the target's memory: contents are fetched in bulk in the order
// of addresses, never one system call per block. Used through graph_memory_source.
#include "graph/graph_impl.h"

#include <string.h>

#include "base/checked.h"

#define WINDOW_BYTES ((size_t)1 << 20)
#define GAP_BYTES    4096u // bytes between two wanted parts that are cheaper to read than to skip
#define PAGE_BYTES   4096u

// A reading position: some bytes of the target, and how far one fetch may look ahead.
struct reader {
	struct graph_own *own;
	const struct graph_query *query;
	uint8_t *window;
	uint64_t start, end; // of what the window holds
	bool stopped;
};

// --- bytes ---------------------------------------------------------------------------------------
static void reader_open(struct reader *reader, struct graph_own *own,
                        const struct graph_query *query)
{
	*reader = (struct reader){ .own = own, .query = query };
	reader->window = graph_pages(own)->resize(NULL, 0, WINDOW_BYTES);
}

static void reader_close(struct reader *reader)
{
	graph_pages(reader->own)->resize(reader->window, WINDOW_BYTES, 0);
}

// The first readable page behind an address that cannot be read.
static uint64_t readable_behind(const struct target *target, uint64_t address)
{
	size_t i = target_segment_index(target, address);

	if (i == target->segment_count)
		return UINT64_MAX;
	if (target->segments[i].start > address)
		return target->segments[i].start;
	if (!target->segments[i].readable || address >= target->segments[i].contents_end)
		return target->segments[i].end;
	return round_down(address, PAGE_BYTES) + PAGE_BYTES;
}

// Bytes from address on, at least one and at most to `until`; *address moves on over bytes that cannot
// be had. NULL when there are no more. ahead: up to where reading further is useful.
static const uint8_t *reader_bytes(struct reader *reader, uint64_t *address, uint64_t until,
                                   uint64_t ahead, size_t *ret)
{
	struct target *target = reader->own->graph.target;

	while (*address < until) {
		const uint8_t *image;
		size_t want = WINDOW_BYTES;

		*ret = until - *address;
		if (*address >= reader->start && *address < reader->end) {
			if (*ret > reader->end - *address)
				*ret = reader->end - *address;
			return reader->window + (*address - reader->start);
		}
		image = target_bytes(target, *address, *ret);
		if (image)
			return image;
		if (want > ahead - *address)
			want = ahead - *address;
		reader->start = *address;
		reader->end = *address + target_read_some(target, *address, reader->window, want);
		if (reader->end == reader->start)
			*address = readable_behind(target, *address);
	}
	return NULL;
}

// --- words ---------------------------------------------------------------------------------------
static void word_follow(struct reader *reader, struct graph_reference *reference, uint64_t value)
{
	uint64_t start;
	uint32_t block = scan_find(reader->own->memory->job, value, &start);

	if (block == SCAN_NO_BLOCK)
		return;
	reference->to = block;
	reference->to_offset = value - start;
	reader->stopped = !reader->query->each(reader->query->context, reference);
}

// Follows the words of bytes; from and base: as whose contents, beginning where.
static void words_follow(struct reader *reader, const uint8_t *bytes, size_t count,
                         uint64_t address, uint32_t from, uint64_t base)
{
	const size_t word = reader->own->graph.target->word_bytes;
	const uint64_t low = reader->query->low, span = reader->query->span;
	size_t i;

	for (i = -address & (word - 1); i + word <= count && !reader->stopped; i += word) {
		struct graph_reference reference = { .from = from };
		uint64_t value = 0;

		memcpy(&value, bytes + i, word);
		if (value - low >= span)
			continue;
		if (from == GRAPH_NO_BLOCK)
			reference.root = address + i;
		else
			reference.from_offset = address + i - base;
		word_follow(reader, &reference, value);
	}
}

static void range_follow(struct reader *reader, uint64_t start, uint64_t end, uint64_t ahead,
                         uint32_t from)
{
	uint64_t address = start;
	const uint8_t *bytes;
	size_t count;

	while (!reader->stopped && (bytes = reader_bytes(reader, &address, end, ahead, &count))) {
		words_follow(reader, bytes, count, address, from, start);
		address += count;
	}
}

// --- blocks --------------------------------------------------------------------------------------
// The i-th block that the query asks for.
static size_t query_block(const struct graph_query *query, size_t i)
{
	return query->blocks ? query->blocks[i] : i;
}

static uint64_t block_end(const struct heap_block *block)
{
	return block->hb_address + block->hb_size;
}

// Up to where reading on from the i-th block is useful: over blocks with small gaps between them.
static uint64_t blocks_ahead(const struct graph_own *own, const struct graph_query *query, size_t i,
                             size_t count)
{
	const struct heap_block *blocks = own->graph.heaps->blocks;
	uint64_t start = blocks[query_block(query, i)].hb_address;
	uint64_t end = block_end(&blocks[query_block(query, i)]);

	for (i++; i < count && end - start < WINDOW_BYTES; i++) {
		const struct heap_block *next = &blocks[query_block(query, i)];

		if (next->hb_address - end > GAP_BYTES)
			break;
		end = block_end(next);
	}
	return end;
}

static struct error *memory_references(struct graph_own *own, const struct graph_query *query)
{
	const struct heap_block *blocks = own->graph.heaps->blocks;
	size_t count = query->blocks ? query->count : own->graph.heaps->block_count, i;
	struct reader reader;
	uint64_t ahead = 0;

	reader_open(&reader, own, query);
	for (i = 0; i < count && !reader.stopped; i++) {
		size_t number = query_block(query, i);
		const struct heap_block *block = &blocks[number];

		if (!graph_block_used(own, number))
			continue;
		if (block_end(block) > ahead)
			ahead = blocks_ahead(own, query, i, count);
		range_follow(&reader, block->hb_address, block_end(block), ahead, (uint32_t)number);
	}
	reader_close(&reader);
	return NULL;
}

// --- roots ---------------------------------------------------------------------------------------
static void values_follow(struct reader *reader)
{
	const struct roots *roots = reader->own->roots;
	size_t i;

	for (i = 0; i < roots->value_count && !reader->stopped; i++) {
		const struct root_value *value = &roots->values[i];
		struct graph_reference reference = { .from = GRAPH_NO_BLOCK, .root_value = value };

		if (value->value - reader->query->low < reader->query->span)
			word_follow(reader, &reference, value->value);
	}
}

static struct error *memory_root_references(struct graph_own *own, const struct graph_query *query)
{
	struct reader reader;
	size_t i;

	reader_open(&reader, own, query);
	for (i = 0; i < own->memory->root_range_count && !reader.stopped; i++) {
		const struct scan_range *range = &own->memory->ranges.v[i];

		range_follow(&reader, range->start, range->end, range->end, GRAPH_NO_BLOCK);
	}
	values_follow(&reader);
	reader_close(&reader);
	return NULL;
}

// --- the mark phase --------------------------------------------------------------------------------
static void reached_fill(struct graph_own *own)
{
	const struct scan_job *job = own->memory->job;
	size_t i;

	for (i = 0; i < own->graph.heaps->block_count; i++)
		if (graph_block_used(own, i) && scan_closed(job, (uint32_t)i))
			own->reached[i / 64] |= (uint64_t)1 << (i % 64);
}

static const char *how_describe(struct graph_own *own)
{
	const struct scan_job *job = own->memory->job;
	const char *text =
		arena_format(&own->arena, "marked %llu blocks %s, looking through %llu bytes",
	                     (unsigned long long)job->reached_count,
	                     job->identity ? "in the clone" : "in images",
	                     (unsigned long long)job->seen_bytes);

	if (job->missing_bytes)
		text = arena_format(&own->arena, "%s; %llu bytes could not be read", text,
		                    (unsigned long long)job->missing_bytes);
	if (own->memory->fault_count)
		text = arena_format(&own->arena, "%s; %u faults were met and avoided", text,
		                    own->memory->fault_count);
	return text;
}

static struct error *memory_reach(struct graph_own *own)
{
	TRY(regions_roots(own->regions, &own->roots));
	TRY(graph_memory_mark(own, false));
	reached_fill(own);
	own->graph.how = how_describe(own);
	return NULL;
}

// Names the words that went into the clone as values by where they stand.
static void image_roots_name(struct graph_own *own)
{
	struct scan_owner *owners = (struct scan_owner *)scan_owners(own->memory->job);
	size_t i, first = own->roots->value_count;

	for (i = 0; i < own->graph.heaps->block_count; i++)
		if (owners[i].owner == SCAN_NO_BLOCK && !owners[i].where &&
		    owners[i].offset >= first)
			owners[i].where = own->memory->image_roots.v[owners[i].offset - first];
}

static struct error *memory_owners(struct graph_own *own, const struct scan_owner **ret)
{
	TRY(graph_memory_mark(own, true));
	if (own->memory->image_roots.n)
		image_roots_name(own);
	*ret = scan_owners(own->memory->job);
	return NULL;
}

static void memory_open(struct graph_own *own)
{
	own->memory = arena_alloc(&own->arena, sizeof(*own->memory));
	vec_init(&own->memory->ranges, graph_pages(own));
	vec_init(&own->memory->clone_ranges, graph_pages(own));
	vec_init(&own->memory->values, graph_pages(own));
	vec_init(&own->memory->image_roots, graph_pages(own));
	vec_init(&own->memory->opaque, graph_pages(own));
}

static void memory_close(struct graph_own *own)
{
	graph_memory_release(own);
}

const struct graph_source graph_memory_source = {
	.open = memory_open,
	.close = memory_close,
	.reach = memory_reach,
	.references = memory_references,
	.root_references = memory_root_references,
	.owners = memory_owners,
};
