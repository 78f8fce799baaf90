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
#include "record/paths.h"
#include "record/record.h"

#include <string.h>

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

enum {
	PAGE_BYTES = 4096,
	OWN_STACK_PAGES = 1 << 15, // as far from its known part as this, it is another one
};

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
	if (sp >= u->top || (sp >= u->foreign_low && sp < u->foreign))
		return false;
	u->foreign = 0;
	if (!pages_readable(sp / PAGE_BYTES, u->low / PAGE_BYTES, &u->foreign)) {
		u->foreign_low = sp / PAGE_BYTES * PAGE_BYTES;
		return false;
	}
	u->low = sp / PAGE_BYTES * PAGE_BYTES;
	return true;
}

// --- One step -------------------------------------------------------------------------------------
// A walk that looks before it reads may read anywhere; the others read the thread's own stack, upwards.
struct walk {
	struct record_unwinder *u;
	bool looks;
	uint64_t page; // that was looked at last
};

static bool look(struct walk *walk, uint64_t address)
{
	uint64_t page = address / PAGE_BYTES;

	if (page == walk->page)
		return true;
	if (!inside_readable_word((const void *)(uintptr_t)address))
		return false;
	walk->page = page;
	return true;
}

static bool read_anywhere(void *context, uint64_t address, uint64_t *ret)
{
	struct walk *walk = context;
	const struct record_unwinder *u = walk->u;
	bool own = u->top && address >= u->low && address <= u->top - 8;

	if (!own && (address % 8 || !look(walk, address)))
		return false;
	*ret = record_word_at(address);
	return true;
}

static bool read_word(struct walk *walk, uint64_t sp, uint64_t address, uint64_t *ret)
{
	if (address < sp)
		return false;
	if (walk->looks)
		return read_anywhere(walk, address, ret);
	if (address > walk->u->top - 8)
		return false;
	*ret = record_word_at(address);
	return true;
}

static bool step_register(struct walk *walk, uint32_t rule, struct record_position *at)
{
	uint64_t bp_bytes = record_rule_bp_bytes(rule);
	struct record_position to = { .bp = at->bp };

	to.sp = (record_rule_kind(rule) == RECORD_RULE_SP ? at->sp : at->bp) +
	        record_rule_bytes(rule);
	if (to.sp <= at->sp || !read_word(walk, at->sp, to.sp - 8, &to.pc) ||
	    (bp_bytes && !read_word(walk, at->sp, to.sp - bp_bytes, &to.bp)))
		return false;
	to.pc &= RECORD_NODE_ADDRESS;
	*at = to;
	return true;
}

static bool step_memory(struct walk *walk, uint32_t rule, struct record_position *at)
{
	struct record_position to;

	if (!read_word(walk, at->sp, at->bp - record_rule_bytes(rule), &to.sp) ||
	    !read_word(walk, at->sp, at->bp, &to.bp) || to.sp <= at->bp || to.sp % 8 ||
	    !read_word(walk, at->sp, to.sp - 8, &to.pc))
		return false;
	to.pc &= RECORD_NODE_ADDRESS;
	*at = to;
	return true;
}

static bool step_signal(struct walk *walk, struct record_position *at)
{
	uint64_t context = at->sp + inside_frame.context;
	struct record_position to;

	if (!read_word(walk, at->sp, context + inside_frame.saved[inside_frame.pc], &to.pc) ||
	    !read_word(walk, at->sp, context + inside_frame.saved[inside_frame.sp], &to.sp) ||
	    !read_word(walk, at->sp, context + inside_frame.saved[inside_frame.bp], &to.bp))
		return false;
	if (!walk->looks && (to.sp <= at->sp || to.sp >= walk->u->top))
		return false;
	to.pc = (to.pc & RECORD_NODE_ADDRESS) | RECORD_NODE_EXACT;
	*at = to;
	return true;
}

static bool step_record(struct walk *walk, struct record_position *at)
{
	struct record_position to = { .sp = at->bp + 16 };

	if (at->bp % 8 || !read_word(walk, at->sp, at->bp + 8, &to.pc) ||
	    !read_word(walk, at->sp, at->bp, &to.bp))
		return false;
	to.pc &= RECORD_NODE_ADDRESS;
	*at = to;
	return true;
}

