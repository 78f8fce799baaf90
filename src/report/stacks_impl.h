// SPDX-License-Identifier: MIT
// What stacks.c needs of stacks_log.c and stacks_frames.c.
#pragma once

#include "history/history.h"
#include "report/stacks.h"

// Named frames, the innermost first.
struct stack {
	const struct history_frame *const *frames;
	size_t n;
};

// In arena, the frames in the look's. None when the stack cannot be read.
void stack_read(struct look *look, uint32_t node, struct arena *arena, struct stack *ret);

// Nodes of the log, where others are the recorder's in memory (all below it).
#define STACK_OF_LOG HEAP_NODES_MAX

// Opens the log of the program, if there is one, once.
void stack_log_open(struct look *look);

// The node of a mapping and of a live block, 0 unknown, and its frames, as heaps_frames gives them.
uint32_t stack_log_mapping_node(const struct look *look, uint64_t address);
uint32_t stack_log_node(const struct look *look, const struct heap_block *block);
size_t stack_log_frames(const struct look *look, uint32_t node, struct heap_frame *frames,
                        size_t most, bool *ret_truncated);
