// SPDX-License-Identifier: MIT
// What processes cost the machine: a table for each, one for all of them, and the kernel's part. Never
// stops a process. Called by tools/footprint.c.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/footprint_impl.h"

static const char rule[] = "======================================================================";

static const char *const sharing_words[] = {
	[FOOTPRINT_SHARE_ALL] = "all",
	[FOOTPRINT_SHARE_ONCE] = "once",
	[FOOTPRINT_SHARE_PROPORTIONAL] = "proportional",
};

static const char *const sharing_sentences[] = {
	[FOOTPRINT_SHARE_ONCE] = "Shared pages are counted once, by their page frames.",
	[FOOTPRINT_SHARE_PROPORTIONAL] =
		"Shared pages are divided by the number of processes that map them (Pss).",
};

// --- gathering -----------------------------------------------------------------------------------
static unsigned what_to_read(const struct footprint_settings *settings)
{
	return (settings->no_categories ? 0 : FOOTPRINT_CATEGORIES) |
	       (settings->regions ? FOOTPRINT_REGIONS : 0) |
	       (settings->wired ? FOOTPRINT_KERNEL : 0);
}

static struct footprint_category *total_category(struct footprint_view *view, const char *name)
{
	struct footprint *total = &view->total;

	for (size_t i = 0; i < total->category_count; i++)
		if (!strcmp(total->categories[i].name, name))
			return &total->categories[i];
	total->categories[total->category_count].name = name;
	return &total->categories[total->category_count++];
}

// Names that programs chose are one row here; so the rows are few.
static void add_to_total(struct footprint_view *view, const struct footprint *one)
{
	for (size_t i = 0; i < one->category_count; i++) {
		const struct footprint_category *from = &one->categories[i];
		bool named = text_starts_with(from->name, "[anon");

		footprint_counts_add(&total_category(view, named ? "[anon]" : from->name)->share,
		                     &from->share);
	}
	footprint_counts_add(&view->total.total.share, &one->total.share);
}

static int compare_footprints(const void *a, const void *b, void *context)
{
	const struct footprint *x = a, *y = b;
	enum footprint_column column = *(enum footprint_column *)context;
	uint64_t p = footprint_column_value(&x->total.counts, column);
	uint64_t q = footprint_column_value(&y->total.counts, column);

	if (p != q)
		return (p < q) - (p > q);
	return x->account.process.pid - y->account.process.pid;
}

static void warn_refused(struct footprint_view *view, const struct footprint *one)
{
	if (!one->refused)
		return;
	view->partly = true;
	vec_push(&view->warnings,
	         arena_format(&view->arena, "%s [%d]: %s",
	                      text_printable(&view->arena, one->account.process.name),
	                      one->account.process.pid, one->refused));
}

static struct error *gather(struct footprint_view *view)
{
	enum footprint_column column = footprint_sort_column(view->settings);

	view->total.categories = arena_array(&view->arena, 256, sizeof(*view->total.categories));
	for (size_t i = 0; i < view->chosen.n; i++) {
		struct footprint one;
		struct error *error = footprints_read(view->reader, &view->arena,
		                                      view->chosen.v[i].process.pid, &one);

		// Processes come and go; one that was asked for alone must be there.
		if (error && error->kind == ERROR_GONE && view->chosen.n > 1)
			continue;
		if (error)
			return error;
		vec_push(&view->found, one);
		add_to_total(view, &one);
		warn_refused(view, &one);
	}
	if (column == COLUMN_CATEGORY)
		column = COLUMN_DIRTY;
	if (view->found.n)
		qsort_r(view->found.v, view->found.n, sizeof(*view->found.v), compare_footprints,
		        &column);
	return NULL;
}

// --- one process ---------------------------------------------------------------------------------
static void emit_auxiliary(struct emitter *e, struct footprint_view *view, const char *key,
                           const char *name, uint64_t bytes, const char *note)
{
	char size[FOOTPRINT_SIZE_BYTES];

	emit_text(e, "    %s: %s%s\n", name, footprint_size(view, bytes, size), note);
	emit_u64(e, key, bytes, NULL);
}