// --- Code without tables --------------------------------------------------------------------------
enum { RECORDS_MAX = 64, HIDING_WORDS_MAX = 512 };

static bool in_module(uint64_t address)
{
	struct record_cfi_section section;

	return record_modules_find(address, &section);
}

// Whether the call that a return address follows may have led to code that is in no module: only one
// with a computed target can, or one from such code.
static bool may_leave_modules(uint64_t pc)
{
	const uint8_t *code = (const uint8_t *)(uintptr_t)pc;

	if (pc < PAGE_BYTES)
		return false;
	if (in_module(pc - 1))
		return inside_follows_computed_call(code);
	return inside_readable_word(code - 8) && inside_follows_call(code);
}

// A function that leaves the frame pointer alone has that of a function outside of it, and the return
// address into that function lies between: anything on the stack that looks like one makes the frame
// pointer worthless.
static bool hides_caller(struct walk *walk, uint64_t sp, uint64_t bp)
{
	uint64_t word;

	if (bp - sp > HIDING_WORDS_MAX * 8)
		return true;
	for (; sp < bp; sp += 8)
		if (!read_word(walk, sp, sp, &word) ||
		    (word >> 47 == 0 && in_module(word - 1) && may_leave_modules(word)))
			return true;
	return false;
}

// A chain of frame records through code without tables (compiled at run time) that leads to a return
// address of a module. Anything else in the frame pointer is no reason to believe in a caller.
static bool leads_to_module(struct walk *walk, struct record_position at)
{
	if (in_module(at.pc))
		return false;
	for (int i = 0; i < RECORDS_MAX; i++) {
		struct record_position inner = at;

		if (!step_record(walk, &at) || !may_leave_modules(at.pc) ||
		    hides_caller(walk, inner.sp, inner.bp))
			return false;
		if (in_module(at.pc - 1))
			return true;
	}
	return false;
}

// By all rules but those that need more than three registers.
static bool step_rarely(struct walk *walk, uint32_t rule, struct record_position *at)
{
	switch (record_rule_kind(rule)) {
	case RECORD_RULE_SP:
	case RECORD_RULE_BP:
		return step_register(walk, rule, at);
	case RECORD_RULE_MEMORY:
		return step_memory(walk, rule, at);
	case RECORD_RULE_SIGNAL:
		return step_signal(walk, at);
	case RECORD_RULE_NONE:
		return leads_to_module(walk, *at) && step_record(walk, at);
	case RECORD_RULE_RECORD:
		return step_record(walk, at);
	default:
		return false;
	}
}

static inline bool step(struct record_unwinder *u, uint32_t rule, struct record_position *at)
{
	enum record_rule kind = record_rule_kind(rule);
	uint64_t bp_bytes = record_rule_bp_bytes(rule), cfa;

	if (UNLIKELY(kind != RECORD_RULE_SP && kind != RECORD_RULE_BP)) {
		struct walk walk = { .u = u };
		struct record_position to = *at; // whose address is known: at stays in registers
		bool stepped = step_rarely(&walk, rule, &to);

		*at = to;
		return stepped;
	}
	cfa = (kind == RECORD_RULE_SP ? at->sp : at->bp) + record_rule_bytes(rule);
	if (UNLIKELY(cfa - bp_bytes < at->sp || cfa <= at->sp || cfa > u->top))
		return false;
	if (bp_bytes)
		at->bp = record_word_at(cfa - bp_bytes);
	at->sp = cfa;
	at->pc = record_word_at(cfa - 8) & RECORD_NODE_ADDRESS;
	return true;
}

// --- What is kept ---------------------------------------------------------------------------------
// How many words, from the outermost, have their value.
static inline uint32_t unchanged_words(const struct record_word *words, uint32_t count)
{
	uint32_t i = 0;

	for (; i + 4 <= count; i += 4) {
		const struct record_word *four = words + i;
		uint64_t changed = (record_word_at(four[0].slot) ^ four[0].value) |
		                   (record_word_at(four[1].slot) ^ four[1].value) |
		                   (record_word_at(four[2].slot) ^ four[2].value) |
		                   (record_word_at(four[3].slot) ^ four[3].value);

		if (changed)
			break;
	}
	while (i < count && record_word_at(words[i].slot) == words[i].value)
		i++;
	return i;
}

