// SPDX-License-Identifier: MIT
// The stacks that allocated blocks, as the tools show them: those that a recorder keeps in the program,
// or those of its log. A stack is named by its node.
#pragma once

#include "report/report.h"

enum { STACK_FRAMES_MAX = 512 };

// Whether stacks are recorded at all. Opens the log when it is asked for the first time.
bool stacks_known(struct look *look);

// The node of a live block (an index into heaps.blocks), 0 unknown.
uint32_t stacks_node(struct look *look, uint32_t block);

// The node of the mapping that holds an address, 0 unknown.
uint32_t stacks_mapping_node(struct look *look, uint64_t address);

// The code addresses of a stack, the innermost first, at most `most`. *ret_truncated: there were more.
size_t stacks_codes(const struct look *look, uint32_t node, struct heap_frame *codes, size_t most,
                    bool *ret_truncated);

// The log of the program; NULL: none that can be read.
const char *stacks_log_path(struct look *look);

// What went wrong with debuginfod servers for the frames of the log's stacks; NULL: nothing.
const char *stack_log_server_trouble(const struct look *look);

// Gives the log back; by look_close.
void stack_log_close(struct look *look);

// What a block of that stack is called when it has no type: "malloc in main", by the function that called
// malloc, past operator new and its like; of an unknown function its module. In the look's arena, equal
// texts being the same pointer; NULL when the stack cannot be read.
const char *stacks_name(struct look *look, uint32_t node);
const char *stacks_block_name(struct look *look, uint32_t block); // NULL: its stack is not known

// Whether a function of the stack matches the shell pattern.
bool stacks_match(struct look *look, uint32_t node, const char *pattern);

// The frames, one a line, numbered down to 0, the innermost.
void stacks_print(struct emitter *e, struct look *look, uint32_t node, bool sources);

// The frames in one line, outermost first.
void stacks_print_line(struct emitter *e, struct look *look, uint32_t node);

// The frames as a JSON array, innermost first.
void stacks_emit(struct emitter *e, const char *key, struct look *look, uint32_t node);
