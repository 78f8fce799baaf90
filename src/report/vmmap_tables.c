// SPDX-License-Identifier: MIT
// What stands below vmmap's list: the two summary lines, the table of region types, the table of
// malloc zones. The tables count regions before equal neighbours are merged.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/vmmap_impl.h"

// Sums over regions.
struct sums {
	uint64_t virtual_bytes;
	struct target_pages pages;
	uint64_t region_count;
	bool unknown; // a region whose page counts nobody knows is among them
};

static void add_row(struct sums *sums, const struct vmmap_row *row)
{
	sums->virtual_bytes += row->end - row->start;
	vmmap_pages_add(&sums->pages, &row->pages);
	sums->region_count += row->region_count;
	sums->unknown |= !row->has_pages;
}

// Sums of pages: "-" and null where they are not known.
static char *sums_size(const struct vmmap_view *view, const struct sums *sums, uint64_t bytes,
                       char buffer[VMMAP_SIZE_BYTES])
{
	return sums->unknown ? strcpy(buffer, "-") : vmmap_size(view, bytes, buffer);
}

static void json_count(struct emitter *e, const struct sums *sums, const char *key, uint64_t value)
{
	emit_known_u64(e, key, !sums->unknown, value, NULL);
}

static void json_sums(struct emitter *e, const struct sums *sums)
{
	emit_u64(e, "virtual_bytes", sums->virtual_bytes, NULL);
	json_count(e, sums, "resident_bytes", sums->pages.resident);
	json_count(e, sums, "dirty_bytes", vmmap_dirty_bytes(&sums->pages));
	json_count(e, sums, "swapped_bytes", sums->pages.swapped);
	emit_u64(e, "region_count", sums->region_count, NULL);
}

// --- the summary lines --------------------------------------------------------------------------

// To the nearest, so that the shares of a line sum up to about 100.
static unsigned percent(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned)(((__uint128_t)part * 100 + whole / 2) / whole) : 0;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

// "resident=1916K(9%)", in 2008 always "1916KB(9%)"; value and whole in bytes.
static void line_part(struct emitter *e, const struct vmmap_view *view, const char *name,
                      uint64_t value, uint64_t whole)
{
	char size[VMMAP_SIZE_BYTES];

	if (view->settings->form_2008 && !view->settings->pages)
		emit_text(e, " %s=%" PRIu64 "KB(%u%%)", name, value / 1024, percent(value, whole));
	else
		emit_text(e, " %s=%s(%u%%)", name, vmmap_size(view, value, size),
		          percent(value, whole));
}

static void line_total(struct emitter *e, const struct vmmap_view *view, const char *what,
                       uint64_t value)
{
	char size[VMMAP_SIZE_BYTES];

	if (view->settings->form_2008 && !view->settings->pages)
		emit_text(e, "%s: Total=%" PRIu64 "KB", what, value / 1024);
	else
		emit_text(e, "%s: Total=%s", what, vmmap_size(view, value, size));
}

static void summary_libraries(struct emitter *e, const struct vmmap_view *view,
                              const struct sums *sums)
{
	uint64_t total = sums->virtual_bytes, resident = sums->pages.resident;

	line_total(e, view, "ReadOnly portion of Libraries", total);
	if (!sums->unknown) {
		line_part(e, view, "resident", resident, total);
		line_part(e, view, "swapped_out_or_unallocated", minus(total, resident), total);
	}
	emit_text(e, "\n");
	emit_object(e, "read_only_libraries");
	json_sums(e, sums);
	emit_object_end(e);
}

static void summary_writable(struct emitter *e, const struct vmmap_view *view,
                             const struct sums *sums)
{
	uint64_t total = sums->virtual_bytes, resident = sums->pages.resident;
	uint64_t swapped = sums->pages.swapped, written = vmmap_dirty_bytes(&sums->pages);

	line_total(e, view, "Writable regions", total);
	if (!sums->unknown) {
		line_part(e, view, "written", written, total);
		line_part(e, view, "resident", resident, total);
		line_part(e, view, "swapped_out", swapped, total);
		line_part(e, view, "unallocated", minus(total, resident + swapped), total);
	}
	emit_text(e, "\n");
	emit_object(e, "writable");
	json_sums(e, sums);
	emit_object_end(e);
}

