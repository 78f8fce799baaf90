// SPDX-License-Identifier: MIT
// malloc_history -allEvents: everything that was recorded, in order, as it passes.
#include <inttypes.h>

#include "base/text.h"
#include "os/os.h"
#include "report/history_impl.h"

struct printing {
	struct emitter *e;
	struct history_view *view;
	struct arena arena; // of one event
};

static const char *word_of(uint8_t kind)
{
	if (history_is_allocation(kind))
		return "ALLOC";
	if (history_is_free(kind))
		return "FREE";
	if (kind == RECORD_MAP)
		return "VM_ALLOC";
	if (history_is_mapping(kind))
		return "VM_FREE";
	return kind == RECORD_MARK ? "MARK" : kind == RECORD_GAP ? "GAP" : NULL;
}

static bool is_wanted(const struct history_view *view, const struct log_event *event)
{
	const struct history_settings *s = view->settings;
	const struct log_thread *thread = history_thread(view->history, event->thread);
	bool has_size = history_is_allocation(event->kind) || event->kind == RECORD_MAP;

	if (history_is_mapping(event->kind) && !s->virtual_memory)
		return false;
	if (s->has_thread && (!thread || (uint64_t)thread->id != s->thread))
		return false;
	if (has_size &&
	    (event->bytes < s->least_bytes || (s->most_bytes && event->bytes > s->most_bytes)))
		return false;
	return word_of(event->kind);
}

static void print_range(struct emitter *e, const struct log_event *event)
{
	if (event->kind == RECORD_GAP) {
		emit_u64(e, "lost_events", event->bytes, " %" PRIu64 " events lost");
		return;
	}
	if (event->kind == RECORD_MARK)
		return;
	emit_address(e, "start", event->address, " 0x%" PRIx64);
	if (!event->bytes)
		return;
	emit_address(e, "end", event->address + event->bytes - 1, "-0x%" PRIx64);
	emit_u64(e, "size_bytes", event->bytes, " [size=%" PRIu64 "]");
}

static bool print_event(void *context, uint64_t number, const struct log_event *event)
{
	struct printing *printing = context;
	struct history_view view = *printing->view;
	struct emitter *e = printing->e;
	const struct log_thread *thread = history_thread(view.history, event->thread);

	if (!is_wanted(&view, event))
		return true;
	arena_init(&printing->arena, &os_page_source);
	view.arena = &printing->arena;
	emit_object(e, NULL);
	emit_string(e, "what", word_of(event->kind), "%s");
	print_range(e, event);
	emit_string(e, "call", history_call_name(event->kind), NULL);
	emit_u64(e, "event", number, NULL);
	emit_u64(e, "time_ns", event->time_ns, NULL);
	if (view.settings->common.verbose)
		emit_text(e, " [%s]", history_time_text(view.arena, event->time_ns));
	if (thread)
		emit_u64(e, "thread", (uint64_t)thread->id, NULL);
	emit_text(e, ": ");
	history_print_stack(e, &view, event->node, event->thread);
	emit_object_end(e);
	arena_deinit(&printing->arena);
	return true;
}

struct error *history_print_events(struct emitter *e, struct history_view *view)
{
	struct printing printing = { .e = e, .view = view };
	struct error *error;

	emit_array(e, "events");
	error = history_each_event(view->history, view->first, view->last, print_event, &printing);
	emit_array_end(e);
	return error;
}
