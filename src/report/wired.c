// SPDX-License-Identifier: MIT
// footprint --sysFootprint and --wired-costs: the kernel's own memory by what it is for, and what one
// process, thread, pipe and so on costs it. Called by footprint.c.
#include <inttypes.h>

#include "report/footprint_impl.h"

static void emit_part(struct emitter *e, struct footprint_view *view, const struct wired_part *part)
{
	char size[FOOTPRINT_SIZE_BYTES];

	emit_object(e, NULL);
	emit_text(e, "%11s    %s", part->known ? footprint_size(view, part->bytes, size) : "n/a",
	          part->within ? "  " : "");
	emit_string(e, "name", part->name, part->within ? "%-26s" : "%-28s");
	emit_string(e, "from", part->from, "%s\n");
	emit_bool(e, "within", part->within, NULL);
	emit_known_u64(e, "bytes", part->known, part->bytes, NULL);
	emit_object_end(e);
}

static void emit_parts(struct emitter *e, struct footprint_view *view, const char *key,
                       const struct wired_part *parts, size_t count)
{
	emit_array(e, key);
	for (size_t i = 0; i < count; i++)
		emit_part(e, view, &parts[i]);
	emit_array_end(e);
}

struct error *footprint_system(struct footprint_view *view, struct emitter *e)
{
	char size[FOOTPRINT_SIZE_BYTES];
	struct wired wired;

	TRY(wired_read(&view->arena, &wired));
	emit_text(e, "Memory: %s\n\nWired by the kernel:\n",
	          footprint_size(view, wired.total_bytes, size));
	emit_u64(e, "total_bytes", wired.total_bytes, NULL);
	emit_parts(e, view, "wired", wired.parts, wired.part_count);
	emit_text(e, "%11s    sum, without what is reserved at boot\n",
	          footprint_size(view, wired.wired_bytes, size));
	emit_u64(e, "wired_bytes", wired.wired_bytes, NULL);
	emit_text(e, "\nOther memory:\n");
	emit_parts(e, view, "others", wired.others, wired.other_count);
	emit_text(e,
	          "\n%11s    is in no count of the kernel: pages that drivers, sockets, pipes and\n"
	          "               a hypervisor's balloon took by themselves\n",
	          footprint_size(view, wired.unknown_bytes, size));
	emit_u64(e, "unknown_bytes", wired.unknown_bytes, NULL);
	return NULL;
}

// --- costs ---------------------------------------------------------------------------------------
static const char *const count_keys[OS_COST_COUNTS] = {
	[OS_COST_SLAB] = "slab_bytes",
	[OS_COST_STACKS] = "stack_bytes",
	[OS_COST_PAGE_TABLES] = "page_table_bytes",
	[OS_COST_PERCPU] = "percpu_bytes",
};

static void emit_cost(struct emitter *e, const struct wired_cost *cost)
{
	emit_object(e, NULL);
	emit_string(e, "name", cost->name, "%-23s");
	emit_known_u64(e, "bytes", cost->known, cost->bytes, "%9" PRIu64);
	if (!cost->known)
		emit_text(e, "%9s", "n/a");
	for (unsigned i = 0; i < OS_COST_COUNTS; i++)
		emit_u64(e, count_keys[i], cost->parts[i],
		         i == OS_COST_PAGE_TABLES ? "%13" PRIu64 : "%9" PRIu64);
	emit_u64(e, "made", cost->count, NULL);
	emit_u64(e, "rounds", cost->rounds, NULL);
	emit_u64(e, "least_bytes", cost->least_bytes, NULL);
	emit_u64(e, "most_bytes", cost->most_bytes, NULL);
	emit_text(e, "\n");
	emit_object_end(e);
}

void footprint_costs(struct emitter *e)
{
	struct wired_cost costs[OS_COST_THINGS];

	wired_costs_measure(costs);
	emit_text(e, "Kernel memory of one, in bytes (medians):\n"
	             "                           all     slab    stack  page tables  per CPU\n");
	emit_array(e, "costs");
	for (unsigned i = 0; i < OS_COST_THINGS; i++)
		emit_cost(e, &costs[i]);
	emit_array_end(e);
	emit_text(
		e,
		"\nA process is a copy of this one; its pages are not counted. Pages in pipes and\n"
		"sockets are in no count of the kernel.\n");
}
