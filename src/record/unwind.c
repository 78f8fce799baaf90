// SPDX-License-Identifier: MIT
// The verified incremental unwinder: the stack of a thread as a node of the table of stacks. Relies on
// rules.c for how to leave a function and on nodes.c for the numbers; called once for each event. Why
// this is exact: docs/unwinding.md.
//
// 1. A walk goes from frame to frame by rules. All that it uses of a frame is its code address, stack
//    pointer and frame pointer, and of the memory some words on the stack.
// 2. The last walk is kept with these words (slot and value), outermost first. As long as a word has
//    its value, the part of the walk that is outside of it depends on nothing that has changed.
// 3. The next walk stops at the first frame that is the same as a kept one outside of which all words
//    are the same. What is outside has its node already; only the frames inside get theirs.
// 4. Words are compared where they are known to be readable: on the thread's own stack, above the
//    stack pointer. On other stacks (coroutines, signal handlers) each event walks all the way, looks
//    before it reads, and leaves what is kept alone.
#include "record/unwind.h"

#include <string.h>

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

enum {
	PAGE_BYTES = 4096,
	OWN_STACK_PAGES = 1 << 15, // as far from its known part as this, it is another one
	FRAME_BP_MATTERS = 1,      // in record_frame.words
};

// Readable as words of a program, whatever they were written as.
static uint64_t word_at(uint64_t address)
{
	uint64_t value;

	memcpy(&value, (const void *)(uintptr_t)address, sizeof(value));
	return value;
}

// --- Where may be read ----------------------------------------------------------------------------
// From and to are page numbers; the upward direction is on purpose: a touch right below a stack that
// grows would make it grow (Linux mm/memory.c, lock_mm_and_find_vma).
static bool pages_readable(uint64_t from, uint64_t to, uint64_t *ret_gap)
{
	if (to - from > OWN_STACK_PAGES)
		return false;
	for (; from < to; from++)
		if (!inside_readable_word((const void *)(uintptr_t)(from * PAGE_BYTES))) {
			*ret_gap = from * PAGE_BYTES;
			return false;
		}
	return true;
}

static bool try_top(struct record_unwinder *u, uint64_t sp, uint64_t top)
{
	uint64_t gap;

	if (sp >= top || !pages_readable(sp / PAGE_BYTES, (top - 1) / PAGE_BYTES, &gap))
		return false;
	u->low = sp / PAGE_BYTES * PAGE_BYTES;
	u->top = top & ~UINT64_C(7);
	return true;
}

// Whether the thread runs on its own stack, and if so, that is known to be readable from sp to its top.
// Threads have their control block at the top of their stack.
static bool on_own_stack(struct record_unwinder *u, uint64_t sp)
{
	if (!u->top)
		return try_top(u, sp, inside_thread_pointer()) ||
		       try_top(u, sp, inside_stack_top());
	if (sp >= u->top)
		return false;
	if (sp < u->foreign && u->foreign < u->low &&
	    !inside_readable_word((const void *)(uintptr_t)u->foreign))
		return false;
	u->foreign = 0;
	if (!pages_readable(sp / PAGE_BYTES, u->low / PAGE_BYTES, &u->foreign))
		return false;
	u->low = sp / PAGE_BYTES * PAGE_BYTES;
	return true;
}

// --- One step on the own stack --------------------------------------------------------------------
static bool within(const struct record_unwinder *u, uint64_t sp, uint64_t slot)
{
	return slot >= sp && slot <= u->top - 8;
}

static bool step_rule_memory(const struct record_unwinder *u, uint32_t rule,
                             struct record_position *at)
{
	uint64_t slot = at->bp - record_rule_bytes(rule), cfa;

	if (!within(u, at->sp, slot) || !within(u, at->sp, at->bp))
		return false;
	cfa = word_at(slot);
	if (cfa <= at->bp || cfa > u->top || cfa % 8)
		return false;
	*at = (struct record_position){ .pc = word_at(cfa - 8), .sp = cfa, .bp = word_at(at->bp) };
	return true;
}

static bool step_signal(const struct record_unwinder *u, struct record_position *at)
{
	uint64_t context = at->sp + inside_frame.context;
	struct record_position to;

	if (!within(u, at->sp, context + inside_frame.saved[inside_frame.pc]))
		return false;
	to.pc = word_at(context + inside_frame.saved[inside_frame.pc]);
	to.sp = word_at(context + inside_frame.saved[inside_frame.sp]);
	to.bp = word_at(context + inside_frame.saved[inside_frame.bp]);
	if (to.sp <= at->sp || to.sp >= u->top)
		return false;
	to.pc = (to.pc & RECORD_NODE_ADDRESS) | RECORD_NODE_EXACT;
	*at = to;
	return true;
}

