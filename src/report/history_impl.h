// SPDX-License-Identifier: MIT
// What the files of malloc_history and diff share.
#pragma once

#include "history/history.h"
#include "report/report.h"
#include "report/stack_nodes.h"

// A recording that was opened for one answer.
struct recording {
	struct history *history;
	const char *source; // path of the log, or what was named
	int pid;            // of the process that is running now; 0: none
	uint64_t moment;    // what stands behind the @; HISTORY_END
	bool late;     // the collector did not answer: the newest events are not in the log yet
	bool has_look; // the live blocks are the target's own
	struct look look;
	bool is_snapshot; // that has the log
	bool has_nodes;
	struct stack_nodes nodes; // of these
	struct arena arena;
};

// TARGET or TARGET@MOMENT: a log, a process that is recorded, or anything whose heap has stacks (lite
// mode; a snapshot that kept them). To be closed also after an error.
struct error *recording_open(const char *what, struct recording *ret);
void recording_close(struct recording *recording);

// One answer.
struct history_view {
	const struct history_settings *settings;
	struct recording *recording;
	struct history *history;
	struct arena *arena;
	uint64_t first, last;             // the range that is asked about
	struct history_question question; // which blocks; where sums of blocks are asked
	bool partly;                      // something is missing that may change the answer
};

// history_header.c
void history_print_header(struct emitter *e, struct history_view *view, const char *heading);
// Modules without functions, and the list of images.
void history_print_images(struct emitter *e, struct history_view *view);

// history_stack.c
// The frames, outermost first: in text one line that ends the line, or with -fullStacks one line each.
void history_print_stack(struct emitter *e, struct history_view *view, uint32_t node,
                         uint32_t thread);
// "+1.234567s", in arena.
const char *history_time_text(struct arena *arena, uint64_t ns);
// "malloc", "free", "mmap": the call that made or ended a block.
const char *history_call_name(uint8_t kind);

// history_address.c
struct error *history_print_address(struct emitter *e, struct history_view *view, const char *text);
// history_events.c
struct error *history_print_events(struct emitter *e, struct history_view *view);
// history_sums.c
struct error *history_print_sums(struct emitter *e, struct history_view *view);
struct error *history_print_growth(struct emitter *e, struct history_view *view);
struct error *history_print_marks(struct emitter *e, struct history_view *view);
struct error *history_print_samples(struct emitter *e,
                                    struct history_view *view); // history_samples.c
// When, how much, and how sure that is.
void history_print_totals(struct emitter *e, struct history_view *view,
                          const struct history_sums *sums);
// history_sets.c
// What the settings ask history_sum_up, the addresses of leaks and the like in the view's arena.
struct error *history_question_of(struct history_view *view, struct history_question *ret);
// history_export.c: writes the view's file instead of an answer
struct error *history_export(struct history_view *view);
// tree_content.c: -showContent: the blocks at each branch of a tree, with their types and contents as they
// are in the process now.
struct tree_content;
struct error *tree_content_open(struct history_view *view, const struct history_question *question,
                                const struct history_tree_options *tree_options,
                                const struct history_sums *sums, const struct history_tree *tree,
                                struct tree_content **ret);
void tree_content_print(struct emitter *e, const struct tree_content *content, uint32_t branch,
                        const char *indent, size_t indent_bytes);
void tree_content_close(struct tree_content *content); // NULL is allowed
// tree.c
struct error *history_print_tree(struct emitter *e, struct history_view *view);