void vmmap_emit_summary(struct emitter *e, const struct vmmap_view *view)
{
	struct sums libraries = { 0 }, writable = { 0 };

	for (size_t i = 0; i < view->rows.n; i++) {
		const struct vmmap_row *row = &view->rows.v[i];

		if (vmmap_writable(row))
			add_row(&writable, row);
		else if (vmmap_of_library(row->region))
			add_row(&libraries, row);
	}
	emit_text(e, "\n==== Summary for process %d\n", view->look->target->pid);
	emit_object(e, "summary");
	summary_libraries(e, view, &libraries);
	summary_writable(e, view, &writable);
	emit_object_end(e);
	emit_text(e, "\n");
}

// --- the table of types -------------------------------------------------------------------------

struct type_sums {
	const char *type;
	bool of_malloc, reserved;
	struct sums sums;
};

static int compare_types(const void *a, const void *b)
{
	return strcmp(((const struct type_sums *)a)->type, ((const struct type_sums *)b)->type);
}

static struct type_sums *find_type(struct type_sums *types, size_t *n, const struct vmmap_row *row)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp(types[i].type, row->type) == 0)
			return &types[i];
	types[*n] = (struct type_sums){
		.type = row->type,
		.of_malloc = row->region->zone >= 0,
		.reserved = vmmap_reserved(row->region),
	};
	return &types[(*n)++];
}

// The form of 2008 had no tables; JSON has them always.
static void table_rule(struct emitter *e, const struct vmmap_view *view)
{
	if (!view->settings->form_2008)
		emit_text(e, "===========                     ======= ========    =====  ======= "
		             "========   ======    =====  =======\n");
}

static void table_heading(struct emitter *e, const struct vmmap_view *view)
{
	if (view->settings->form_2008)
		return;
	emit_text(e,
	          "%-31s VIRTUAL RESIDENT    DIRTY  SWAPPED VOLATILE   NONVOL    EMPTY   REGION\n",
	          "");
	emit_text(e,
	          "%-31s    SIZE     SIZE     SIZE     SIZE     SIZE     SIZE     SIZE    COUNT "
	          "(non-coalesced)\n",
	          "REGION TYPE");
	table_rule(e, view);
}

static void table_line(struct emitter *e, const struct vmmap_view *view, const char *name,
                       const struct sums *sums, const char *note)
{
	char v[VMMAP_SIZE_BYTES], r[VMMAP_SIZE_BYTES], d[VMMAP_SIZE_BYTES], s[VMMAP_SIZE_BYTES];
	const char *zero = view->settings->pages ? "0" : "0K";

	if (view->settings->form_2008)
		return;
	emit_text(e, "%-30s %8s %8s %8s %8s %8s %8s %8s %8" PRIu64 "%s%s\n", name,
	          vmmap_size(view, sums->virtual_bytes, v),
	          sums_size(view, sums, sums->pages.resident, r),
	          sums_size(view, sums, vmmap_dirty_bytes(&sums->pages), d),
	          sums_size(view, sums, sums->pages.swapped, s), zero, zero, zero,
	          sums->region_count, *note ? "         " : "", note);
}

static void emit_type(struct emitter *e, const struct vmmap_view *view, const struct type_sums *one)
{
	const char *note = one->reserved    ? "reserved VM address space (unallocated)"
	                   : one->of_malloc ? "see MALLOC ZONE table below"
	                                    : "";

	table_line(e, view, one->type, &one->sums, note);
	emit_object(e, NULL);
	emit_string(e, "type", one->type, NULL);
	json_sums(e, &one->sums);
	emit_bool(e, "reserved", one->reserved, NULL);
	emit_object_end(e);
}

