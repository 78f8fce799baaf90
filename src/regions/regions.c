// SPDX-License-Identifier: MIT
/*
 * Splits every segment of a target at heaps, stacks, guards and .bss, and names the parts.
 *
 * Claims on memory are gathered first (heaps win over stacks, stacks over .bss), cut so that they
 * do not overlap and begin and end on pages; then one pass over the segments cuts each of them at the
 * claims it meets. Inside files nothing is cut: the arena in libc's .data is less than a page.
 */
#include "regions/regions.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/search.h"
#include "base/text.h"
#include "regions/regions_impl.h"

struct claim {
	uint64_t start, end;
	enum region_kind kind;
	int zone, thread;
	const char *type; // the allocator's name for it; NULL: by kind
};

struct claims {
	struct regions_own *own;
	VEC(struct claim) list; // sorted, not overlapping
	VEC(struct claim) gaps; // what add_where_free found, before it is merged in
};

// --- claims --------------------------------------------------------------------------------------

static enum region_kind kind_of_range(const struct heap_range *range)
{
	return range->kind == HEAP_RANGE_BLOCKS     ? REGION_MALLOC
	       : range->kind == HEAP_RANGE_METADATA ? REGION_MALLOC_META
	                                            : REGION_MALLOC_RESERVED;
}

// Heap ranges come sorted and apart, but may share a page: then the blocks take it.
static void claim_heap(struct claims *claims, const struct heap_range *range)
{
	uint64_t page = claims->own->page_bytes;
	struct claim claim = { .start = round_down(range->start, page),
		               .end = range->end > UINT64_MAX - page ? round_down(range->end, page)
		                                                     : round_up(range->end, page),
		               .kind = kind_of_range(range),
		               .zone = (int)range->zone,
		               .thread = -1,
		               .type = range->type };
	struct claim *last = claims->list.n ? &claims->list.v[claims->list.n - 1] : NULL;

	if (last && last->end > claim.start) {
		if (claim.kind == REGION_MALLOC && last->kind != REGION_MALLOC)
			last->end = claim.start > last->start ? claim.start : last->start;
		else
			claim.start = last->end;
		if (last->start == last->end)
			claims->list.n--;
	}
	if (claim.start < claim.end)
		vec_push(&claims->list, claim);
}

// Remembers the parts of a claim that nobody has yet.
static void claim_where_free(struct claims *claims, struct claim claim)
{
	uint64_t end = claim.end;
	size_t at = first_index(claims->list.n, i, claims->list.v[i].end > claim.start);

	for (; claim.start < end; at++) {
		bool met = at < claims->list.n && claims->list.v[at].start < end;

		claim.end = met ? claims->list.v[at].start : end;
		if (claim.start < claim.end)
			vec_push(&claims->gaps, claim);
		claim.start = met ? claims->list.v[at].end : end;
	}
}

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static void merge_gaps(struct claims *claims)
{
	for (size_t i = 0; i < claims->gaps.n; i++)
		vec_push(&claims->list, claims->gaps.v[i]);
	claims->gaps.n = 0;
	if (claims->list.n)
		qsort(claims->list.v, claims->list.n, sizeof(*claims->list.v), compare_claims);
}

static void claim_stacks(struct claims *claims)
{
	struct regions_own *own = claims->own;
	uint64_t page = own->page_bytes;

	for (size_t i = 0; i < own->stacks.n; i++) {
		const struct stack *stack = &own->stacks.v[i];
		struct claim claim = { .start = round_down(stack->guard_start, page),
			               .end = round_down(stack->start, page),
			               .kind = REGION_STACK_GUARD,
			               .zone = -1,
			               .thread = stack->thread };

		claim_where_free(claims, claim);
		claim.start = claim.end;
		claim.end = round_up(stack->end, page);
		claim.kind = stack->dead ? REGION_DEAD_STACK : REGION_STACK;
		claim_where_free(claims, claim);
	}
	merge_gaps(claims);
}

static void claim_bss(struct claims *claims)
{
	for (size_t i = 0; i < claims->own->parts.n; i++) {
		const struct module_part *part = &claims->own->parts.v[i];

		if (part->kind == PART_BSS)
			claim_where_free(claims, (struct claim){ part->start, part->end, REGION_BSS,
			                                         -1, -1, NULL });
	}
	merge_gaps(claims);
}

static void gather_claims(struct claims *claims)
{
	const struct heaps *heaps = claims->own->open.heaps;

	vec_init(&claims->list, claims->own->arena.ar_source);
	vec_init(&claims->gaps, claims->own->arena.ar_source);
	for (size_t i = 0; heaps && i < heaps->range_count; i++)
		claim_heap(claims, &heaps->ranges[i]);
	claim_stacks(claims);
	claim_bss(claims);
}

// --- what a segment is when nobody claims it -----------------------------------------------------

