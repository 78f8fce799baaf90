// SPDX-License-Identifier: MIT
// Asks every reader, brings what they found into the order that heaps.h promises,
// and adds up the zones.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/search.h"
#include "base/text.h"
#include "heaps/heaps_impl.h"

// In this order they are probed: what one claims those behind it leave out of their search. They read
// in the opposite order, so that glibc's reader, which indexes blocks half way, finds only its own.
static const struct heap_reader *const heap_readers[] = {
	&heap_reader_recorded,
	&heap_reader_heapwright,
	&heap_reader_glibc,
};

enum { READERS = sizeof(heap_readers) / sizeof(heap_readers[0]) };

struct heaps_own {
	struct heaps heaps; // first: the public face
	struct heap_build build;
	struct arena arena;
};

uint32_t build_zone(struct heap_build *build, const char *name, const char *allocator,
                    uint64_t address)
{
	struct heap_zone *zone = vec_add(&build->zones);

	zone->name = text_printable(build->arena, name);
	zone->allocator = allocator;
	zone->address = address;
	return (uint32_t)(build->zones.n - 1);
}

void build_range(struct heap_build *build, uint64_t start, uint64_t end, enum heap_range_kind kind,
                 uint32_t zone)
{
	build_range_typed(build, start, end, kind, zone, NULL);
}

void build_range_typed(struct heap_build *build, uint64_t start, uint64_t end,
                       enum heap_range_kind kind, uint32_t zone, const char *type)
{
	if (start >= end)
		return;
	vec_push(&build->ranges, ((struct heap_range){ start, end, kind, zone, type }));
	if (kind == HEAP_RANGE_BLOCKS)
		build->zones.v[zone].capacity_bytes += end - start;
}

void build_stack(struct heap_build *build, uint64_t block, uint32_t node)
{
	if (node && node < HEAP_NODES_MAX)
		vec_push(&build->stacks, ((struct heap_stack){ block, node }));
}

const struct heap_claim *build_claim_behind(const struct heap_build *build, uint64_t address)
{
	size_t at = first_index(build->claims.n, i, build->claims.v[i].end > address);

	return at < build->claims.n ? &build->claims.v[at] : NULL;
}

void build_how(struct heap_build *build, const char *how)
{
	build->how = build->how ? arena_format(build->arena, "%s; %s", build->how, how) : how;
}

void build_unknown(struct heap_build *build, const char *name, const char *evidence)
{
	for (size_t i = 0; i < build->unknown.n; i++)
		if (strcmp(build->unknown.v[i].name, name) == 0)
			return;
	struct heap_unknown *unknown = vec_add(&build->unknown);
	unknown->name = name;
	unknown->evidence = text_printable(build->arena, evidence);
}

void build_fault(struct heap_build *build, const struct heap_fault *fault, const char *format, ...)
{
	struct heap_zone *zone = &build->zones.v[fault->zone];

	zone->damaged = true;
	size_t same_zone = 0;
	for (size_t i = build->faults.n; i-- > 0;)
		same_zone += build->faults.v[i].zone == fault->zone;
	if (same_zone >= BUILD_FAULTS_PER_ZONE)
		return;
	char text[400];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	struct heap_fault *copy = vec_add(&build->faults);
	*copy = *fault;
	copy->text = arena_format(build->arena, "%s: %s", zone->name, text);
}