// A chain of frame records through code without tables (compiled at run time), until it leads to a
// return address of a module. Anything else in the frame pointer is no reason to believe in a caller.
static bool leads_to_module(struct record_unwinder *u, struct record_position at)
{
	struct record_cfi_section section;

	for (int i = 0; i < 64; i++) {
		if (!within(u, at.sp, at.bp) || at.bp % 8 || at.bp + 8 > u->top - 8)
			return false;
		at = (struct record_position){
			.pc = word_at(at.bp + 8), .sp = at.bp + 16, .bp = word_at(at.bp)
		};
		if (record_modules_find(at.pc - 1, &section))
			return inside_follows_call((const uint8_t *)(uintptr_t)at.pc);
		if (!inside_readable_word((const void *)(uintptr_t)(at.pc - 8)) ||
		    !inside_follows_call((const uint8_t *)(uintptr_t)at.pc))
			return false;
	}
	return false;
}

static bool step_record(struct record_unwinder *u, uint32_t rule, struct record_position *at)
{
	uint64_t bp = at->bp;

	if (record_rule_kind(rule) == RECORD_RULE_NONE ? !leads_to_module(u, *at)
	                                               : !within(u, at->sp, bp) || bp + 16 > u->top)
		return false;
	*at = (struct record_position){ .pc = word_at(bp + 8), .sp = bp + 16, .bp = word_at(bp) };
	return true;
}

static bool step_other(struct record_unwinder *u, uint32_t rule, struct record_position *at)
{
	switch (record_rule_kind(rule)) {
	case RECORD_RULE_MEMORY:
		return step_rule_memory(u, rule, at);
	case RECORD_RULE_SIGNAL:
		return step_signal(u, at);
	case RECORD_RULE_NONE:
	case RECORD_RULE_RECORD:
		return step_record(u, rule, at);
	default:
		return false;
	}
}

static inline bool step(struct record_unwinder *u, uint32_t rule, struct record_position *at)
{
	enum record_rule kind = record_rule_kind(rule);
	uint64_t bp_bytes = record_rule_bp_bytes(rule), cfa;

	if (UNLIKELY(kind != RECORD_RULE_SP && kind != RECORD_RULE_BP))
		return step_other(u, rule, at);
	cfa = (kind == RECORD_RULE_SP ? at->sp : at->bp) + record_rule_bytes(rule);
	if (UNLIKELY(cfa - bp_bytes < at->sp || cfa <= at->sp || cfa > u->top))
		return false;
	if (bp_bytes)
		at->bp = word_at(cfa - bp_bytes);
	at->sp = cfa;
	at->pc = word_at(cfa - 8) & RECORD_NODE_ADDRESS;
	return true;
}

// --- What is kept ---------------------------------------------------------------------------------
// How many words, from the outermost, have their value. They lie in falling order.
static inline uint32_t unchanged_words(const struct record_unwinder *u, uint32_t count, uint64_t sp)
{
	const struct record_word *words = u->words;
	uint32_t i = 0;

	for (; i + 4 <= count && words[i + 3].slot >= sp; i += 4) {
		uint64_t changed = (word_at(words[i].slot) ^ words[i].value) |
		                   (word_at(words[i + 1].slot) ^ words[i + 1].value) |
		                   (word_at(words[i + 2].slot) ^ words[i + 2].value) |
		                   (word_at(words[i + 3].slot) ^ words[i + 3].value);

		if (changed)
			break;
	}
	while (i < count && words[i].slot >= sp && word_at(words[i].slot) == words[i].value)
		i++;
	return i;
}

static inline uint32_t word_count(const struct record_unwinder *u, uint32_t frames)
{
	return frames ? u->frames[frames - 1].words >> 1 : 0;
}

static inline uint32_t unchanged_frames(const struct record_unwinder *u, uint64_t sp)
{
	uint32_t frames = u->frame_count;
	uint32_t words = unchanged_words(u, word_count(u, frames), sp);

	while (frames && word_count(u, frames) > words)
		frames--;
	return frames;
}

static inline bool same_place(const struct record_frame *frame, const struct record_position *at)
{
	return frame->code == at->pc &&
	       (!(frame->words & FRAME_BP_MATTERS) || frame->bp == at->bp);
}

static void keep_word(struct record_unwinder *u, uint32_t *count, uint64_t slot)
{
	u->words[(*count)++] = (struct record_word){ .slot = slot, .value = word_at(slot) };
}

