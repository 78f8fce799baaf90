// SPDX-License-Identifier: MIT
// The vmmap report: what every page of a process is used for. Called by tools/vmmap.c.
#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "report/vmmap_impl.h"

static void emit_title(struct emitter *e, const struct vmmap_view *view)
{
	const struct target *target = view->look->target;

	emit_u64(e, "page_bytes", view->page_bytes, NULL);
	emit_string(e, "report_format", "2.4", NULL);
	if (view->settings->form_2008)
		return;
	emit_text(e, "Virtual Memory Map of process %d (%s)\n", target->pid,
	          text_printable(view->look->arena, target->name ? target->name : "unknown"));
	emit_text(e, "Output report format:  2.4  -- %u-bit process\n", target->word_bytes * 8);
	emit_text(e, "VM page size:  %" PRIu64 " bytes\n\n", view->page_bytes);
}

// --- the list -----------------------------------------------------------------------------------

static uint64_t weight_of(const struct vmmap_row *row)
{
	return row->has_pages ? vmmap_dirty_bytes(&row->pages) + row->pages.swapped
	                      : row->end - row->start;
}

static int compare_weight(const void *a, const void *b)
{
	const struct vmmap_row *x = *(const struct vmmap_row *const *)a;
	const struct vmmap_row *y = *(const struct vmmap_row *const *)b;
	uint64_t p = weight_of(x), q = weight_of(y);

	if (p != q)
		return p < q ? 1 : -1;
	return (x->start > y->start) - (x->start < y->start);
}

enum section {
	SECTION_READ_ONLY,
	SECTION_WRITABLE,
	SECTION_ALL,
};

static void emit_section(struct emitter *e, const struct vmmap_view *view, enum section section)
{
	const struct vmmap_row **rows = arena_array(view->look->arena, view->rows.n, sizeof(*rows));
	size_t n = 0;

	for (size_t i = 0; i < view->rows.n; i++)
		if (section == SECTION_ALL ||
		    vmmap_writable(&view->rows.v[i]) == (section == SECTION_WRITABLE))
			rows[n++] = &view->rows.v[i];
	if (view->settings->by_size)
		qsort(rows, n, sizeof(*rows), compare_weight);
	vmmap_emit_heading(e, view);
	for (size_t i = 0; i < n; i++) {
		if (!view->settings->by_size)
			vmmap_emit_submap_line(e, view, rows, n, i);
		vmmap_emit_row(e, view, rows[i], NULL, "");
	}
	emit_text(e, "\n");
}

static void emit_list(struct emitter *e, const struct vmmap_view *view)
{
	int pid = view->look->target->pid;

	emit_array(e, "regions");
	if (view->settings->interleaved) {
		emit_text(e,
		          "==== regions for process %d  (non-writable and writable regions are "
		          "interleaved)\n",
		          pid);
		emit_section(e, view, SECTION_ALL);
	} else {
		emit_text(e, "==== Non-writable regions for process %d\n", pid);
		emit_section(e, view, SECTION_READ_ONLY);
		emit_text(e, "==== Writable regions for process %d\n", pid);
		emit_section(e, view, SECTION_WRITABLE);
	}
	emit_array_end(e);
}

static void emit_legend(struct emitter *e, const struct vmmap_view *view)
{
	emit_text(e, "==== Legend\n");
	emit_text(e, "SM=sharing mode:\n");
	emit_text(e, "        COW=copy_on_write PRV=private NUL=empty ALI=aliased\n");
	emit_text(e, "        SHM=shared ZER=zero_filled S/A=shared_alias\n");
	if (view->settings->form_2008)
		return;
	emit_text(e, "PURGE=purgeable mode: nothing is purgeable on Linux\n");
	emit_text(e, "Parts of ELF files:\n");
	emit_text(e,
	          "        __TEXT=code __CONST=constants __LINKEDIT=headers and symbol tables\n");
	emit_text(e, "        __DATA=variables __DATA_CONST=constants that the loader relocated\n");
	emit_text(e, "        __BSS=variables that begin as zero\n");
}

// --- one address --------------------------------------------------------------------------------

