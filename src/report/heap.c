// SPDX-License-Identifier: MIT
// The heap report: zones with their fragmentation, and what lives in them by
// class. Called by tools/heap.c.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"
#include "report/heap_impl.h"

#define MOST_SIZES_SHOWN 40

// --- zones --------------------------------------------------------------------------------------

// False where nobody knows the pages (a core file).
static bool zone_resident(const struct look *look, size_t zone, uint64_t *ret_bytes)
{
	bool known = true;

	*ret_bytes = 0;
	for (size_t i = 0; i < look->regions->region_count; i++) {
		const struct region *region = &look->regions->regions[i];

		if (region->zone != (int)zone)
			continue;
		known = known && region->has_pages;
		*ret_bytes += region->pages.resident;
	}
	return known;
}

// To the nearest, as leaks does.
static uint64_t kilobytes(uint64_t bytes)
{
	return (bytes + 512) / 1024;
}

// Where free memory lies that is no block. Blocks with mappings of their own have none.
static const char *free_besides(const struct heap_zone *zone)
{
	if (strcmp(zone->allocator, "heapwright") == 0)
		return " and in runs of pages";
	return zone->address ? " and the top" : "";
}

static void print_zone(struct emitter *e, struct look *look, size_t i)
{
	const struct heap_zone *zone = &look->heaps->zones[i];
	double share = zone->capacity_bytes
	                       ? 100.0 * (double)zone->used_bytes / (double)zone->capacity_bytes
	                       : 0;
	uint64_t resident;
	bool known = zone_resident(look, i, &resident);

	emit_object(e, NULL);
	emit_string(e, "name", zone->name, NULL);
	emit_string(e, "allocator", zone->allocator, NULL);
	emit_address(e, "address", zone->address, NULL);
	emit_text(e, "Zone %s: ", report_zone_name(look->heaps, (unsigned)i, look->arena));
	emit_u64(e, "capacity_bytes", zone->capacity_bytes, NULL);
	emit_text(e, "Overall size: %" PRIu64 "KB; ", kilobytes(zone->capacity_bytes));
	emit_u64(e, "used_count", zone->used_count, "%" PRIu64 " nodes malloced for ");
	emit_u64(e, "used_bytes", zone->used_bytes, NULL);
	emit_text(e, "%" PRIu64 "KB (%.0f%% of capacity);\n    ", kilobytes(zone->used_bytes),
	          share);
	emit_u64(e, "free_bytes", zone->free_bytes, NULL);
	emit_text(e, "free: %" PRIu64 "KB in ", kilobytes(zone->free_bytes));
	emit_u64(e, "free_count", zone->free_count,
	         zone->free_count == 1 ? "%" PRIu64 " block" : "%" PRIu64 " blocks");
	emit_text(e, "%s; ", free_besides(zone));
	emit_known_u64(e, "resident_bytes", known, resident, NULL);
	if (known)
		emit_text(e, "resident: %" PRIu64 "KB; ", kilobytes(resident));
	emit_u64(e, "largest_free_bytes", zone->largest_free_bytes, NULL);
	emit_text(e, "largest unused: %" PRIu64 "KB", kilobytes(zone->largest_free_bytes));
	emit_bool(e, "damaged", zone->damaged, "; DAMAGED");
	emit_text(e, "\n");
	emit_object_end(e);
}

static void print_zones(struct emitter *e, struct look *look)
{
	size_t count = look->heaps->zone_count;

	emit_text(e, "Process %d: %zu zone%s\n\n", look->target->pid, count, count == 1 ? "" : "s");
	emit_array(e, "zones");
	for (size_t i = 0; i < count; i++)
		print_zone(e, look, i);
	emit_array_end(e);
	emit_text(e, "\n");
}

// --- summary ------------------------------------------------------------------------------------

static int compare_descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x > y ? -1 : x < y;
}

// "2048KB[5] 1024[3] ... 16[24235]": sizes with how many blocks have them, largest first.
static void print_sizes(struct emitter *e, const struct heap_view *view, uint64_t count)
{
	const struct heaps *heaps = view->look->heaps;
	uint64_t *sizes = arena_array(view->look->arena, count, sizeof(*sizes));
	size_t n = 0, shown = 0;

	for (size_t i = 0; i < heaps->block_count; i++)
		if (heap_counts(view, i))
			sizes[n++] = heaps->blocks[i].hb_size;
	if (n)
		qsort(sizes, n, sizeof(*sizes), compare_descending);
	emit_text(e, " - Sizes:");
	for (size_t i = 0, next; i < n; i = next) {
		for (next = i; next < n && sizes[next] == sizes[i];)
			next++;
		if (shown++ == MOST_SIZES_SHOWN && !view->settings->common.verbose) {
			emit_text(e, " ...");
			break;
		}
		if (sizes[i] >= 1024 && sizes[i] % 1024 == 0)
			emit_text(e, " %" PRIu64 "KB[%zu]", sizes[i] / 1024, next - i);
		else
			emit_text(e, " %" PRIu64 "[%zu]", sizes[i], next - i);
	}
	emit_text(e, "\n\n");
}