static void emit_cgroup(struct emitter *e, struct footprint_view *view,
                        const struct footprint_kernel *kernel)
{
	uint64_t others = kernel->cgroup_process_count ? kernel->cgroup_process_count : 1;
	char size[FOOTPRINT_SIZE_BYTES], share[FOOTPRINT_SIZE_BYTES];

	emit_object(e, "cgroup");
	emit_string(e, "path", text_printable(&view->arena, kernel->cgroup), NULL);
	emit_known_u64(e, "slab_bytes", kernel->has_cgroup_bytes, kernel->cgroup_slab_bytes, NULL);
	emit_u64(e, "process_count", kernel->cgroup_process_count, NULL);
	if (kernel->has_cgroup_bytes)
		emit_text(e,
		          "    kernel_slab: about %s (%s of its control group, by its %" PRIu64
		          " processes)\n",
		          footprint_size(view, kernel->cgroup_slab_bytes / others, share),
		          footprint_size(view, kernel->cgroup_slab_bytes, size), others);
	emit_object_end(e);
}

// What --wired asks about besides its column.
static void emit_kernel(struct emitter *e, struct footprint_view *view,
                        const struct footprint_kernel *kernel)
{
	bool known = kernel->has_descriptors;

	emit_known_u64(e, "descriptor_count", known, kernel->descriptor_count,
	               "    descriptors: %" PRIu64);
	emit_known_u64(e, "socket_count", known, kernel->socket_count, " (%" PRIu64 " sockets, ");
	emit_known_u64(e, "pipe_count", known, kernel->pipe_count, "%" PRIu64 " ends of pipes)\n");
	if (kernel->cgroup)
		emit_cgroup(e, view, kernel);
}

static void emit_auxiliaries(struct emitter *e, struct footprint_view *view,
                             const struct footprint *one)
{
	const struct footprint_kernel *kernel = &one->kernel;

	emit_text(e, "\nAuxiliary data:\n");
	emit_auxiliary(e, view, "footprint_bytes", "phys_footprint", one->account.footprint_bytes,
	               "");
	emit_auxiliary(e, view, "footprint_peak_bytes", "phys_footprint_peak",
	               one->resident_peak_bytes, " (of all resident memory)");
	emit_auxiliary(e, view, "page_table_bytes", "kernel_page_tables", kernel->page_table_bytes,
	               "");
	emit_auxiliary(e, view, "kernel_stack_bytes", "kernel_stacks", kernel->stack_bytes, "");
	if (kernel->pinned_bytes)
		emit_auxiliary(e, view, "pinned_bytes", "pinned", kernel->pinned_bytes, "");
	if (view->settings->wired)
		emit_kernel(e, view, kernel);
	if (view->settings->unmapped)
		footprint_emit_unmapped(e, view, one->account.process.pid);
}

static void emit_process(struct emitter *e, struct footprint_view *view, struct footprint *one)
{
	const struct os_account *process = &one->account.process;
	char size[FOOTPRINT_SIZE_BYTES];

	emit_object(e, NULL);
	emit_text(e, "%s\n", rule);
	emit_string(e, "name", text_printable(&view->arena, process->name), "%s");
	emit_u64(e, "pid", (uint64_t)process->pid, " [%" PRIu64 "]: ");
	emit_u64(e, "parent_pid", (uint64_t)process->parent_pid, NULL);
	emit_known_u64(e, "word_bits", one->word_bytes, one->word_bytes * 8, "%" PRIu64 "-bit    ");
	emit_text(e, "Footprint: %s (%zu bytes per page)\n%s\n",
	          footprint_size(view, one->total.counts.dirty_bytes, size), os_page_bytes(), rule);
	emit_string(e, "refused", one->refused, "(%s)\n");
	emit_text(e, "\n");
	footprint_emit_table(e, view, one, false);
	emit_object(e, "total");
	footprint_emit_counts(e, &one->total.counts);
	emit_object_end(e);
	if (view->settings->regions)
		footprint_emit_regions(e, view, one);
	emit_auxiliaries(e, view, one);
	emit_text(e, "\n");
	emit_object_end(e);
}

// --- all of them ---------------------------------------------------------------------------------
static void emit_total(struct emitter *e, struct footprint_view *view)
{
	enum footprint_sharing sharing = footprints_sharing(view->reader);
	bool several = sharing != FOOTPRINT_SHARE_ALL;
	char size[FOOTPRINT_SIZE_BYTES];

	emit_string(e, "sharing", sharing_words[sharing], NULL);
	emit_object(e, "total");
	footprint_emit_counts(e, &view->total.total.share);
	if (several) {
		emit_text(e, "%s\nAll %zu processes    Footprint: %s (%zu bytes per page)\n%s\n",
		          rule, view->found.n,
		          footprint_size(view, view->total.total.share.dirty_bytes, size),
		          os_page_bytes(), rule);
		emit_text(e, "%s\n\n", sharing_sentences[sharing]);
		footprint_emit_table(e, view, &view->total, true);
		emit_text(e, "\n");
	}
	emit_object_end(e);
}