static void emit_totals(struct emitter *e, const struct vmmap_view *view, const struct sums *all,
                        const struct sums *kept)
{
	table_rule(e, view);
	table_line(e, view, "TOTAL", all, "");
	if (kept->region_count != all->region_count)
		table_line(e, view, "TOTAL, minus reserved VM space", kept, "");
	emit_object(e, "totals");
	json_sums(e, all);
	json_count(e, all, "proportional_bytes", all->pages.proportional);
	json_count(e, all, "private_clean_bytes", all->pages.private_clean);
	json_count(e, all, "private_dirty_bytes", all->pages.private_dirty);
	json_count(e, all, "shared_clean_bytes", all->pages.shared_clean);
	json_count(e, all, "shared_dirty_bytes", all->pages.shared_dirty);
	json_count(e, all, "anonymous_bytes", all->pages.anonymous);
	json_count(e, all, "locked_bytes", all->pages.locked);
	emit_u64(e, "virtual_minus_reserved_bytes", kept->virtual_bytes, NULL);
	emit_object_end(e);
}

static void emit_types(struct emitter *e, const struct vmmap_view *view)
{
	const struct vmmap_rows *rows = &view->rows;
	struct type_sums *types = arena_array(view->look->arena, rows->n, sizeof(*types));
	struct sums all = { 0 }, kept = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < rows->n; i++) {
		add_row(&find_type(types, &n, &rows->v[i])->sums, &rows->v[i]);
		add_row(&all, &rows->v[i]);
		if (!vmmap_reserved(rows->v[i].region))
			add_row(&kept, &rows->v[i]);
	}
	qsort(types, n, sizeof(*types), compare_types);
	table_heading(e, view);
	emit_array(e, "types");
	for (size_t i = 0; i < n; i++)
		emit_type(e, view, &types[i]);
	emit_array_end(e);
	emit_totals(e, view, &all, &kept);
}

// --- the table of zones -------------------------------------------------------------------------

static void zones_rule(struct emitter *e, const struct vmmap_view *view)
{
	if (!view->settings->form_2008)
		emit_text(e,
		          "%-31s =======  =========  =========  =========  =========  =========  "
		          "=========  ======  ======\n",
		          "===========");
}

static void zones_heading(struct emitter *e, const struct vmmap_view *view)
{
	if (view->settings->form_2008)
		return;
	emit_text(e,
	          "\n%-31s VIRTUAL   RESIDENT      DIRTY    SWAPPED ALLOCATION      BYTES "
	          "DIRTY+SWAP          REGION\n",
	          "");
	emit_text(e,
	          "%-31s    SIZE       SIZE       SIZE       SIZE      COUNT  ALLOCATED  "
	          "FRAG SIZE  %% FRAG   COUNT\n",
	          "MALLOC ZONE");
	zones_rule(e, view);
}

// What a zone uses of its pages.
struct zone_sums {
	struct sums pages;
	uint64_t count, bytes;
	uint64_t used_bytes, lost_bytes; // dirty and swapped, and what of it holds no block
};

static void zone_line(struct emitter *e, const struct vmmap_view *view, const char *name,
                      const struct zone_sums *zone)
{
	const struct sums *sums = &zone->pages;
	char v[VMMAP_SIZE_BYTES], r[VMMAP_SIZE_BYTES], d[VMMAP_SIZE_BYTES], s[VMMAP_SIZE_BYTES];
	char b[VMMAP_SIZE_BYTES], f[VMMAP_SIZE_BYTES], share[16] = "-";

	if (view->settings->form_2008)
		return;
	if (!sums->unknown)
		snprintf(share, sizeof(share), "%u%%", percent(zone->lost_bytes, zone->used_bytes));
	emit_text(e, "%-32s %6s %10s %10s %10s %10" PRIu64 " %10s %10s %7s %7" PRIu64 "\n", name,
	          vmmap_size(view, sums->virtual_bytes, v),
	          sums_size(view, sums, sums->pages.resident, r),
	          sums_size(view, sums, vmmap_dirty_bytes(&sums->pages), d),
	          sums_size(view, sums, sums->pages.swapped, s), zone->count,
	          text_size_k((zone->bytes + 512) / 1024 * 1024, b),
	          sums->unknown ? strcpy(f, "-")
	                        : text_size_k((zone->lost_bytes + 512) / 1024 * 1024, f),
	          share, sums->region_count);
}