static int compare_ranges(const void *a, const void *b)
{
	const struct heap_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int compare_blocks(const void *a, const void *b)
{
	const struct heap_block *x = a, *y = b;

	return x->hb_address < y->hb_address ? -1 : x->hb_address > y->hb_address;
}

// The promise of heaps.h: sorted, never overlapping. An earlier range wins.
static void order_ranges(struct heap_build *build)
{
	if (build->ranges.n)
		qsort(build->ranges.v, build->ranges.n, sizeof(*build->ranges.v), compare_ranges);
	size_t kept = 0;
	uint64_t end = 0;
	for (size_t i = 0; i < build->ranges.n; i++) {
		struct heap_range range = build->ranges.v[i];

		if (range.start < end)
			range.start = end;
		if (range.start >= range.end)
			continue;
		end = range.end;
		build->ranges.v[kept++] = range;
	}
	build->ranges.n = kept;
}

static int compare_requested(const void *a, const void *b)
{
	const struct heap_requested *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static int compare_stacks(const void *a, const void *b)
{
	const struct heap_stack *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

enum { MERGED_RUNS_MAX = 16 }; // more than readers yield

// Merges two sorted runs: [0, second) and [second, n).
static void merge_runs(struct heap_build *build, size_t second, size_t n)
{
	struct heap_block *v = build->blocks.v;
	size_t bytes = second * sizeof(*v), i = 0, k = second, out = 0;
	struct heap_block *first = build->source->resize(NULL, 0, bytes);

	memcpy(first, v, bytes);
	while (i < second) {
		if (k < n && v[k].hb_address < first[i].hb_address)
			v[out++] = v[k++];
		else
			v[out++] = first[i++];
	}
	build->source->resize(first, bytes, 0);
}

static size_t sorted_run(const struct heap_build *build, size_t start)
{
	const struct heap_block *v = build->blocks.v;

	for (start++; start < build->blocks.n; start++)
		if (v[start - 1].hb_address >= v[start].hb_address)
			break;
	return start;
}

// Readers yield in order of address, so there is more than one run only when two readers interleave.
static void order_blocks(struct heap_build *build)
{
	size_t n = build->blocks.n, run = sorted_run(build, 0);
	struct heap_block *v = build->blocks.v;

	if (run >= n)
		return;
	for (size_t next, runs = 1; run < n; run = next) {
		if (++runs > MERGED_RUNS_MAX) {
			qsort(v, n, sizeof(*v), compare_blocks);
			break;
		}
		next = sorted_run(build, run);
		merge_runs(build, run, next);
	}
	size_t kept = 1;
	for (size_t i = 1; i < n; i++)
		if (v[i].hb_address >= v[kept - 1].hb_address + v[kept - 1].hb_size &&
		    v[i].hb_address != v[kept - 1].hb_address)
			v[kept++] = v[i];
	build->blocks.n = kept;
}

// Tables of a damaged heap may claim the same memory for blocks and for themselves: what lies in no
// range of blocks could not be found again.
static void drop_outside(struct heap_build *build)
{
	const struct heap_range *ranges = build->ranges.v;
	struct heap_block *v = build->blocks.v;
	size_t kept = 0, r = 0;

	for (size_t i = 0; i < build->blocks.n; i++) {
		while (r < build->ranges.n && ranges[r].end <= v[i].hb_address)
			r++;
		bool inside = r < build->ranges.n && ranges[r].kind == HEAP_RANGE_BLOCKS &&
		              v[i].hb_address >= ranges[r].start &&
		              v[i].hb_size <= ranges[r].end - v[i].hb_address;

		if (!inside)
			continue;
		if (kept != i)
			v[kept] = v[i];
		kept++;
	}
	build->blocks.n = kept;
}

void build_index(struct heap_build *build)
{
	order_ranges(build);
	order_blocks(build);
	drop_outside(build);
	index_build(&build->index, build->source, build->blocks.v, build->blocks.n, build->ranges.v,
	            build->ranges.n);
}

// Zones hold what is free beside blocks (the top) already.
static void add_up(struct heap_build *build, struct heaps *heaps)
{
	for (size_t i = 0; i < build->blocks.n; i++) {
		const struct heap_block *block = &build->blocks.v[i];
		struct heap_zone *zone = &build->zones.v[block->hb_zone];

		if (block->hb_state == HEAP_USED) {
			zone->used_bytes += block->hb_size;
			zone->used_count++;
			continue;
		}
		zone->free_bytes += block->hb_size;
		zone->free_count++;
		if (block->hb_state == HEAP_FREE && block->hb_size > zone->largest_free_bytes)
			zone->largest_free_bytes = block->hb_size;
	}
	for (size_t i = 0; i < build->zones.n; i++) {
		heaps->used_bytes += build->zones.v[i].used_bytes;
		heaps->used_count += build->zones.v[i].used_count;
	}
}

static void build_init(struct heap_build *build, struct target *target, struct symbols *symbols,
                       struct arena *arena)
{
	*build = (struct heap_build){ .target = target,
		                      .symbols = symbols,
		                      .arena = arena,
		                      .source = target->arena->ar_source };
	vec_init(&build->blocks, build->source);
	vec_init(&build->zones, build->source);
	vec_init(&build->ranges, build->source);
	vec_init(&build->faults, build->source);
	vec_init(&build->unknown, build->source);
	vec_init(&build->claims, build->source);
	vec_init(&build->requested, build->source);
	vec_init(&build->stacks, build->source);
	vec_init(&build->mapped, build->source);
	vec_init(&build->damage, build->source);
	vec_init(&build->messages, build->source);
}

static void build_deinit(struct heap_build *build)
{
	index_deinit(&build->index);
	vec_deinit(&build->blocks);
	vec_deinit(&build->zones);
	vec_deinit(&build->ranges);
	vec_deinit(&build->faults);
	vec_deinit(&build->unknown);
	vec_deinit(&build->claims);
	vec_deinit(&build->requested);
	vec_deinit(&build->stacks);
	vec_deinit(&build->mapped);
	vec_deinit(&build->damage);
	vec_deinit(&build->messages);
}

static struct error *ask_readers(struct heap_build *build)
{
	void *states[READERS] = { NULL };
	bool found[READERS] = { false };

	for (size_t i = 0; i < READERS; i++) {
		found[i] = heap_readers[i]->probe(build, &states[i]);
		build->found = build->found || found[i];
		if (found[i] && heap_readers[i]->alone)
			return heap_readers[i]->read(build, states[i]);
	}
	for (size_t i = READERS; i-- > 0;)
		if (found[i])
			TRY(heap_readers[i]->read(build, states[i]));
	foreign_detect(build);
	return NULL;
}

static void publish(struct heaps_own *own)
{
	struct heap_build *build = &own->build;
	struct heaps *heaps = &own->heaps;

	build_index(build);
	if (build->requested.n)
		qsort(build->requested.v, build->requested.n, sizeof(*build->requested.v),
		      compare_requested);
	if (build->stacks.n)
		qsort(build->stacks.v, build->stacks.n, sizeof(*build->stacks.v), compare_stacks);
	add_up(build, heaps);
	heaps->target = build->target;
	heaps->blocks = build->blocks.v;
	heaps->block_count = build->blocks.n;
	heaps->zones = build->zones.v;
	heaps->zone_count = build->zones.n;
	heaps->ranges = build->ranges.v;
	heaps->range_count = build->ranges.n;
	heaps->faults = build->faults.v;
	heaps->fault_count = build->faults.n;
	heaps->unknown = build->unknown.v;
	heaps->unknown_count = build->unknown.n;
	heaps->requested = build->requested.v;
	heaps->requested_count = build->requested.n;
	heaps->stacks = build->stacks.v;
	heaps->stack_count = build->stacks.n;
	heaps->mapped = build->mapped.v;
	heaps->mapped_count = build->mapped.n;
	heaps->damage = build->damage.v;
	heaps->damage_count = build->damage.n;
	heaps->edges_kept = build->edges_kept;
	heaps->messages = build->messages.v;
	heaps->message_count = build->messages.n;
	heaps->message_total = build->message_total;
	heaps->in_malloc = build->in_malloc;
	heaps->how = build->how ? build->how : "no allocator that can be read";
}

struct error *heaps_read(struct target *target, struct symbols *symbols, struct heaps **ret)
{
	struct arena arena;

	arena_init(&arena, target->arena->ar_source);
	struct heaps_own *own = arena_alloc(&arena, sizeof(*own));
	own->arena = arena;
	build_init(&own->build, target, symbols, &own->arena);
	struct error *error = ask_readers(&own->build);
	if (error) {
		heaps_close(&own->heaps);
		return error_prefix(error, "the heaps cannot be read");
	}
	own->heaps.recorder = recorder_open(&own->build);
	publish(own);
	*ret = &own->heaps;
	return NULL;
}

void heaps_close(struct heaps *heaps)
{
	if (!heaps)
		return;
	struct heaps_own *own = (struct heaps_own *)heaps;
	build_deinit(&own->build);
	struct arena arena = own->arena; // own lies in it
	arena_deinit(&arena);
}

ssize_t heaps_find(const struct heaps *heaps, uint64_t address)
{
	const struct heaps_own *own = (const struct heaps_own *)heaps;

	return index_find(&own->build.index, heaps->blocks, address);
}

const struct heap_range *heaps_range_at(const struct heaps *heaps, uint64_t address)
{
	size_t at = first_index(heaps->range_count, i, heaps->ranges[i].end > address);

	if (at == heaps->range_count || heaps->ranges[at].start > address)
		return NULL;
	return &heaps->ranges[at];
}

bool heaps_requested(const struct heaps *heaps, size_t block, uint64_t *ret_bytes)
{
	uint64_t address = heaps->blocks[block].hb_address;
	size_t at = first_index(heaps->requested_count, i, heaps->requested[i].address >= address);

	if (at == heaps->requested_count || heaps->requested[at].address != address)
		return false;
	*ret_bytes = heaps->requested[at].bytes;
	return true;
}

uint32_t heaps_stack(const struct heaps *heaps, size_t block)
{
	struct heap_stack key = { .address = heaps->blocks[block].hb_address };
	const struct heap_stack *found;

	if (!heaps->stack_count)
		return 0;
	found = bsearch(&key, heaps->stacks, heaps->stack_count, sizeof(key), compare_stacks);
	return found ? found->node : 0;
}

uint32_t heaps_mapping_stack(const struct heaps *heaps, uint64_t address)
{
	size_t at = first_index(heaps->mapped_count, i, heaps->mapped[i].end > address);

	return at < heaps->mapped_count && heaps->mapped[at].start <= address
	               ? heaps->mapped[at].node
	               : 0;
}

const char *heaps_recorder_log(const struct heaps *heaps)
{
	return heaps->recorder ? recorder_log(heaps->recorder) : NULL;
}

size_t heaps_frames(const struct heaps *heaps, uint32_t node, struct heap_frame *frames,
                    size_t most, bool *ret_truncated)
{
	*ret_truncated = false;
	return heaps->recorder ? recorder_frames(heaps->recorder, node, frames, most, ret_truncated)
	                       : 0;
}