static enum region_kind kind_of_file(const struct regions_own *own,
                                     const struct target_segment *segment)
{
	const struct target_file *file = segment->file;

	if (file->anonymous)
		return text_starts_with(file->path, "/memfd:") ? REGION_MEMFD
		                                               : REGION_SHARED_MEMORY;
	if (text_starts_with(file->path, "/dev/") && !text_starts_with(file->path, "/dev/shm/"))
		return text_starts_with(file->path, "/dev/zero") ? REGION_SHARED_MEMORY
		                                                 : REGION_DEVICE;
	if (text_starts_with(file->path, "/dev/shm/"))
		return REGION_SHARED_MEMORY;
	if (!symbols_module_at(own->symbols, segment->start) || segment->shared)
		return REGION_MAPPED_FILE;
	if (segment->protection & TARGET_EXEC)
		return REGION_TEXT;
	if (segment->protection & TARGET_WRITE)
		return REGION_DATA;
	return segment->protection ? REGION_CONST : REGION_RESERVED;
}

static enum region_kind kind_of_segment(const struct regions_own *own,
                                        const struct target_segment *segment)
{
	const char *name = segment->name ? segment->name : "";

	if (text_starts_with(name, "[vdso") || text_starts_with(name, "[vvar") ||
	    text_starts_with(name, "[vsyscall") || text_starts_with(name, "[vectors") ||
	    text_starts_with(name, "[sigpage"))
		return REGION_VDSO;
	if (segment->has_pages && os_flags_have(segment->pages.flags, "io"))
		return REGION_DEVICE;
	if (segment->file)
		return kind_of_file(own, segment);
	if (segment->shared)
		return REGION_SHARED_MEMORY;
	if (text_starts_with(name, "[anon:"))
		return REGION_NAMED;
	if (!segment->protection && !segment->pages.resident && !segment->pages.swapped)
		return REGION_RESERVED;
	return REGION_ANONYMOUS;
}

// --- names ---------------------------------------------------------------------------------------

static const char *const type_names[] = {
	[REGION_MALLOC] = "MALLOC",
	[REGION_MALLOC_META] = "MALLOC metadata",
	[REGION_MALLOC_RESERVED] = "MALLOC (reserved)",
	[REGION_STACK] = "Stack",
	[REGION_STACK_GUARD] = "STACK GUARD",
	[REGION_DEAD_STACK] = "Stack (cached)",
	[REGION_TEXT] = "__TEXT",
	[REGION_CONST] = "__CONST",
	[REGION_DATA] = "__DATA",
	[REGION_BSS] = "__BSS",
	[REGION_MAPPED_FILE] = "mapped file",
	[REGION_SHARED_MEMORY] = "shared memory",
	[REGION_MEMFD] = "memfd",
	[REGION_VDSO] = "vdso",
	[REGION_NAMED] = "[anon]",
	[REGION_ANONYMOUS] = "VM_ALLOCATE",
	[REGION_RESERVED] = "VM_ALLOCATE (reserved)",
	[REGION_DEVICE] = "device",
};

// The first read-only pages of an ELF file hold its headers and symbol tables, what __LINKEDIT
// holds on macOS.
static const char *type_of_const(const struct regions_own *own,
                                 const struct target_segment *segment)
{
	if (regions_part_at(own, segment->start, 1u << PART_WRITABLE | 1u << PART_RELRO))
		return "__DATA_CONST";
	return segment->file_offset == 0 ? "__LINKEDIT" : "__CONST";
}

static const char *type_of(struct regions_own *own, const struct region *region)
{
	const struct target_segment *segment = region->segment;

	if (region->kind == REGION_CONST)
		return type_of_const(own, segment);
	if (region->kind == REGION_NAMED)
		return text_printable(&own->arena, segment->name);
	if (region->kind == REGION_MALLOC && region->zone >= 0 &&
	    strcmp(own->open.heaps->zones[region->zone].name, "mmapped") == 0)
		return "MALLOC_LARGE";
	return type_names[region->kind];
}

static const char *thread_text(struct regions_own *own, int thread, const char *before)
{
	const struct target_thread *one = &own->open.target->threads[thread];

	return arena_format(&own->arena, "%s%d%s%s", before, one->tid, *one->name ? " " : "",
	                    text_printable(&own->arena, one->name));
}

static const char *file_text(struct regions_own *own, const struct target_file *file)
{
	const char *path = text_printable(&own->arena, file->path);

	return file->deleted ? arena_format(&own->arena, "%s (deleted)", path) : path;
}

static const char *detail_of_memory(struct regions_own *own, const struct region *region)
{
	const struct target *target = own->open.target;
	const char *name = region->segment->name;

	if (region->kind == REGION_BSS) {
		const struct module_part *part =
			regions_part_at(own, region->start, 1u << PART_BSS);

		return part ? part->module->path : "";
	}
	for (size_t i = 0; i < target->thread_count; i++)
		if (own->areas[i].start >= region->start && own->areas[i].start < region->end)
			return thread_text(own, (int)i, "TLS of thread ");
	return name && region->kind != REGION_NAMED ? text_printable(&own->arena, name) : "";
}