// The words that the step from a frame to the one outside of it used, in falling order; the frame's
// count of words, and whether its frame pointer matters.
static uint32_t keep_words(struct record_unwinder *u, const struct record_frame *frame,
                           const struct record_frame *outside, uint32_t rule)
{
	bool bp_matters = outside->words & FRAME_BP_MATTERS;
	uint32_t count = outside->words >> 1;
	uint64_t bp_bytes = record_rule_bp_bytes(rule);
	uint64_t context = frame->sp + inside_frame.context;

	switch (record_rule_kind(rule)) {
	case RECORD_RULE_SP:
	case RECORD_RULE_BP:
		keep_word(u, &count, outside->sp - 8);
		if (bp_bytes && bp_matters)
			keep_word(u, &count, outside->sp - bp_bytes);
		bp_matters = record_rule_kind(rule) == RECORD_RULE_BP || (!bp_bytes && bp_matters);
		break;
	case RECORD_RULE_SIGNAL:
		keep_word(u, &count, context + inside_frame.saved[inside_frame.pc]);
		keep_word(u, &count, context + inside_frame.saved[inside_frame.sp]);
		keep_word(u, &count, context + inside_frame.saved[inside_frame.bp]);
		bp_matters = false;
		break;
	default: // through the frame pointer
		keep_word(u, &count, outside->sp - 8);
		keep_word(u, &count, frame->bp);
		if (record_rule_kind(rule) == RECORD_RULE_MEMORY)
			keep_word(u, &count, frame->bp - record_rule_bytes(rule));
		bp_matters = true;
	}
	return count << 1 | bp_matters;
}

// Of the outermost frame, whose caller cannot be found, or of that there is none.
static uint32_t bp_matters_at_end(uint32_t rule)
{
	enum record_rule kind = record_rule_kind(rule);

	return kind != RECORD_RULE_END && kind != RECORD_RULE_SP ? FRAME_BP_MATTERS : 0;
}

// Puts the new frames, of which field words is the rule, behind those that are kept. Gives the node of
// the innermost.
static uint32_t keep_frames(struct record_unwinder *u, uint32_t kept, uint32_t added)
{
	const struct record_frame *from = u->frames + RECORD_FRAMES - added;
	uint32_t node = kept ? u->frames[kept - 1].node : 0;

	for (; added; added--, kept++, from++) {
		struct record_frame *to = &u->frames[kept];
		uint32_t rule = from->words;

		*to = *from;
		to->words = kept ? keep_words(u, to, to - 1, rule) : bp_matters_at_end(rule);
		to->node = node = to->code ? record_node_child(node, to->code) : 0;
	}
	u->frame_count = kept;
	return node;
}

// --- A whole walk, on any stack -------------------------------------------------------------------
static uint32_t walk_anywhere(struct record_unwinder *u, const struct record_position *at)
{
	(void)at;
	u->truncated++;
	return record_node_child(0, at->pc | RECORD_NODE_TRUNCATED);
}

// --- The walk -------------------------------------------------------------------------------------
static void forget(struct record_unwinder *u, uint32_t generation)
{
	record_rules_forget(u);
	u->frame_count = 0;
	u->generation = generation;
}

static inline uint32_t rule_at(struct record_unwinder *u, uint64_t code)
{
	return record_rules_get(u, record_rule_key(code));
}

uint32_t record_unwinder_node(struct record_unwinder *u, const struct record_position *at)
{
	uint32_t generation = __atomic_load_n(&record_modules_generation, __ATOMIC_RELAXED);
	struct record_frame *added = u->frames + RECORD_FRAMES;
	struct record_position here = *at;
	uint32_t kept;

	if (UNLIKELY(u->generation != generation))
		forget(u, generation);
	if (UNLIKELY(at->sp < u->low || at->sp >= u->top) && !on_own_stack(u, at->sp))
		return walk_anywhere(u, at);
	kept = unchanged_frames(u, at->sp);
	for (;;) {
		uint32_t rule;

		while (kept && u->frames[kept - 1].sp < here.sp)
			kept--;
		if (kept && u->frames[kept - 1].sp == here.sp) {
			if (same_place(&u->frames[kept - 1], &here))
				break;
			kept--;
		}
		rule = LIKELY(here.pc) ? rule_at(u, here.pc) : RECORD_RULE_END;
		*--added = (struct record_frame){
			.code = here.pc, .sp = here.sp, .bp = here.bp, .words = rule
		};
		if (record_rule_kind(rule) == RECORD_RULE_END || !step(u, rule, &here)) {
			if (record_rule_kind(rule) == RECORD_RULE_OTHER ||
			    record_rule_kind(rule) == RECORD_RULE_SIGNAL)
				return walk_anywhere(u, at);
			kept = 0;
			if (record_rule_kind(rule) != RECORD_RULE_END) {
				added->code |= RECORD_NODE_TRUNCATED;
				u->truncated++;
			}
			break;
		}
	}
	return keep_frames(u, kept, (uint32_t)(u->frames + RECORD_FRAMES - added));
}
