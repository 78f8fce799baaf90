// SPDX-License-Identifier: MIT
// One process: what of its memory is dirty, clean or reclaimable, by category. Reads smaps once; the
// process runs on meanwhile and may change between two lines of it. Called by report/footprint.c.
#include <string.h>

#include "accounts/accounts_impl.h"
#include "base/text.h"

#define CATEGORIES_MAX 128 // a program may invent a name for each mapping

struct footprints {
	struct arena arena; // holds this struct
	struct accounts *accounts;
	unsigned want;
	enum footprint_sharing sharing;
	struct once *once;
	mapped_vec mappings; // of the process at work
	struct arena *names; // of the caller
};

struct footprints *footprints_open(struct accounts *accounts, unsigned want, bool several)
{
	struct footprints *footprints;
	struct arena arena;

	arena_init(&arena, &os_page_source);
	footprints = arena_alloc(&arena, sizeof(*footprints));
	footprints->arena = arena;
	footprints->accounts = accounts;
	footprints->want = want;
	vec_init(&footprints->mappings, &os_page_source);
	if (several && want & FOOTPRINT_CATEGORIES)
		footprints->once = once_open();
	if (several)
		footprints->sharing =
			footprints->once ? FOOTPRINT_SHARE_ONCE : FOOTPRINT_SHARE_PROPORTIONAL;
	return footprints;
}

void footprints_close(struct footprints *footprints)
{
	struct arena arena = footprints->arena;

	if (footprints->once)
		once_close(footprints->once);
	vec_deinit(&footprints->mappings);
	arena_deinit(&arena);
}

enum footprint_sharing footprints_sharing(const struct footprints *footprints)
{
	return footprints->sharing;
}

void footprint_counts_add(struct footprint_counts *to, const struct footprint_counts *from)
{
	to->dirty_bytes += from->dirty_bytes;
	to->clean_bytes += from->clean_bytes;
	to->reclaimable_bytes += from->reclaimable_bytes;
	to->swapped_bytes += from->swapped_bytes;
	to->wired_bytes += from->wired_bytes;
	to->region_count += from->region_count;
}

// --- one mapping ---------------------------------------------------------------------------------
static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static struct footprint_counts counts_of(const struct os_counts *counts)
{
	uint64_t huge = counts->huge_reserved;
	uint64_t dirty = counts->private_dirty + counts->shared_dirty;
	uint64_t clean = counts->private_clean + counts->shared_clean;

	// Pages that MADV_FREE gave up are clean in smaps.
	return (struct footprint_counts){
		.dirty_bytes = dirty + counts->swapped + huge,
		.clean_bytes = minus(clean, counts->lazy_free),
		.reclaimable_bytes = counts->lazy_free,
		.swapped_bytes = counts->swapped,
		.wired_bytes = (os_flags_have(counts->flags, "lo") ? counts->resident : 0) + huge,
		.region_count = 1,
	};
}

// Pss_Dirty is since Linux 6.0; without it the dirty part is that of the pages.
static uint64_t proportional_dirty(const struct os_counts *counts)
{
	uint64_t dirty = counts->private_dirty + counts->shared_dirty;

	if (counts->proportional_dirty || !dirty || !counts->resident)
		return counts->proportional_dirty;
	return (uint64_t)((__uint128_t)counts->proportional * dirty / counts->resident);
}

static struct footprint_counts proportional_of(const struct os_counts *counts)
{
	uint64_t huge = counts->huge_reserved;
	uint64_t dirty = proportional_dirty(counts), all = counts->proportional;
	uint64_t clean = counts->private_clean + counts->shared_clean, given_up = 0;

	if (clean)
		given_up = (uint64_t)((__uint128_t)minus(all, dirty) * counts->lazy_free / clean);
	return (struct footprint_counts){
		.dirty_bytes = dirty + counts->swapped_proportional + huge,
		.clean_bytes = minus(all, dirty + given_up),
		.reclaimable_bytes = given_up,
		.swapped_bytes = counts->swapped_proportional,
		.wired_bytes = (os_flags_have(counts->flags, "lo") ? all : 0) + huge,
		.region_count = 1,
	};
}

// Pages in swap have no frame; their share is proportional always.
static struct footprint_counts share_of(const struct footprints *footprints,
                                        const struct os_counts *counts)
{
	struct footprint_counts share = counts_of(counts);

	if (footprints->sharing == FOOTPRINT_SHARE_PROPORTIONAL)
		return proportional_of(counts);
	if (footprints->sharing == FOOTPRINT_SHARE_ONCE) {
		share.dirty_bytes -= minus(counts->swapped, counts->swapped_proportional);
		share.swapped_bytes = counts->swapped_proportional;
	}
	return share;
}

static void take_mapping(void *context, const struct os_smaps_mapping *mapping)
{
	const struct os_counts *counts = &mapping->counts;
	struct footprints *footprints = context;
	struct mapped *mapped = vec_add(&footprints->mappings);
	bool named;

	*mapped = (struct mapped){
		.start = mapping->start,
		.end = mapping->end,
		.offset = mapping->offset,
		.inode = mapping->inode,
		.device = mapping->device,
		.kind = category_kind_of(mapping),
		.protection = mapping->protection,
		.shared = mapping->shared,
		.is_accounted = os_flags_have(counts->flags, "ac"),
		.counts = counts_of(counts),
		.share = share_of(footprints, counts),
		.shared_clean_bytes = counts->shared_clean,
		.shared_dirty_bytes = counts->shared_dirty + counts->huge_reserved,
		.resident_bytes = counts->resident,
	};
	named = mapped->kind == MAPPED_NAMED;
	if (named || footprints->want & FOOTPRINT_REGIONS)
		mapped->name = arena_copy(footprints->names, mapping->name);
	if (named)
		mapped->category = mapped->name;
}