static inline uint32_t word_count(const struct record_unwinder *u, uint32_t frames)
{
	return frames ? u->frames[frames - 1].words >> 1 : 0;
}

// Frames below the stack pointer are gone, and their words with them: all words of the others lie above
// their stack pointers, where they may be read.
static inline uint32_t unchanged_frames(const struct record_unwinder *u, uint64_t sp)
{
	uint32_t frames = u->frame_count, count, words;

	while (frames && u->frames[frames - 1].sp < sp)
		frames--;
	count = word_count(u, frames);
	words = unchanged_words(u->words, count);
	if (words < count)
		while (word_count(u, frames) > words)
			frames--;
	return frames;
}

static inline bool same_place(const struct record_frame *frame, const struct record_position *at)
{
	return frame->sp == at->sp && frame->code == at->pc &&
	       (!(frame->words & RECORD_FRAME_BP_MATTERS) || frame->bp == at->bp);
}

// Whether the walk goes on as from a kept frame of the same stack pointer: another call of the same
// function. The step then uses the same words, and they are unchanged.
static inline bool same_step(const struct record_frame *frame, const struct record_position *at,
                             uint32_t rule)
{
	enum record_rule kind = record_rule_kind(rule);

	return frame->rule == rule && frame->sp == at->sp &&
	       (kind == RECORD_RULE_SP || kind == RECORD_RULE_BP) &&
	       (!(frame->words & RECORD_FRAME_BP_MATTERS) || frame->bp == at->bp);
}

static inline void keep_word(struct record_unwinder *u, uint32_t *count, uint64_t slot)
{
	u->words[(*count)++] = (struct record_word){ .slot = slot, .value = record_word_at(slot) };
}

static uint32_t keep_words_rarely(struct record_unwinder *u, const struct record_frame *frame,
                                  const struct record_frame *outside, uint32_t rule)
{
	uint32_t count = outside->words >> 1;
	uint64_t context = frame->sp + inside_frame.context;

	if (record_rule_kind(rule) == RECORD_RULE_SIGNAL) {
		keep_word(u, &count, context + inside_frame.saved[inside_frame.pc]);
		keep_word(u, &count, context + inside_frame.saved[inside_frame.sp]);
		keep_word(u, &count, context + inside_frame.saved[inside_frame.bp]);
		return count << 1;
	}
	keep_word(u, &count, outside->sp - 8);
	keep_word(u, &count, frame->bp);
	if (record_rule_kind(rule) == RECORD_RULE_MEMORY)
		keep_word(u, &count, frame->bp - record_rule_bytes(rule));
	return count << 1 | RECORD_FRAME_BP_MATTERS;
}

// The words that the step from a frame to the one outside of it used, in falling order; the frame's
// count of words, and whether its frame pointer matters.
static inline uint32_t keep_words(struct record_unwinder *u, const struct record_frame *frame,
                                  const struct record_frame *outside, uint32_t rule)
{
	bool bp_matters = outside->words & RECORD_FRAME_BP_MATTERS;
	uint64_t bp_bytes = record_rule_bp_bytes(rule);
	uint32_t count = outside->words >> 1;
	enum record_rule kind = record_rule_kind(rule);

	if (UNLIKELY(kind != RECORD_RULE_SP && kind != RECORD_RULE_BP))
		return keep_words_rarely(u, frame, outside, rule);
	keep_word(u, &count, outside->sp - 8);
	if (bp_bytes && bp_matters)
		keep_word(u, &count, outside->sp - bp_bytes);
	return count << 1 | (kind == RECORD_RULE_BP || (!bp_bytes && bp_matters));
}

// Of the outermost frame, whose caller cannot be found, or of that there is none.
static uint32_t bp_matters_at_end(uint32_t rule)
{
	enum record_rule kind = record_rule_kind(rule);

	return kind != RECORD_RULE_END && kind != RECORD_RULE_SP ? RECORD_FRAME_BP_MATTERS : 0;
}

