// SPDX-License-Identifier: MIT
// Stacks, times and calls as malloc_history prints them.
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
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

static void print_frame_json(struct emitter *e, const struct history_frame *frame)
{
	emit_object(e, NULL);
	emit_address(e, "address", frame->address, NULL);
	emit_string(e, "image", frame->module ? frame->module->name : NULL, NULL);
	emit_string(e, "function", frame->function, NULL);
	emit_u64(e, "offset", frame->offset, NULL);
	emit_string(e, "file", frame->file, NULL);
	if (frame->file)
		emit_u64(e, "line", frame->line, NULL);
	if (frame->inlined)
		emit_bool(e, "inlined", true, NULL);
	if (frame->truncated)
		emit_bool(e, "truncated", true, NULL);
	emit_object_end(e);
}

static const char *image_of(const struct history_frame *frame)
{
	return frame->module ? frame->module->name : "???";
}

static void print_place(struct emitter *e, const struct history_frame *frame)
{
	if (frame->file)
		emit_text(e, "  %s:%u", text_base_name(frame->file), frame->line);
	if (frame->inlined)
		emit_text(e, " [inlined]");
}

static void print_frame_short(struct emitter *e, const struct history_frame *frame)
{
	if (frame->truncated)
		emit_text(e, "... | ");
	emit_text(e, "0x%" PRIx64 " (%s) %s", frame->address, image_of(frame),
	          frame->function ? frame->function : "???");
	if (frame->file)
		emit_text(e, " %s:%u", text_base_name(frame->file), frame->line);
}

// As leaks shows a stack: numbers go down to 0, the innermost frame.
static void print_frame_long(struct emitter *e, const struct history_frame *frame, size_t number)
{
	if (frame->truncated)
		emit_text(e, "\n    ...");
	emit_text(e, "\n%-4zu%-38s 0x%" PRIx64 " %s + %" PRIu64, number, image_of(frame),
	          frame->address, frame->function ? frame->function : "???", frame->offset);
	print_place(e, frame);
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
		print_frame_json(e, frames[i]);
		if (!emit_is_text(e))
			continue;
		if (view->settings->full_stacks)
			print_frame_long(e, frames[i], i);
		else
			print_frame_short(e, frames[i]);
		if (i && !view->settings->full_stacks)
			emit_text(e, " | ");
	}
	emit_array_end(e);
	if (!count)
		emit_text(e, "(no stack)");
	emit_text(e, "\n");
	arena_deinit(&arena);
}