static void emit_warnings(struct emitter *e, const struct footprint_view *view)
{
	emit_array(e, "warnings");
	for (size_t i = 0; i < view->warnings.n; i++)
		emit_string(e, NULL, view->warnings.v[i], NULL);
	emit_array_end(e);
	if (view->warnings.n > 1)
		emit_text(e, "Of %zu processes not everything could be read.\n", view->warnings.n);
}

static struct error *emit_document(struct footprint_view *view, FILE *out, bool json)
{
	struct emitter *e = emit_begin(out, json ? EMIT_JSON : EMIT_TEXT);

	emit_string(e, "tool", view->settings->common.tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	emit_u64(e, "page_bytes", os_page_bytes(), NULL);
	emit_array(e, "processes");
	for (size_t i = 0; i < view->found.n; i++)
		emit_process(e, view, &view->found.v[i]);
	emit_array_end(e);
	emit_total(e, view);
	emit_warnings(e, view);
	return emit_end(e);
}

// The file appears in one step, in the place of one that was there.
static struct error *write_json_file(struct footprint_view *view)
{
	const char *path = view->settings->json_file;
	const char *unfinished = arena_format(&view->arena, "%s.%d.part", path, os_own_pid());
	struct error *error;
	FILE *file;

	TRY(os_check_replaceable(path));
	TRY(os_create_private(unfinished, &file));
	error = emit_document(view, file, true);
	if (error)
		error = error_system(error->errno_value, "cannot write %s", path);
	if (fclose(file) && !error)
		error = error_system(errno, "cannot write %s", path);
	if (!error && rename(unfinished, path))
		error = error_system(errno, "cannot write %s", path);
	if (error)
		remove(unfinished);
	return error;
}

// --- the kernel, instead of processes ------------------------------------------------------------
static struct error *show_kernel(struct footprint_view *view)
{
	const struct footprint_settings *settings = view->settings;
	struct emitter *e =
		emit_begin(settings->common.out, settings->common.json ? EMIT_JSON : EMIT_TEXT);
	struct error *error = NULL, *unwritten;

	emit_string(e, "tool", settings->common.tool, NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	if (settings->system)
		error = footprint_system(view, e);
	if (settings->system && settings->wired_costs)
		emit_text(e, "\n");
	if (settings->wired_costs)
		footprint_costs(e);
	unwritten = emit_end(e);
	return error ? error : unwritten;
}

// --- the flow ------------------------------------------------------------------------------------
static struct error *show(struct footprint_view *view, const struct option_list *names)
{
	const struct footprint_settings *settings = view->settings;

	TRY(footprint_choose(view, names));
	if (settings->has_sample)
		return footprint_samples(view);
	view->reader = footprints_open(view->accounts, what_to_read(settings), view->chosen.n > 1);
	TRY(gather(view));
	if (settings->unmapped)
		TRY(segments_read(view->accounts, &view->arena, &view->segments));
	TRY(emit_document(view, settings->common.out, settings->common.json));
	return settings->json_file ? write_json_file(view) : NULL;
}

struct error *report_footprint(const struct option_list *names,
                               const struct footprint_settings *settings, int *ret_exit)
{
	struct footprint_view view = { .settings = settings, .total.total.name = "TOTAL" };
	struct error *error;

	TRY(footprint_check_words(settings));
	TRY(accounts_open(&view.accounts));
	arena_init(&view.arena, &os_page_source);
	vec_init(&view.chosen, &os_page_source);
	vec_init(&view.found, &os_page_source);
	vec_init(&view.warnings, &os_page_source);
	error = settings->system || settings->wired_costs ? show_kernel(&view) : show(&view, names);
	*ret_exit = view.partly ? EXIT_PARTLY : EXIT_FINE;
	if (view.reader)
		footprints_close(view.reader);
	accounts_close(view.accounts);
	vec_deinit(&view.chosen);
	vec_deinit(&view.found);
	vec_deinit(&view.warnings);
	arena_deinit(&view.arena);
	return error;
}
