// SPDX-License-Identifier: MIT
// A named frame of a stack, as every report shows it: those of malloc_history and diff, and of leaks,
// heap and vmmap.
#pragma once

#include "history/history.h"
#include "report/emit.h"

// The base name of its module, or "???".
const char *frame_image(const struct history_frame *frame);

// Its members, into an object that is open.
void frame_emit(struct emitter *e, const struct history_frame *frame);

// "  file.c:12 [inlined]", as far as it is known and wanted.
void frame_print_place(struct emitter *e, const struct history_frame *frame, bool sources);

// In a list of frames: "3   libc.so.6    0x7f... malloc + 20  malloc.c:12", numbers going down to 0, the
// innermost; and in a line: "0x7f... (libc.so.6) malloc malloc.c:12".
void frame_print_long(struct emitter *e, const struct history_frame *frame, size_t number,
                      bool sources);
void frame_print_short(struct emitter *e, const struct history_frame *frame, bool sources);

// The function that called malloc, past operator new and its like, of a stack's frames, the innermost
// first; one without a name by its module ("lib.so+0x12"). In arena; NULL when there are no frames.
const char *frame_caller(const struct history_frame *const *frames, size_t count,
                         struct arena *arena);
