// SPDX-License-Identifier: MIT
// Stacks, times and calls as malloc_history prints them.
#include <inttypes.h>

#include "os/os.h"
#include "report/frames.h"
#include "report/history_impl.h"

const char *history_time_text(struct arena *arena, uint64_t ns)
{
	return arena_format(arena, "+%" PRIu64 ".%06us", ns / 1000000000,
	                    (unsigned)(ns / 1000 % 1000000));
}

const char *history_call_name(uint8_t kind)
{
	static const char *const names[] = {
		[RECORD_NONE] = "before the recording",
		[RECORD_MALLOC] = "malloc",
		[RECORD_CALLOC] = "calloc",
		[RECORD_ALIGNED] = "aligned_alloc",
		[RECORD_REALLOC] = "realloc",
		[RECORD_FREE] = "free",
		[RECORD_REALLOC_FREE] = "realloc",
		[RECORD_MAP] = "mmap",
		[RECORD_UNMAP] = "munmap",
		[RECORD_REMAP_FREE] = "mremap",
	};
	const char *name = kind < sizeof(names) / sizeof(names[0]) ? names[kind] : NULL;

	return name ? name : "unknown";
}

static void print_frame(struct emitter *e, const struct history_frame *frame, size_t number,
                        bool full)
{
	if (full) {
		emit_text(e, frame->truncated ? "\n    ...\n" : "\n");
		frame_print_long(e, frame, number, true);
		return;
	}
	if (frame->truncated)
		emit_text(e, "... | ");
	frame_print_short(e, frame, true);
	if (number)
		emit_text(e, " | ");
}

void history_print_stack(struct emitter *e, struct history_view *view, uint32_t node,
                         uint32_t thread)
{
	const struct log_thread *owner = history_thread(view->history, thread);
	const struct history_frame *const *frames;
	struct arena arena;
	size_t count;

	arena_init(&arena, &os_page_source);
	history_stack(view->history, node, &arena, &frames, &count);
	if (owner)
		emit_text(e, "thread_%x | ", (unsigned)owner->id);
	emit_array(e, "stack");
	for (size_t i = count; i-- > 0;) {
		emit_object(e, NULL);
		frame_emit(e, frames[i]);
		emit_object_end(e);
		if (emit_is_text(e))
			print_frame(e, frames[i], i, view->settings->full_stacks);
	}
	emit_array_end(e);
	if (!count)
		emit_text(e, "(no stack)");
	emit_text(e, "\n");
	arena_deinit(&arena);
}