// Field by field: a copy of the whole would wait until the fields have left the store buffer.
static inline void copy_place(const struct record_frame *from, struct record_frame *to)
{
	to->code = from->code;
	to->sp = from->sp;
	to->bp = from->bp;
	to->rule = from->rule;
}

// Puts the new frames behind those that are kept. Gives the node of the innermost.
static uint32_t keep_frames(struct record_unwinder *u, uint32_t kept, uint32_t added)
{
	const struct record_frame *from = u->frames + RECORD_FRAMES - added;
	uint32_t node = kept ? u->frames[kept - 1].node : 0;

	for (; added; added--, kept++, from++) {
		struct record_frame *to = &u->frames[kept];
		uint32_t rule = from->rule;

		copy_place(from, to);
		to->words = kept ? keep_words(u, to, to - 1, rule) : bp_matters_at_end(rule);
		to->node = node = to->code ? record_node_child(node, to->code) : 0;
	}
	u->frame_count = kept;
	return node;
}

// Makes room by leaving away the outer half of what is kept. Gives how many frames remain.
static uint32_t drop_outer_half(struct record_unwinder *u, uint32_t kept)
{
	uint32_t half = kept / 2, words = word_count(u, half + 1), total = word_count(u, kept);
	uint32_t node = 0;

	memmove(u->words, u->words + words, (total - words) * sizeof(*u->words));
	memmove(u->frames, u->frames + half, (kept - half) * sizeof(*u->frames));
	u->frames[0].code |= RECORD_NODE_TRUNCATED;
	for (uint32_t i = 0; i < kept - half; i++) {
		u->frames[i].words -= words << 1;
		u->frames[i].node = node = record_node_child(node, u->frames[i].code);
	}
	u->frame_count = kept - half;
	return kept - half;
}

// The dynamic linker starts in code without tables, which nobody calls: below the first stack pointer
// there is only what it aligned away.
static bool is_first_frame(uint64_t sp)
{
	uint64_t first = inside_stack_first();

	return sp <= first && first - sp < 64;
}

// --- A whole walk, on any stack -------------------------------------------------------------------
// Gathers the codes at the end of u->frames, and says with where what is gathered begins.
struct gathering {
	struct walk walk;
	struct record_frame *first;
};

static bool gather(struct gathering *to, uint64_t code)
{
	if (to->first == to->walk.u->frames + to->walk.u->frame_count)
		return false;
	*--to->first = (struct record_frame){ .code = code };
	return true;
}

enum outcome { WALK_ENDED, WALK_TRUNCATED, WALK_NEEDS_REGISTERS };

static enum outcome walk_by_rules(struct gathering *to, struct record_position at)
{
	while (at.pc) {
		uint32_t rule = record_rules_get(to->walk.u, record_rule_key(at.pc));

		if (record_rule_kind(rule) == RECORD_RULE_OTHER)
			return WALK_NEEDS_REGISTERS;
		if (!gather(to, at.pc))
			return WALK_TRUNCATED;
		if (record_rule_kind(rule) == RECORD_RULE_END)
			return WALK_ENDED;
		if (!step_rarely(&to->walk, rule, &at))
			return is_first_frame(at.sp) ? WALK_ENDED : WALK_TRUNCATED;
	}
	return WALK_ENDED;
}

static bool find_tables(struct record_unwinder *u, uint64_t code)
{
	struct record_cfi_section section;
	uint64_t key = record_rule_key(code);

	return record_modules_find(key, &section) && record_cfi_find(&u->cfi, &section, key);
}

static bool has_caller(const struct record_unwinder *u)
{
	return u->cfi.rows[0].registers[inside_frame.pc].how != RECORD_CFI_UNDEFINED;
}

// The registers of the position, by way of our own frames, which lie inside of it. Failing that, only
// the three that are known.
static void find_registers(struct gathering *to, const struct record_position *at,
                           struct record_registers *ret)
{
	uint64_t *values = ret->values;

