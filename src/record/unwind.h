// SPDX-License-Identifier: MIT
// The part of record that says where the program is: stacks as nodes of the shared table. unwind.c
// walks, rules.c knows how to leave a function, cfi.c reads that from the program's own tables,
// modules.c finds those, nodes.c numbers what was found. The method: docs/unwinding.md.
//
// Nothing here allocates, takes a lock of libc or the dynamic linker, or needs more than 1 KiB of
// stack. All functions keep errno.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout/record.h"
#include "layout/record_hooks.h"
#include "record/cfi.h"

enum {
	RECORD_FRAMES = 1 << 15,          // of a stack; the outer ones of a deeper one are not kept
	RECORD_WORDS = 3 * RECORD_FRAMES, // on the stack that a walk relied on
	RECORD_RULES_BITS = 12,
	RECORD_PATHS_BITS = 8,
	RECORD_PATHS_WAYS = 4,
	RECORD_PATH_WORDS = 12,
	RECORD_PATH_STEP = 4,           // words that are compared at a time
	RECORD_PATH_WHOLE = UINT32_MAX, // in record_path.outer: to the end of the stack
	RECORD_FRAME_BP_MATTERS = 1,    // in record_frame.words
};

// --- rules.c --------------------------------------------------------------------------------------
// How to find the caller's frame from a place in the code: the canonical frame address (CFA, the stack
// pointer after the return), and the caller's frame pointer, 28 bits in all:
//   bits 0-2   enum record_rule
//   bits 3-8   the frame pointer is saved so many words below the CFA; 0: it is what it was
//   bits 9-27  words from the register to the CFA
enum record_rule {
	RECORD_RULE_NONE = 0,   // no tables cover this code
	RECORD_RULE_SP = 1,     // CFA = sp + words
	RECORD_RULE_BP = 2,     // CFA = bp + words
	RECORD_RULE_MEMORY = 3, // CFA = *(bp - words), bp = *bp: functions that realign their stack
	RECORD_RULE_END = 4,    // nobody called this
	RECORD_RULE_SIGNAL = 5, // a context that a signal interrupted lies at sp
	RECORD_RULE_OTHER = 6,  // needs the tables and all registers
	RECORD_RULE_RECORD = 7, // bp points to a frame record; 0: nobody called this
};

enum { RECORD_RULE_BITS = 28 };

static inline uint32_t record_rule_make(enum record_rule kind, uint32_t words, uint32_t bp_words)
{
	return kind | bp_words << 3 | words << 9;
}

static inline enum record_rule record_rule_kind(uint32_t rule)
{
	return rule & 7;
}

static inline uint64_t record_rule_bytes(uint32_t rule)
{
	return (uint64_t)(rule >> 9) * 8;
}

static inline uint64_t record_rule_bp_bytes(uint32_t rule)
{
	return (uint64_t)(rule >> 3 & 63) * 8;
}

// Where a node's code lies for the tables: a return address may be the first of another function.
static inline uint64_t record_rule_key(uint64_t code)
{
	return (code & RECORD_NODE_ADDRESS) - !(code & RECORD_NODE_EXACT);
}

// --- unwind.c -------------------------------------------------------------------------------------
// A frame of the last walk, outermost first.
struct record_frame {
	uint64_t code;   // as in a node
	uint64_t sp, bp; // when the program goes on there
	uint32_t node;
	uint32_t
		words; // how many words the walk from here outwards relied on, twice; plus 1: bp, too
	uint32_t rule; // by which it was left
};

struct record_word {
	uint64_t slot, value;
};

// From a place to a kept frame outside of it, or to the end of the stack: paths.h.
struct record_path {
	uint64_t bp,
		bp_mask; // where it begins; the mask is 0 where the frame pointer does not matter
	uint32_t node;   // of the stack there
	uint32_t count;  // of words: a multiple of RECORD_PATH_STEP
	uint32_t outer, outer_node, outer_words; // the frame: its index, and what it was
	uint64_t outer_sp, outer_bp, outer_bp_mask;
	struct record_word words[RECORD_PATH_WORDS];
};

// One line of the cache for the question which path it may be.
struct record_paths {
	_Alignas(64) struct {
		uint64_t sp, pc; // where it begins; sp 0: there is none
	} begin[RECORD_PATHS_WAYS];
	struct record_path paths[RECORD_PATHS_WAYS];
};

// What a thread needs to walk its stacks. The caller maps it, all zero; most of it is never touched.
struct record_unwinder {
	uint64_t rules[1 << RECORD_RULES_BITS]; // rules.c
	uint64_t low, top; // the thread's own stack, as far as it is known to be readable
	// The last stack that was not its own: from where it was looked at to its first unreadable page.
	uint64_t foreign_low, foreign;
	uint32_t generation;
	bool in_linker; // where the event before this one came from
	uint32_t frame_count;
	uint32_t paths_generation; // when paths may be taken; else none may
	uint32_t path_next;        // which way is written next
	struct record_paths paths[1 << RECORD_PATHS_BITS];
	struct record_cfi cfi; // working memory
	uint64_t truncated;    // walks that did not reach the end of the stack
	struct record_word words[RECORD_WORDS];
	struct record_frame frames[RECORD_FRAMES]; // new ones are gathered at the end
};

// The node of the stack at a position of the calling thread. Never fails: a stack of which the outer
// part cannot be known ends with RECORD_NODE_TRUNCATED.
uint32_t record_unwinder_node(struct record_unwinder *u, const struct record_position *at);
// The same, when no path is known (paths.h).
uint32_t record_unwinder_walk(struct record_unwinder *u, const struct record_position *at);

// --- rules.c --------------------------------------------------------------------------------------
// The rule for a key (record_rule_key), from the tables of the module that it lies in.
uint32_t record_rules_find(struct record_unwinder *u, uint64_t key);
void record_rules_forget(struct record_unwinder *u);
void record_rules_forget_shared(void);

static inline uint32_t record_rules_get(struct record_unwinder *u, uint64_t key)
{
	uint64_t entry = u->rules[key & ((1 << RECORD_RULES_BITS) - 1)];

	if (__builtin_expect(entry >> RECORD_RULE_BITS == key >> RECORD_RULES_BITS, 1))
		return (uint32_t)entry & ((1u << RECORD_RULE_BITS) - 1);
	return record_rules_find(u, key);
}

// --- modules.c ------------------------------------------------------------------------------------
void record_modules_start(struct record_header *mapping);
void record_modules_fork_child(
	void); // frees the lock that a thread which is not here may have held

// Raised when code addresses may mean something else than before.
extern __attribute__((visibility("hidden"))) uint32_t record_modules_generation;

// Where the dynamic linker lies.
extern __attribute__((visibility("hidden"))) struct record_modules_linker {
	uint64_t start, bytes;
} record_modules_linker;

// The tables of the module in which the address lies; false when there is none, or it has none.
// Publishes the module at its first use.
bool record_modules_find(uint64_t address, struct record_cfi_section *ret);

// --- nodes.c --------------------------------------------------------------------------------------
void record_nodes_start(struct record_header *header);

// The child of a node at a place, made when it is new. A table that is full gives a node that is
// truncated and has no parent.
uint32_t record_node_child_find(uint32_t parent, uint64_t code);

extern __attribute__((visibility("hidden"))) struct record_node *record_nodes;

static inline uint32_t record_node_child(uint32_t parent, uint64_t code)
{
	uint32_t first = __atomic_load_n(&record_nodes[parent].children, __ATOMIC_ACQUIRE);

	// Most have only one.
	if (first && record_nodes[first].code == code)
		return first;
	return record_node_child_find(parent, code);
}