static const char *detail_of(struct regions_own *own, const struct region *region)
{
	if (region->zone >= 0)
		return own->open.heaps->zones[region->zone].name;
	if (region->kind == REGION_STACK && region->thread >= 0)
		return thread_text(own, region->thread, "thread ");
	if (region->kind == REGION_STACK_GUARD)
		return region->thread < 0
		               ? "stack guard of an ended thread"
		               : thread_text(own, region->thread, "stack guard for thread ");
	if (region->kind == REGION_DEAD_STACK)
		return "stack of an ended thread";
	if (region->segment->file)
		return file_text(own, region->segment->file);
	return detail_of_memory(own, region);
}

// --- splitting -----------------------------------------------------------------------------------

static void add_region(struct regions_own *own, const struct target_segment *segment,
                       uint64_t start, uint64_t end, const struct claim *claim)
{
	struct region region = {
		.start = start,
		.end = end,
		.kind = claim ? claim->kind : kind_of_segment(own, segment),
		.zone = claim ? claim->zone : -1,
		.thread = claim ? claim->thread : -1,
		.type = claim ? claim->type : NULL,
		.segment = segment,
		.whole_segment = start == segment->start && end == segment->end,
	};
	struct region *last = own->list.n ? &own->list.v[own->list.n - 1] : NULL;

	if (last && last->segment == segment && last->end == start && last->kind == region.kind &&
	    last->zone == region.zone && last->thread == region.thread &&
	    last->type == region.type && region.kind != REGION_DEAD_STACK) {
		last->end = end;
		last->whole_segment = last->start == segment->start && end == segment->end;
		return;
	}
	vec_push(&own->list, region);
}

// What lies in a file is never cut.
static bool may_claim(const struct target_segment *segment)
{
	return !segment->file || segment->file->anonymous;
}

static struct error *split_segment(struct claims *claims, const struct target_segment *segment,
                                   size_t *next)
{
	struct regions_own *own = claims->own;
	uint64_t at = segment->start;
	size_t first = own->list.n;

	while (*next < claims->list.n && claims->list.v[*next].end <= at)
		++*next;
	for (size_t i = *next; at < segment->end; i++) {
		const struct claim *claim = i < claims->list.n ? &claims->list.v[i] : NULL;
		uint64_t stop = segment->end;

		if (claim && claim->start < stop && !may_claim(segment))
			continue;
		if (claim && claim->start < stop) {
			if (claim->start > at)
				add_region(own, segment, at, claim->start, NULL);
			at = claim->start > at ? claim->start : at;
			stop = claim->end < stop ? claim->end : stop;
			add_region(own, segment, at, stop, claim);
		} else {
			add_region(own, segment, at, stop, NULL);
		}
		at = stop;
	}
	return regions_share_pages(own, &own->list.v[first], own->list.n - first);
}

static void name_regions(struct regions_own *own)
{
	for (size_t i = 0; i < own->list.n; i++) {
		struct region *region = &own->list.v[i];

		if (!region->type)
			region->type = type_of(own, region);
		region->detail = detail_of(own, region);
	}
}

static struct error *split_all(struct regions_own *own)
{
	const struct target *target = own->open.target;
	struct claims claims = { .own = own };
	struct error *error = NULL;
	size_t next = 0;

	gather_claims(&claims);
	for (size_t i = 0; i < target->segment_count && !error; i++)
		error = split_segment(&claims, &target->segments[i], &next);
	vec_deinit(&claims.list);
	vec_deinit(&claims.gaps);
	return error;
}

static struct error *regions_find(struct regions_own *own)
{
	regions_find_parts(own);
	regions_find_stacks(own);
	TRY(split_all(own));
	name_regions(own);
	return NULL;
}

struct error *regions_read(struct target *target, const struct heaps *heaps,
                           struct symbols *symbols, struct regions **ret)
{
	const struct page_source *source = target->arena->ar_source;
	struct arena arena;
	struct regions_own *own;
	bool recorded;
	struct error *error;

	arena_init(&arena, source);
	own = arena_alloc(&arena, sizeof(*own));
	own->arena = arena;
	own->open.target = target;
	own->open.heaps = heaps;
	own->symbols = symbols;
	own->page_bytes = target_page_bytes(target);
	own->areas = arena_array(&own->arena, target->thread_count, sizeof(*own->areas));
	vec_init(&own->stacks, source);
	vec_init(&own->parts, source);
	vec_init(&own->list, source);
	vec_init(&own->root_ranges, source);
	vec_init(&own->root_values, source);
	error = regions_read_recorded(own, &recorded);
	if (!error && !recorded)
		error = regions_find(own);
	if (error) {
		regions_close(&own->open);
		return error;
	}
	own->open.regions = own->list.v;
	own->open.region_count = own->list.n;
	*ret = &own->open;
	return NULL;
}

void regions_close(struct regions *regions)
{
	struct regions_own *own = regions_own(regions);
	struct arena arena = own->arena;

	vec_deinit(&own->stacks);
	vec_deinit(&own->parts);
	vec_deinit(&own->list);
	vec_deinit(&own->root_ranges);
	vec_deinit(&own->root_values);
	arena_deinit(&arena);
}

const struct region *regions_at(const struct regions *regions, uint64_t address)
{
	size_t at = first_index(regions->region_count, i, regions->regions[i].end > address);

	return at < regions->region_count && regions->regions[at].start <= address
	               ? &regions->regions[at]
	               : NULL;
}