static void zone_json(struct emitter *e, const struct zone_sums *zone)
{
	double share = zone->used_bytes
	                       ? 100.0 * (double)zone->lost_bytes / (double)zone->used_bytes
	                       : 0.0;

	json_sums(e, &zone->pages);
	emit_u64(e, "allocation_count", zone->count, NULL);
	emit_u64(e, "allocated_bytes", zone->bytes, NULL);
	json_count(e, &zone->pages, "fragmented_bytes", zone->lost_bytes);
	emit_double(e, "fragmented_percent", share, NULL);
}

// Blocks that were never written to use no pages, so a zone may hold more bytes than it uses; that
// must not hide what another zone loses, and the total is the sum of the zones.
static void zone_count(const struct vmmap_view *view, size_t zone, struct zone_sums *ret,
                       struct zone_sums *total)
{
	const struct heaps *heaps = view->look->heaps;

	*ret = (struct zone_sums){ .count = heaps->zones[zone].used_count,
		                   .bytes = heaps->zones[zone].used_bytes };
	for (size_t i = 0; i < view->rows.n; i++) {
		const struct vmmap_row *row = &view->rows.v[i];

		if (row->region->zone != (int)zone || row->region->kind == REGION_MALLOC_RESERVED)
			continue;
		add_row(&ret->pages, row);
		add_row(&total->pages, row);
	}
	ret->used_bytes = vmmap_dirty_bytes(&ret->pages.pages) + ret->pages.pages.swapped;
	ret->lost_bytes = minus(ret->used_bytes, ret->bytes);
	total->used_bytes += ret->used_bytes;
	total->lost_bytes += ret->lost_bytes;
}

static void emit_zone(struct emitter *e, const struct vmmap_view *view, size_t zone,
                      struct zone_sums *total)
{
	const struct heaps *heaps = view->look->heaps;
	const char *name = report_zone_name(heaps, (unsigned)zone, view->look->arena);
	struct zone_sums sums;

	zone_count(view, zone, &sums, total);
	emit_object(e, NULL);
	emit_string(e, "name", name, NULL);
	emit_string(e, "allocator", heaps->zones[zone].allocator, NULL);
	emit_address(e, "address", heaps->zones[zone].address, NULL);
	emit_bool(e, "damaged", heaps->zones[zone].damaged, NULL);
	zone_line(e, view, name, &sums);
	zone_json(e, &sums);
	emit_object_end(e);
}

static void emit_zones(struct emitter *e, const struct vmmap_view *view)
{
	const struct heaps *heaps = view->look->heaps;
	size_t count = heaps ? heaps->zone_count : 0;
	struct zone_sums total = { 0 };

	if (count) {
		total.count = heaps->used_count;
		total.bytes = heaps->used_bytes;
		zones_heading(e, view);
	}
	emit_array(e, "zones");
	for (size_t i = 0; i < count; i++)
		emit_zone(e, view, i, &total);
	emit_array_end(e);
	if (count < 2)
		return;
	zones_rule(e, view);
	emit_object(e, "zones_total");
	zone_line(e, view, "TOTAL", &total);
	zone_json(e, &total);
	emit_object_end(e);
}

void vmmap_emit_tables(struct emitter *e, const struct vmmap_view *view)
{
	emit_types(e, view);
	emit_zones(e, view);
}
