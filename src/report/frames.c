// SPDX-License-Identifier: MIT
// Frames of stacks in text and JSON, and the name of a block by who allocated it (frames.h).
#include "report/frames.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"

const char *frame_image(const struct history_frame *frame)
{
	return frame->module ? frame->module->name : "???";
}

void frame_emit(struct emitter *e, const struct history_frame *frame)
{
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
}

void frame_print_place(struct emitter *e, const struct history_frame *frame, bool sources)
{
	if (sources && frame->file)
		emit_text(e, "  %s:%u", text_base_name(frame->file), frame->line);
	if (frame->inlined)
		emit_text(e, " [inlined]");
}

void frame_print_long(struct emitter *e, const struct history_frame *frame, size_t number,
                      bool sources)
{
	emit_text(e, "%-3zu %-38s 0x%" PRIx64 " ", number, frame_image(frame), frame->address);
	if (frame->function)
		emit_text(e, "%s + %" PRIu64, frame->function, frame->offset);
	else if (frame->module)
		emit_text(e, "0x%" PRIx64 " + %" PRIu64, frame->module->start, frame->offset);
	else
		emit_text(e, "???");
	frame_print_place(e, frame, sources);
}

void frame_print_short(struct emitter *e, const struct history_frame *frame, bool sources)
{
	emit_text(e, "0x%" PRIx64 " (%s) %s", frame->address, frame_image(frame),
	          frame->function ? frame->function : "???");
	if (sources && frame->file)
		emit_text(e, " %s:%u", text_base_name(frame->file), frame->line);
}

// Functions that allocate for their caller by their nature.
static bool is_allocator(const struct history_frame *frame)
{
	static const char *const functions[] = {
		"operator new*",    "*malloc",   "*calloc",       "*realloc",
		"*reallocarray",    "strdup",    "__strdup",      "*strndup",
		"*memalign",        "*valloc",   "aligned_alloc", "*__new_allocator<*",
		"*new_allocator<*", "g_malloc*", "g_realloc*",    "xmalloc*",
	};

	if (frame->module && (strstr(frame->module->name, "libheapwright") ||
	                      strstr(frame->module->name, "libgmalloc")))
		return true;
	for (size_t i = 0; frame->function && i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!fnmatch(functions[i], frame->function, 0))
			return true;
	return false;
}

// What was inlined depends on the compiler's options: only functions that were called count.
const char *frame_caller(const struct history_frame *const *frames, size_t count,
                         struct arena *arena)
{
	const struct history_frame *caller = NULL;

	for (size_t i = 0; i < count; i++) {
		if (frames[i]->inlined)
			continue;
		if (!is_allocator(frames[i])) {
			caller = frames[i];
			break;
		}
		caller = caller ? caller : frames[i];
	}
	if (!caller)
		return NULL;
	if (caller->function)
		return caller->function;
	if (caller->module)
		return arena_format(arena, "%s+0x%" PRIx64, caller->module->name, caller->offset);
	return arena_format(arena, "0x%" PRIx64, caller->address);
}
