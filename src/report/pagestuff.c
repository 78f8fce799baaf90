// SPDX-License-Identifier: MIT
// The pagestuff report: what each page of an ELF file holds. Called by tools/pagestuff.c. Pages are told
// one after the other; nothing of a page is kept.
#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "report/pagestuff_impl.h"

#define MOST_PAGE_BYTES ((uint64_t)1 << 30)

// --- which pages ----------------------------------------------------------------------------------
// "5" or "5-9".
static struct error *parse_pages(const struct image *image, const char *text, struct os_range *ret)
{
	uint64_t count = image_page_count(image), first, last;
	char start[32];
	size_t n = strcspn(text, "-");

	snprintf(start, sizeof(start), "%.*s", (int)(n < sizeof(start) ? n : 0), text);
	if (text_parse_u64(start, &first) ||
	    (text[n] ? text_parse_u64(text + n + 1, &last) : (last = first, 0)) || last < first)
		return error_new(ERROR_USAGE, "'%s' is no page number (5) or range of them (5-9)",
		                 text);
	if (last >= count)
		return error_new(ERROR_USAGE,
		                 "there is no page %" PRIu64 ": %s has %" PRIu64 ", from 0 on",
		                 last, image->path, count);
	*ret = (struct os_range){ first, last + 1 };
	return NULL;
}

static struct error *choose_pages(const struct image *image, const struct option_list *pages,
                                  const struct pagestuff_settings *settings, struct os_ranges *ret)
{
	struct os_range range = { 0, image_page_count(image) };

	for (size_t i = 0; i < pages->n; i++) {
		TRY(parse_pages(image, pages->v[i], &range));
		vec_push(&ret->ranges, range);
	}
	if (pages->n)
		return NULL;
	if (settings->all || settings->summary)
		vec_push(&ret->ranges, range);
	else if (!settings->sections)
		image_code_pages(image, ret);
	return NULL;
}

// --- the document ---------------------------------------------------------------------------------
static void emit_target(struct emitter *e, struct pagestuff_view *view)
{
	const struct image *image = view->image;

	emit_string(e, "tool", "pagestuff", NULL);
	emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
	emit_object(e, "target");
	emit_string(e, "path", pagestuff_name(view, image->path), NULL);
	emit_string(e, "kind", pagestuff_type(image), NULL);
	emit_u64(e, "word_bytes", image->word_bytes, NULL);
	emit_string(e, "byte_order", image->big_endian ? "big" : "little", NULL);
	emit_u64(e, "machine", image->machine, NULL);
	emit_string(e, "cpu", pagestuff_machine(image->machine), NULL);
	emit_u64(e, "file_bytes", image->bytes, NULL);
	emit_u64(e, "page_bytes", image->page_bytes, NULL);
	emit_u64(e, "page_count", image_page_count(image), NULL);
	emit_u64(e, "symbol_count", image->symbols.n, NULL);
	emit_u64(e, "relocations_outside", image->outside_relocations, NULL);
	emit_bool(e, "embedded", image->embedded != NULL, NULL);
	emit_object_end(e);
}

static void emit_warnings(struct emitter *e, struct pagestuff_view *view)
{
	const struct image *image = view->image;

	emit_array(e, "warnings");
	for (size_t i = 0; i < image->faults.n; i++)
		emit_string(e, NULL, pagestuff_name(view, image->faults.v[i]), "Warning: %s\n");
	if (image->fault_count > image->faults.n)
		emit_string(e, NULL,
		            arena_format(view->arena, "and %" PRIu64 " more",
		                         image->fault_count - image->faults.n),
		            "Warning: %s\n");
	emit_array_end(e);
}

static void emit_kernel(struct emitter *e, struct pagestuff_view *view)
{
	const struct image *image = view->image;

	emit_object(e, "page_cache");
	emit_string(e, "how", image->cached.how, NULL);
	emit_string(e, "why_not", image->cached.known ? NULL : image->cached.why_not, NULL);
	emit_object_end(e);
	if (!image->cached.known && view->settings->common.verbose)
		emit_text(e, "Which pages are in the page cache is not known:\n  %s\n",
		          image->cached.why_not);
	if (!image->process.pid)
		return;
	emit_object(e, "process");
	emit_u64(e, "pid", (uint64_t)image->process.pid, NULL);
	emit_string(e, "name", pagestuff_name(view, image->process.name), NULL);
	emit_string(e, "how", image->process.mapped.how, NULL);
	emit_object_end(e);
}

