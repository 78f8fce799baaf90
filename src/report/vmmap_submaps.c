// SPDX-License-Identifier: MIT
/*
 * -submap. On the Mac of 2008 a submap was a part of the page tables that processes share. What comes
 * closest on Linux are runs of library pages that all processes share through the page cache
 * ("machine-wide"); where this process wrote to its own copies the run is "process-only". Text that
 * was turned private (breakpoints, relocations in text) costs memory and is told separately.
 */
#include <inttypes.h>

#include "report/vmmap_impl.h"

struct submap {
	uint64_t start, end;
	bool process_only;
	uint64_t private_text_bytes;
};

static bool process_only(const struct vmmap_row *row)
{
	return row->has_pages ? row->pages.anonymous + row->pages.swapped > 0 : vmmap_writable(row);
}

static bool same_run(const struct vmmap_row *a, const struct vmmap_row *b)
{
	return vmmap_of_library(a->region) && vmmap_of_library(b->region) &&
	       process_only(a) == process_only(b);
}

static struct submap read_run(const struct vmmap_row *const *rows, size_t n, size_t first)
{
	struct submap run = { rows[first]->start, rows[first]->end, process_only(rows[first]), 0 };

	for (size_t i = first; i < n && same_run(rows[first], rows[i]); i++) {
		run.end = rows[i]->end;
		if (rows[i]->region->kind == REGION_TEXT)
			run.private_text_bytes += rows[i]->pages.anonymous + rows[i]->pages.swapped;
	}
	return run;
}

static bool begins_run(const struct vmmap_row *const *rows, size_t index)
{
	return vmmap_of_library(rows[index]->region) &&
	       (index == 0 || !same_run(rows[index - 1], rows[index]));
}

void vmmap_emit_submap_line(struct emitter *e, const struct vmmap_view *view,
                            const struct vmmap_row *const *rows, size_t n, size_t index)
{
	struct submap run;
	char size[VMMAP_SIZE_BYTES];

	if (!view->settings->submap || !begins_run(rows, index))
		return;
	run = read_run(rows, n, index);
	emit_text(e, "%-*s %12" PRIx64 "-%" PRIx64 " r--/r-- %s submap\n",
	          view->settings->form_2008 ? 14 : 23, "Submap", run.start, run.end - 1,
	          run.process_only ? "process-only" : "machine-wide");
	if (run.private_text_bytes)
		emit_text(e, "%-*s %s of text are private copies of this process\n",
		          view->settings->form_2008 ? 14 : 23, "",
		          vmmap_size(view, run.private_text_bytes, size));
}

void vmmap_emit_submaps(struct emitter *e, const struct vmmap_view *view)
{
	const struct vmmap_row **rows = arena_array(view->look->arena, view->rows.n, sizeof(*rows));

	for (size_t i = 0; i < view->rows.n; i++)
		rows[i] = &view->rows.v[i];
	emit_array(e, "submaps");
	for (size_t i = 0; i < view->rows.n; i++) {
		struct submap run;

		if (!begins_run(rows, i))
			continue;
		run = read_run(rows, view->rows.n, i);
		emit_object(e, NULL);
		emit_address(e, "start", run.start, NULL);
		emit_address(e, "end", run.end, NULL);
		emit_string(e, "scope", run.process_only ? "process-only" : "machine-wide", NULL);
		emit_u64(e, "private_text_bytes", run.private_text_bytes, NULL);
		emit_object_end(e);
	}
	emit_array_end(e);
}
