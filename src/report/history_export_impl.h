// SPDX-License-Identifier: MIT
// What the exports of a recording share. Each writes one form of file that another program reads.
#pragma once

#include "report/history_impl.h"

// Strings and their numbers, from 1 in order of appearance.
struct export_strings {
	VEC(const char *) v;
	uint32_t *index;
	size_t index_count;
};

void export_strings_init(struct export_strings *strings);
void export_strings_deinit(struct export_strings *strings);
// The number of a string, which must live on. *ret_new: it was not there before.
uint32_t export_string(struct export_strings *strings, const char *text, bool *ret_new);

// "function" or, unknown, "0x1234 (image)", in arena.
const char *export_function(struct arena *arena, const struct history_frame *frame);

// Each writes to out what the view asks for.
struct error *export_folded(struct history_view *view, FILE *out);
struct error *export_csv(struct history_view *view, FILE *out);
struct error *export_speedscope(struct history_view *view, FILE *out);
struct error *export_perfetto(struct history_view *view, FILE *out);
struct error *export_pprof(struct history_view *view, FILE *out);
struct error *export_heaptrack(struct history_view *view, FILE *out);