	ret->known = inside_registers(values);
	while (values[inside_frame.sp] < at->sp) {
		if (!find_tables(to->walk.u, values[inside_frame.pc]) ||
		    !record_cfi_step(&to->walk.u->cfi, ret, read_anywhere, &to->walk))
			break;
	}
	if (values[inside_frame.sp] == at->sp && values[inside_frame.pc] == at->pc)
		return;
	ret->known = UINT64_C(1) << inside_frame.pc | UINT64_C(1) << inside_frame.sp |
	             UINT64_C(1) << inside_frame.bp;
	values[inside_frame.pc] = at->pc;
	values[inside_frame.sp] = at->sp;
	values[inside_frame.bp] = at->bp;
}

static bool step_signal_registers(struct walk *walk, struct record_registers *registers)
{
	uint64_t context = registers->values[inside_frame.sp] + inside_frame.context;

	for (unsigned i = 0; i < inside_frame.registers; i++)
		if (!read_anywhere(walk, context + inside_frame.saved[i], &registers->values[i]))
			return false;
	registers->known = (UINT64_C(1) << inside_frame.registers) - 1;
	return true;
}

// Where there are no tables: only three registers are known of the caller.
static bool step_rarely_registers(struct walk *walk, uint32_t rule,
                                  struct record_registers *registers)
{
	uint64_t *values = registers->values;
	struct record_position at = { .pc = values[inside_frame.pc],
		                      .sp = values[inside_frame.sp],
		                      .bp = values[inside_frame.bp] };

	if (!(registers->known >> inside_frame.bp & 1) || !step_rarely(walk, rule, &at))
		return false;
	registers->known = UINT64_C(1) << inside_frame.pc | UINT64_C(1) << inside_frame.sp |
	                   UINT64_C(1) << inside_frame.bp;
	values[inside_frame.pc] = at.pc;
	values[inside_frame.sp] = at.sp;
	values[inside_frame.bp] = at.bp;
	return true;
}

static enum outcome walk_by_registers(struct gathering *to, const struct record_position *at)
{
	struct record_unwinder *u = to->walk.u;
	struct record_registers registers = { 0 };
	uint64_t exact = 0;

	find_registers(to, at, &registers);
	while (registers.values[inside_frame.pc] & RECORD_NODE_ADDRESS) {
		uint64_t code = (registers.values[inside_frame.pc] & RECORD_NODE_ADDRESS) | exact;
		uint64_t sp = registers.values[inside_frame.sp];
		uint32_t rule = record_rules_get(u, record_rule_key(code));
		bool stepped;

		if (!gather(to, code))
			return WALK_TRUNCATED;
		exact = record_rule_kind(rule) == RECORD_RULE_SIGNAL ? RECORD_NODE_EXACT : 0;
		if (exact)
			stepped = step_signal_registers(&to->walk, &registers);
		else if (find_tables(u, code)) {
			if (!has_caller(u))
				return WALK_ENDED;
			stepped = record_cfi_step(&u->cfi, &registers, read_anywhere, &to->walk);
		} else
			stepped = step_rarely_registers(&to->walk, rule, &registers);
		if (!stepped || (!exact && registers.values[inside_frame.sp] <= sp))
			return WALK_TRUNCATED;
	}
	return WALK_ENDED;
}

// What is kept stays as it is: it is compared with the memory before it is used. The page of the stack
// pointer is there, since the caller's frame begins on it.
static uint32_t walk_anywhere(struct record_unwinder *u, const struct record_position *at)
{
	struct gathering to = {
		.walk = { .u = u, .looks = true, .page = (at->sp - 1) / PAGE_BYTES },
		.first = u->frames + RECORD_FRAMES
	};
	enum outcome outcome = walk_by_rules(&to, *at);
	uint32_t node = 0;

	if (outcome == WALK_NEEDS_REGISTERS) {
		to.first = u->frames + RECORD_FRAMES;
		outcome = walk_by_registers(&to, at);
	}
	if (outcome == WALK_TRUNCATED) {
		u->truncated++;
		to.first->code |= RECORD_NODE_TRUNCATED;
	}
	for (; to.first < u->frames + RECORD_FRAMES; to.first++)
		node = record_node_child(node, to.first->code);
	return node;
}

