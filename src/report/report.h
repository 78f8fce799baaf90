// SPDX-License-Identifier: MIT
// report: builds one document per question and emits it as text or JSON from the
// same calls. Each file of a tool's report has the tool's name.
//
//   emit.c      text and JSON from the same calls
//   header.c    the header that all tools share, warnings, faults of the heap
//   look.c      opens what a question needs, in order
//   leaks*.c    leaks
//   heap.c      heap
//   vmmap*.c    vmmap
//   snapshot.c  writes a snapshot file
//   suppress.c  suppression files and -exclude
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/options.h"
#include "graph/graph.h"
#include "heaps/heaps.h"
#include "regions/regions.h"
#include "report/emit.h"
#include "symbols/symbols.h"
#include "target/target.h"
#include "types/types.h"

// Exit codes, the same in all tools.
enum {
	EXIT_FINE = 0,
	EXIT_FOUND = 1,  // found what it looks for
	EXIT_PARTLY = 2, // could not (fully) look
	EXIT_WRONG_USE = 64,
};

// Everything that was opened for one look at one target. Filled from the top down as far as asked.
struct look {
	struct target *target;
	struct symbols *symbols;
	struct heaps *heaps;
	struct regions *regions;
	struct graph *graph;
	struct types *types;
	struct arena *arena; // for the report's own texts
};

enum look_depth {
	LOOK_TARGET,
	LOOK_REGIONS, // target, symbols, heaps, regions
	LOOK_TYPES,   // and types
	LOOK_GRAPH,   // and graph
};

// Opens a target as deep as asked. A stop in the middle of malloc (heaps.in_malloc with faults) is retried
// a few times for live targets. Everything is given back by look_close.
struct error *look_open(const char *what, const struct target_options *options,
                        enum look_depth depth, struct look *ret);
void look_close(struct look *look);

// What every tool's settings share.
struct report_options {
	enum emit_format format;
	bool verbose;
	bool quiet;       // no header
	const char *tool; // "leaks"
	FILE *out;
};

// The header in text and the "target" object in JSON, warnings, unknown allocators and heap faults.
void report_header(struct emitter *e, const struct look *look,
                   const struct report_options *options);

// The list of images at the end ("Binary Images:").
void report_images(struct emitter *e, const struct look *look);

// EXIT_PARTLY when something of the target could not be read or trusted, else EXIT_FINE.
int report_completeness(const struct look *look);