// The one line of smaps_rollup, which knows no flags.
static void take_sum(void *context, const struct os_smaps_mapping *mapping)
{
	const struct os_counts *counts = &mapping->counts;
	struct footprints *footprints = context;
	struct mapped *mapped = vec_add(&footprints->mappings);

	mapped->counts = counts_of(counts);
	mapped->share = share_of(footprints, counts);
	mapped->counts.wired_bytes += counts->locked_proportional;
	mapped->share.wired_bytes += counts->locked_proportional;
	mapped->counts.region_count = mapped->share.region_count = 0;
}

// --- categories ----------------------------------------------------------------------------------
static struct footprint_category *category_at(struct footprint *footprint, const char *name)
{
	size_t i = 0;

	for (; i < footprint->category_count; i++)
		if (!strcmp(footprint->categories[i].name, name))
			return &footprint->categories[i];
	if (i + 1 == CATEGORIES_MAX)
		name = "[anon]";
	if (i == CATEGORIES_MAX)
		return &footprint->categories[i - 1];
	footprint->categories[footprint->category_count++].name = name;
	return &footprint->categories[i];
}

static void add_mapping(struct footprint_category *to, const struct mapped *mapped)
{
	footprint_counts_add(&to->counts, &mapped->counts);
	footprint_counts_add(&to->share, &mapped->share);
}

static void sum_categories(const struct footprints *footprints, struct footprint *ret)
{
	ret->categories = arena_array(footprints->names, CATEGORIES_MAX, sizeof(*ret->categories));
	for (size_t i = 0; i < footprints->mappings.n; i++)
		add_mapping(category_at(ret, footprints->mappings.v[i].category),
		            &footprints->mappings.v[i]);
}

static void list_regions(const struct footprints *footprints, struct footprint *ret)
{
	size_t count = footprints->mappings.n;
	struct footprint_region *regions = arena_array(footprints->names, count, sizeof(*regions));

	for (size_t i = 0; i < count; i++) {
		const struct mapped *mapped = &footprints->mappings.v[i];

		regions[i] = (struct footprint_region){
			.start = mapped->start,
			.end = mapped->end,
			.protection = mapped->protection,
			.shared = mapped->shared,
			.category = mapped->category,
			.name = mapped->name,
			.counts = mapped->counts,
		};
	}
	ret->regions = regions;
	ret->region_count = count;
}

static struct error *is_there(struct footprints *footprints, const struct footprint *footprint)
{
	struct account now;
	int pid = footprint->account.process.pid;

	if (accounts_read(footprints->accounts, pid, &now) && now.process.state != 'Z')
		return NULL;
	return error_new(ERROR_GONE, "process %d has ended", pid);
}

static struct error *sum_up(struct footprints *footprints, struct footprint *ret)
{
	struct mapped *mappings = footprints->mappings.v;
	size_t count = footprints->mappings.n;

	if (footprints->want & FOOTPRINT_CATEGORIES) {
		category_name_all(mappings, count);
		if (footprints->once &&
		    !once_count(footprints->once, footprints->accounts->proc,
		                ret->account.process.memory_tid, mappings, count)) {
			TRY(is_there(footprints, ret));
			ret->refused = "its page frames may not be looked at: counted in full";
		}
		sum_categories(footprints, ret);
	}
	if (footprints->want & FOOTPRINT_REGIONS)
		list_regions(footprints, ret);
	for (size_t i = 0; i < count; i++)
		add_mapping(&ret->total, &mappings[i]);
	return NULL;
}

// What everybody may know of every process.
static void sum_cheaply(struct footprint *ret)
{
	const struct os_account *process = &ret->account.process;
	struct footprint_counts counts = {
		.dirty_bytes = process->anonymous_bytes + process->swapped_bytes,
		.clean_bytes = process->resident_bytes - process->anonymous_bytes,
		.swapped_bytes = process->swapped_bytes,
	};

	ret->refused = "its mappings may not be read: anonymous memory is taken for dirty";
	ret->total.counts = ret->total.share = counts;
}

struct error *footprints_read(struct footprints *footprints, struct arena *arena, int pid,
                              struct footprint *ret)
{
	bool sums_only = !(footprints->want & (FOOTPRINT_CATEGORIES | FOOTPRINT_REGIONS));
	struct error *error;
	uint16_t machine;

	*ret = (struct footprint){ .total.name = "TOTAL" };
	if (!accounts_read(footprints->accounts, pid, &ret->account))
		return error_new(ERROR_GONE, "there is no process %d (any more)", pid);
	footprints->names = arena;
	footprints->mappings.n = 0;
	error = os_smaps_read(footprints->accounts->proc, ret->account.process.memory_tid,
	                      sums_only ? OS_SMAPS_SUMS : OS_SMAPS_COUNTS,
	                      sums_only ? take_sum : take_mapping, footprints);
	if (error && error->kind == ERROR_RIGHTS)
		sum_cheaply(ret);
	else if (error)
		return error;
	else
		TRY(sum_up(footprints, ret));
	if (os_process_machine(ret->account.process.memory_tid, &machine, &ret->word_bytes))
		ret->word_bytes = 0;
	kernel_read(footprints->accounts->proc, footprints->want, arena, ret);
	return NULL;
}