// --- The walk -------------------------------------------------------------------------------------
static void forget(struct record_unwinder *u, uint32_t generation)
{
	record_rules_forget(u);
	memset(u->paths, 0, sizeof(u->paths));
	u->frame_count = 0;
	u->generation = generation;
}

// It may have unloaded a module: its last act then is to free its notes of it.
static void left_linker(struct record_unwinder *u)
{
	u->in_linker = false;
	record_modules_changed();
}

// The kept frames that are not inside of where the walk is.
static inline uint32_t meet(const struct record_unwinder *u, uint32_t kept,
                            const struct record_position *at)
{
	while (kept && u->frames[kept - 1].sp < at->sp)
		kept--;
	return kept;
}

// The innermost kept frame is where the walk is, but for the call that it waits for.
static inline void move_on(struct record_unwinder *u, uint32_t kept,
                           const struct record_position *at)
{
	struct record_frame *frame = &u->frames[kept - 1];

	frame->code = at->pc;
	frame->bp = at->bp;
	frame->node = record_node_child(frame[-1].node, at->pc);
}

// The frames are used from both ends. False: the walk ends here.
static bool make_room(struct record_unwinder *u, const struct record_frame *added, uint32_t *kept)
{
	if (added - u->frames > *kept)
		return true;
	if (*kept < RECORD_FRAMES / 2)
		return false;
	*kept = drop_outer_half(u, *kept);
	return true;
}

uint32_t record_unwinder_walk(struct record_unwinder *u, const struct record_position *at)
{
	struct record_frame *added = u->frames + RECORD_FRAMES;
	struct record_position here = { .pc = at->pc, .sp = at->sp, .bp = at->bp };
	uint32_t generation, kept, node, outer, rule = RECORD_RULE_NONE;
	bool met, moved = false;

	if (UNLIKELY(at->pc - record_modules_linker.start < record_modules_linker.bytes))
		u->in_linker = true;
	else if (UNLIKELY(u->in_linker))
		left_linker(u);
	generation = __atomic_load_n(&record_modules_generation, __ATOMIC_RELAXED);
	if (UNLIKELY(u->generation != generation))
		forget(u, generation);
	u->paths_generation = generation - u->in_linker;
	if (UNLIKELY(at->sp < u->low || at->sp >= u->top) && !on_own_stack(u, at->sp))
		return walk_anywhere(u, at);
	kept = unchanged_frames(u, at->sp);
	for (;;) {
		kept = meet(u, kept, &here);
		met = kept && same_place(&u->frames[kept - 1], &here);
		if (met)
			break;
		rule = LIKELY(here.pc) ? record_rules_get(u, record_rule_key(here.pc))
		                       : (uint32_t)RECORD_RULE_END;
		met = kept > 1 && same_step(&u->frames[kept - 1], &here, rule);
		if (met) {
			move_on(u, kept, &here);
			moved = true;
			break;
		}
		if (kept && u->frames[kept - 1].sp == here.sp)
			kept--;
		if (UNLIKELY(!make_room(u, added, &kept))) {
			rule = RECORD_RULE_NONE;
			break;
		}
		added--;
		added->code = here.pc;
		added->sp = here.sp;
		added->bp = here.bp;
		added->rule = rule;
		if (LIKELY(step(u, rule, &here)))
			continue;
		if (rule == RECORD_RULE_NONE && is_first_frame(here.sp))
			added->rule = rule = RECORD_RULE_END;
		if (rule != RECORD_RULE_END && rule != RECORD_RULE_NONE)
			return walk_anywhere(u, at);
		break;
	}
	if (!met) {
		kept = 0;
		if (rule != RECORD_RULE_END) {
			added->code |= RECORD_NODE_TRUNCATED;
			u->truncated++;
		}
	}
	outer = moved || added == u->frames + RECORD_FRAMES ? kept - 2 : kept - 1;
	node = keep_frames(u, kept, (uint32_t)(u->frames + RECORD_FRAMES - added));
	if (LIKELY(outer < kept && !u->in_linker))
		record_paths_keep(u, outer);
	return node;
}

uint32_t record_unwinder_node(struct record_unwinder *u, const struct record_position *at)
{
	return record_paths_node(u, at);
}
