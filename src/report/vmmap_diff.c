// SPDX-License-Identifier: MIT
// vmmap -d SECONDS: two looks at the regions, and three lists of what differs between them. The
// target is not stopped for them: only what the kernel tells about its mappings is read.
#include <string.h>

#include "os/os.h"
#include "report/vmmap_impl.h"

// A pair of rows with a difference, or a row that has no partner.
struct difference {
	const struct vmmap_row *before, *after;
};

struct differences {
	struct vmmap_view before, after;
	VEC(struct difference) list;
};

static struct error *look_at_mappings(const char *target, const struct vmmap_settings *settings,
                                      struct look *ret)
{
	struct target_options options = report_target_options(&settings->common, TARGET_WANT_PAGES);

	return look_open(target, &options, LOOK_MAPPINGS, ret);
}

static void fill_view(struct vmmap_view *view, struct look *look,
                      const struct vmmap_settings *settings)
{
	view->look = look;
	view->settings = settings;
	view->page_bytes = target_page_bytes(look->target);
	view->rows = vmmap_rows_make(look, false, true);
}

static bool differ(const struct vmmap_row *a, const struct vmmap_row *b)
{
	const struct target_segment *x = a->region->segment, *y = b->region->segment;

	return a->start != b->start || a->end != b->end || strcmp(a->type, b->type) != 0 ||
	       strcmp(a->detail, b->detail) != 0 || a->sharing != b->sharing ||
	       x->protection != y->protection || x->max_protection != y->max_protection ||
	       a->pages.resident != b->pages.resident || a->pages.swapped != b->pages.swapped ||
	       a->pages.anonymous != b->pages.anonymous || a->pages.locked != b->pages.locked ||
	       vmmap_dirty_bytes(&a->pages) != vmmap_dirty_bytes(&b->pages);
}

// Heaps grow at their end, stacks at their start: one equal border makes it the same region.
static bool same_region(const struct vmmap_row *a, const struct vmmap_row *b)
{
	return a->start == b->start || a->end == b->end;
}

static void compare_rows(struct differences *all)
{
	const struct vmmap_rows *before = &all->before.rows, *after = &all->after.rows;
	size_t i = 0, k = 0;

	while (i < before->n || k < after->n) {
		const struct vmmap_row *a = i < before->n ? &before->v[i] : NULL;
		const struct vmmap_row *b = k < after->n ? &after->v[k] : NULL;

		if (a && b && same_region(a, b)) {
			if (differ(a, b))
				vec_push(&all->list, ((struct difference){ a, b }));
			i++;
			k++;
		} else if (a && (!b || a->start < b->start)) {
			vec_push(&all->list, ((struct difference){ a, NULL }));
			i++;
		} else {
			vec_push(&all->list, ((struct difference){ NULL, b }));
			k++;
		}
	}
}

static void emit_changed(struct emitter *e, const struct differences *all)
{
	emit_text(e, "==== Regions that changed\n");
	emit_array(e, "changed");
	for (size_t i = 0; i < all->list.n; i++) {
		const struct difference *one = &all->list.v[i];

		if (!one->before || !one->after)
			continue;
		emit_object(e, NULL);
		vmmap_emit_row(e, &all->before, one->before, "before", "< ");
		vmmap_emit_row(e, &all->after, one->after, "after", "> ");
		emit_object_end(e);
	}
	emit_array_end(e);
}

static void emit_only(struct emitter *e, const struct differences *all, bool first)
{
	emit_text(e, first ? "\n==== Regions in the first snapshot that are not in the second\n"
	                   : "\n==== Regions in the second snapshot that are not in the first\n");
	emit_array(e, first ? "only_in_first" : "only_in_second");
	for (size_t i = 0; i < all->list.n; i++) {
		const struct difference *one = &all->list.v[i];

		if (first && !one->after)
			vmmap_emit_row(e, &all->before, one->before, NULL, "< ");
		if (!first && !one->before)
			vmmap_emit_row(e, &all->after, one->after, NULL, "> ");
	}
	emit_array_end(e);
}

static struct error *emit_differences(struct differences *all)
{
	const struct report_options *common = &all->after.settings->common;
	struct emitter *e = emit_begin(common->out, common->json ? EMIT_JSON : EMIT_TEXT);

	report_header(e, all->after.look, common);
	emit_double(e, "interval_seconds", (double)all->after.settings->interval_ns / 1e9,
	            all->after.settings->interval_ns == 1000000000
	                    ? "Two snapshots, %g second apart\n\n"
	                    : "Two snapshots, %g seconds apart\n\n");
	emit_text(e, "  ");
	vmmap_emit_heading(e, &all->after);
	emit_changed(e, all);
	emit_only(e, all, true);
	emit_only(e, all, false);
	return emit_end(e);
}

struct error *vmmap_diff(const char *target, const struct vmmap_settings *settings)
{
	struct look first, second;
	struct differences all;
	struct error *error;

	TRY(look_at_mappings(target, settings, &first));
	os_sleep_ns(settings->interval_ns);
	error = look_at_mappings(target, settings, &second);
	if (error) {
		look_close(&first);
		return error;
	}
	fill_view(&all.before, &first, settings);
	fill_view(&all.after, &second, settings);
	vec_init(&all.list, &os_page_source);
	compare_rows(&all);
	error = emit_differences(&all);
	vec_deinit(&all.list);
	look_close(&first);
	look_close(&second);
	return error;
}
