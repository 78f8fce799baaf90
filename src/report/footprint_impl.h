// SPDX-License-Identifier: MIT
// What the files of footprint's report share. Nobody else includes it.
#pragma once

#include "accounts/accounts.h"
#include "base/vec.h"
#include "report/report.h"

typedef VEC(struct account) account_vec;

// The processes that were asked about, and what was found.
struct footprint_view {
	const struct footprint_settings *settings;
	struct accounts *accounts;
	struct footprints *reader;
	struct arena arena;
	account_vec chosen; // footprint_choose.c
	VEC(struct footprint) found;
	struct footprint total;   // shares of all, by category
	struct segments segments; // with --unmapped
	VEC(const char *) warnings;
	bool partly;
};

// --- footprint_choose.c: which processes ---------------------------------------------------------
struct error *footprint_choose(struct footprint_view *view, const struct option_list *names);

// --- footprint_table.c: tables, sizes and their columns -------------------------------------------
#define FOOTPRINT_SIZE_BYTES 32

enum footprint_column {
	COLUMN_DIRTY,
	COLUMN_SWAPPED,
	COLUMN_WIRED,
	COLUMN_CLEAN,
	COLUMN_RECLAIMABLE,
	COLUMN_REGIONS,
	COLUMN_CATEGORY, // only to sort by
	COLUMN_COUNT,
};

struct error *footprint_check_words(const struct footprint_settings *settings);
char *footprint_size(const struct footprint_view *view, uint64_t bytes,
                     char buffer[FOOTPRINT_SIZE_BYTES]);
// The members of counts, for the object that is open.
void footprint_emit_counts(struct emitter *e, const struct footprint_counts *counts);
// The table of a process or of all (shares), sorted in place; the array "categories".
void footprint_emit_table(struct emitter *e, const struct footprint_view *view,
                          struct footprint *footprint, bool shares);
void footprint_emit_regions(struct emitter *e, struct footprint_view *view,
                            const struct footprint *footprint);
uint64_t footprint_column_value(const struct footprint_counts *counts,
                                enum footprint_column column);
enum footprint_column footprint_sort_column(const struct footprint_settings *settings);

// --- footprint_unmapped.c: what a process keeps without mapping it --------------------------------
void footprint_emit_unmapped(struct emitter *e, struct footprint_view *view, int pid);

// --- footprint_sample.c: again and again ---------------------------------------------------------
struct error *footprint_samples(struct footprint_view *view);

// --- wired.c: the kernel's part of the machine ---------------------------------------------------
struct error *footprint_system(struct footprint_view *view, struct emitter *e);
void footprint_costs(struct emitter *e);