static unsigned count_language(const struct look *look, const char *language)
{
	size_t count;
	const struct type *const *all = types_all(look->types, &count);
	unsigned found = 0;

	for (size_t i = 0; i < count; i++)
		found += !strcmp(all[i]->language, language);
	return found;
}

static void print_table(struct emitter *e, const struct heap_view *view, const char *title,
                        int zone)
{
	struct heap_rows rows = heap_rows_make(view, zone);
	static const char rule[] =
		"-----------------------------------------------------------------------";

	emit_text(e, "%s\n%s: %" PRIu64 " nodes (%" PRIu64 " bytes)\n\n", rule, title, rows.count,
	          rows.bytes);
	heap_rows_print(e, view, &rows);
}

static void print_tables(struct emitter *e, const struct heap_view *view)
{
	struct look *look = view->look;
	struct heap_rows all = heap_rows_make(view, -1);

	emit_u64(e, "nodes", all.count, "All zones: %" PRIu64 " nodes malloced");
	emit_u64(e, "nodes_bytes", all.bytes, NULL);
	print_sizes(e, view, all.count);
	emit_text(e, "Found: %u C++ classes  %u Python types\n\n", count_language(look, "C++"),
	          count_language(look, "Python"));
	if (!view->settings->zones) {
		print_table(e, view, "All zones", -1);
		return;
	}
	emit_array(e, "types_by_zone");
	for (size_t i = 0; i < look->heaps->zone_count; i++) {
		const char *name = report_zone_name(look->heaps, (unsigned)i, look->arena);

		emit_object(e, NULL);
		emit_string(e, "zone", look->heaps->zones[i].name, NULL);
		print_table(e, view, arena_format(look->arena, "Zone %s", name), (int)i);
		emit_object_end(e);
	}
	emit_array_end(e);
}

// --- the flow -----------------------------------------------------------------------------------

// Marks the blocks that an earlier snapshot has at the same address with the same size.
static struct error *mark_old(struct heap_view *view, const struct target_options *options)
{
	const struct heaps *heaps = view->look->heaps;
	bool *old = arena_array(view->look->arena, heaps->block_count, sizeof(*old));
	struct look before;

	TRY(look_open(view->settings->diff_from, options, LOOK_REGIONS, &before));
	for (size_t i = 0; i < heaps->block_count; i++) {
		ssize_t was = heaps_find(before.heaps, heaps->blocks[i].hb_address);
		const struct heap_block *block = was < 0 ? NULL : &before.heaps->blocks[was];

		old[i] = block && block->hb_state == HEAP_USED &&
		         block->hb_address == heaps->blocks[i].hb_address &&
		         block->hb_size == heaps->blocks[i].hb_size;
	}
	look_close(&before);
	view->old = old;
	return NULL;
}

static struct error *print_report(const struct heap_view *view)
{
	const struct report_options *options = &view->settings->common;
	struct emitter *e = emit_begin(options->out, options->json ? EMIT_JSON : EMIT_TEXT);

	report_header(e, view->look, options);
	emit_text(e, "heap Report Version:  2.0\n");
	print_zones(e, view->look);
	report_messages(e, view->look);
	if (view->old)
		emit_text(
			e,
			"Only blocks that are not in the earlier snapshot are counted below.\n\n");
	if (view->settings->damage)
		heap_print_damage(e, view->look);
	else if (view->settings->addresses)
		heap_print_addresses(e, view);
	else
		print_tables(e, view);
	report_servers(e, view->look);
	return emit_end(e);
}

static struct error *report_look(struct look *look, const struct heap_settings *settings,
                                 const struct target_options *options, int *ret_exit)
{
	struct heap_view view = { .look = look, .settings = settings };

	if (settings->diff_from)
		TRY(mark_old(&view, options));
	if (settings->guess_non_objects || settings->sum_object_fields)
		TRY(heap_fields_find(&view));
	if (settings->addresses)
		TRY(heap_find_addresses(&view));
	if (settings->common.output_graph)
		TRY(report_snapshot(look, &settings->common));
	TRY(print_report(&view));
	*ret_exit = report_completeness(look);
	if (settings->damage && look->heaps->damage_count)
		*ret_exit = EXIT_FOUND;
	else if (settings->damage && !look->heaps->edges_kept)
		*ret_exit = EXIT_PARTLY;
	return NULL;
}

struct error *report_heap(const char *target, const struct heap_settings *settings, int *ret_exit)
{
	struct target_options options =
		report_target_options(&settings->common, TARGET_WANT_MEMORY | TARGET_WANT_PAGES);
	bool graph = settings->guess_non_objects || settings->sum_object_fields ||
	             settings->common.output_graph;
	struct look look;
	struct error *error;

	TRY(look_open(target, &options, graph ? LOOK_GRAPH : LOOK_TYPES, &look));
	error = report_look(&look, settings, &options, ret_exit);
	look_close(&look);
	return error;
}