static void emit_place(struct emitter *e, const struct vmmap_row *row, uint64_t address)
{
	emit_object(e, "address");
	emit_address(e, "address", address, "0x%" PRIx64);
	emit_bool(e, "mapped", row != NULL, NULL);
	if (row) {
		emit_address(e, "start", row->start, " is in 0x%" PRIx64);
		emit_address(e, "end", row->end, "-0x%" PRIx64 ";");
		emit_u64(e, "bytes_after_start", address - row->start,
		         "  bytes after start: %" PRIu64);
		emit_u64(e, "bytes_before_end", row->end - address - 1,
		         "  bytes before end: %" PRIu64 "\n");
	} else {
		emit_text(e, " is not in any region\n");
	}
	emit_object_end(e);
}

// The region that holds the address, and its neighbours; without one the two around the gap.
static void emit_around(struct emitter *e, const struct vmmap_view *view)
{
	uint64_t address = view->settings->address;
	const struct vmmap_rows *rows = &view->rows;
	size_t at = 0, first, last;
	bool inside;

	while (at < rows->n && rows->v[at].end <= address)
		at++;
	inside = at < rows->n && rows->v[at].start <= address;
	emit_place(e, inside ? &rows->v[at] : NULL, address);
	first = at ? at - 1 : 0;
	last = inside ? at + 2 : at + 1;
	emit_text(e, "      ");
	vmmap_emit_heading(e, view);
	emit_array(e, "regions");
	for (size_t i = first; i < last && i < rows->n; i++) {
		if (i == at && !inside)
			emit_text(e, "--->  (nothing is mapped here)\n");
		vmmap_emit_row(e, view, &rows->v[i], NULL, i == at && inside ? "--->  " : "      ");
	}
	if (!inside && at == rows->n)
		emit_text(e, "--->  (nothing is mapped here)\n");
	emit_array_end(e);
}

// ------------------------------------------------------------------------------------------------

static void emit_all(struct emitter *e, const struct vmmap_view *view)
{
	emit_title(e, view);
	if (view->settings->has_address) {
		emit_around(e, view);
		return;
	}
	if (!view->settings->summary) {
		emit_list(e, view);
		emit_legend(e, view);
	}
	if (view->settings->submap)
		vmmap_emit_submaps(e, view);
	if (view->settings->all_split_libs)
		vmmap_emit_unused_libraries(e, view);
	vmmap_emit_summary(e, view);
	vmmap_emit_tables(e, view);
}

static struct error *report_once(const char *target, const struct vmmap_settings *settings,
                                 int *ret_exit)
{
	struct target_options options = report_target_options(
		&settings->common,
		TARGET_WANT_MEMORY | TARGET_WANT_PAGES |
			(settings->common.output_graph ? TARGET_WANT_KERNEL_ROOTS : 0));
	struct error *error = NULL;
	struct vmmap_view view = { .settings = settings };
	struct emitter *e;
	struct error *unwritten;
	struct look look;

	TRY(look_open(target, &options, settings->common.output_graph ? LOOK_GRAPH : LOOK_REGIONS,
	              &look));
	if (settings->common.output_graph)
		error = report_snapshot(&look, &settings->common);
	view.look = &look;
	view.page_bytes = target_page_bytes(look.target);
	view.rows = vmmap_rows_make(&look, !settings->no_coalesce, settings->attributes);
	e = emit_begin(settings->common.out, settings->common.json ? EMIT_JSON : EMIT_TEXT);
	report_header(e, &look, &settings->common);
	emit_all(e, &view);
	unwritten = emit_end(e);
	*ret_exit = look.target->complete ? EXIT_FINE : EXIT_PARTLY;
	look_close(&look);
	return error ? error : unwritten;
}

struct error *report_vmmap(const char *target, const struct vmmap_settings *settings, int *ret_exit)
{
	struct vmmap_settings all = *settings;

	if (all.common.verbose)
		all.wide = all.submap = all.all_split_libs = all.no_coalesce = true;
	*ret_exit = EXIT_FINE;
	return all.has_interval ? vmmap_diff(target, &all) : report_once(target, &all, ret_exit);
}
