// SPDX-License-Identifier: MIT
// Shared by the files of the pagestuff report only.
#pragma once

#include "image/image.h"
#include "report/report.h"

struct pagestuff_totals {
	uint64_t pages, bytes, cached_pages, mapped_pages, private_pages, relocated_pages;
	uint64_t relocations, padding_bytes, unnamed_bytes, symbols, mixed_pages, cold_bytes;
	uint64_t mapped_cold_bytes; // on pages that the process has mapped
};

struct pagestuff_view {
	const struct image *image;
	const struct pagestuff_settings *settings;
	struct arena *arena; // for texts of one page or section; emptied now and then
	struct pagestuff_totals totals;
};

// --- pagestuff_names.c: words for numbers of the ELF header; NULL or a number in hexadecimal when there
// is none.
const char *pagestuff_machine(uint16_t machine);
const char *pagestuff_type(const struct image *image);
const char *pagestuff_segment_type(struct arena *arena, uint32_t type);
const char *pagestuff_section_type(struct arena *arena, uint32_t type);
const char *pagestuff_protection(uint32_t flags); // "r-x"
// Of a section: W writable, A loaded, X executable, T thread-local.
const char *pagestuff_section_flags(struct arena *arena, uint64_t flags);

// --- pagestuff_tables.c
void pagestuff_emit_segments(struct emitter *e, struct pagestuff_view *view);
void pagestuff_emit_sections(struct emitter *e, struct pagestuff_view *view);
void pagestuff_emit_totals(struct emitter *e, const struct pagestuff_view *view);

// --- pagestuff_page.c
void pagestuff_emit_page(struct emitter *e, struct pagestuff_view *view,
                         const struct image_page *page);
// The sections that have no bytes in the file, with their symbols.
void pagestuff_emit_elsewhere(struct emitter *e, struct pagestuff_view *view);
// A printable copy of a name, which lives until the arena is emptied.
const char *pagestuff_name(struct pagestuff_view *view, const char *name);