static void emit_pages(struct emitter *e, struct pagestuff_view *view,
                       const struct os_ranges *ranges)
{
	struct image_page page;

	image_page_init(&page);
	if (!view->settings->summary)
		emit_array(e, "pages");
	for (size_t i = 0; i < ranges->ranges.n; i++)
		for (uint64_t number = ranges->ranges.v[i].start; number < ranges->ranges.v[i].end;
		     number++) {
			image_page_look(view->image, number, &page);
			pagestuff_emit_page(e, view, &page);
		}
	if (!view->settings->summary)
		emit_array_end(e);
	image_page_deinit(&page);
}

static struct error *emit_all(struct pagestuff_view *view, const struct option_list *pages,
                              const struct os_ranges *ranges)
{
	const struct pagestuff_settings *settings = view->settings;
	struct emitter *e =
		emit_begin(settings->common.out, settings->common.json ? EMIT_JSON : EMIT_TEXT);

	emit_target(e, view);
	emit_warnings(e, view);
	emit_kernel(e, view);
	pagestuff_emit_segments(e, view);
	pagestuff_emit_sections(e, view);
	if (!ranges->ranges.n && !settings->sections)
		emit_text(e, "No page of %s holds code; -a shows all pages.\n",
		          pagestuff_name(view, view->image->path));
	emit_pages(e, view, ranges);
	if ((settings->all || settings->summary) && !pages->n)
		pagestuff_emit_elsewhere(e, view);
	pagestuff_emit_totals(e, view);
	return emit_end(e);
}

static struct error *report_image(struct image *image, const struct option_list *pages,
                                  const struct pagestuff_settings *settings)
{
	struct arena arena;
	struct pagestuff_view view = { .image = image, .settings = settings, .arena = &arena };
	struct os_ranges ranges;
	struct error *error = NULL;

	arena_init(&arena, &os_page_source);
	vec_init(&ranges.ranges, &os_page_source);
	if (settings->has_pid)
		error = image_look_at_process(image, (int)settings->pid);
	if (!error)
		error = choose_pages(image, pages, settings, &ranges);
	if (!error)
		error = emit_all(&view, pages, &ranges);
	vec_deinit(&ranges.ranges);
	arena_deinit(&arena);
	return error;
}

// FILE may be left out with -pid: then it is the program of the process.
static struct error *open_image(const char *path, const struct pagestuff_settings *settings,
                                uint64_t page_bytes, struct image **ret)
{
	char program[64];
	struct error *error;

	if (path)
		return image_open(path, page_bytes, ret);
	snprintf(program, sizeof(program), "/proc/%d/exe", os_memory_tid((int)settings->pid));
	error = image_open(program, page_bytes, ret);
	if (error && error->kind == ERROR_RIGHTS)
		return image_rights_error((int)settings->pid);
	return error ? error_prefix(error, "the program of process %" PRIu64, settings->pid) : NULL;
}

struct error *report_pagestuff(const char *path, const struct option_list *pages,
                               const struct pagestuff_settings *settings, int *ret_exit)
{
	uint64_t page_bytes = settings->has_page_bytes ? settings->page_bytes : os_page_bytes();
	struct image *image;
	struct error *error;

	if (page_bytes < 512 || page_bytes > MOST_PAGE_BYTES || page_bytes & (page_bytes - 1))
		return error_new(ERROR_USAGE,
		                 "-page-size: pages are a power of two from 512 to 1G bytes");
	if (settings->has_pid && settings->pid > INT32_MAX)
		return error_new(ERROR_USAGE, "-pid: there is no process %" PRIu64, settings->pid);
	error = open_image(path, settings, page_bytes, &image);
	if (error)
		return error;
	error = report_image(image, pages, settings);
	*ret_exit = image->fault_count ? EXIT_PARTLY : EXIT_FINE;
	image_close(image);
	return error;
}
