// SPDX-License-Identifier: MIT
// Ways that the walk of this thread went before, from where a call came to a frame that is kept: when all
// words that it used then are unchanged, it leads there again, to the same node. Used by unwind.c, in
// front of the walk.
//
// A path is found by the place where it begins. Its words are those between that and the kept frame;
// the words outside are the kept frame's. Of a stack that is not deep it has all words, and needs no frame.
// Nothing is written when a path is taken, and what is kept stays
// as it is, so that a program that goes back and forth between some places below one frame has its stacks
// by comparisons that do not wait for each other.
#pragma once

#include "record/unwind.h"

static inline uint64_t record_word_at(uint64_t address)
{
	uint64_t value;

	// The plain function is a call here: the room is built with -fno-builtin.
	__builtin_memcpy(&value, (const void *)(uintptr_t)address, sizeof(value));
	return value;
}

static inline uint64_t record_word_changed(const struct record_word *word)
{
	return record_word_at(word->slot) ^ word->value;
}

// Whether all have their value. Four at a time, the last four twice where that does not fit: no branch but
// one depends on their number.
static inline bool record_words_unchanged(const struct record_word *words, uint32_t count)
{
	uint64_t changed = 0;

	if (count < 4) {
		for (uint32_t i = 0; i < count; i++)
			changed |= record_word_changed(&words[i]);
		return !changed;
	}
	for (uint32_t i = 0; i < count; i += 4) {
		const struct record_word *four = words + (i + 4 <= count ? i : count - 4);

		changed |= record_word_changed(&four[0]) | record_word_changed(&four[1]) |
		           record_word_changed(&four[2]) | record_word_changed(&four[3]);
	}
	return !changed;
}

static inline struct record_paths *record_paths_at(struct record_unwinder *u, uint64_t pc,
                                                   uint64_t sp)
{
	uint64_t hash = (pc ^ sp << 24) * UINT64_C(0x9e3779b97f4a7c15);

	return &u->paths[hash >> (64 - RECORD_PATHS_BITS)];
}

static inline bool record_path_goes(const struct record_path *path,
                                    const struct record_position *at)
{
	uint64_t changed = (path->bp ^ at->bp) & path->bp_mask;

	for (uint32_t i = 0; i < path->count; i += RECORD_PATH_STEP) {
		const struct record_word *four = &path->words[i];

		changed |= record_word_changed(&four[0]) | record_word_changed(&four[1]) |
		           record_word_changed(&four[2]) | record_word_changed(&four[3]);
	}
	return !changed;
}

// The kept frame is the one to which the path led, and where it was.
static inline bool record_path_ends(const struct record_path *path, const struct record_unwinder *u)
{
	const struct record_frame *outer;
	uint64_t changed;

	if (path->outer == RECORD_PATH_WHOLE)
		return true;
	outer = &u->frames[path->outer];
	changed = (outer->sp ^ path->outer_sp) | (outer->node ^ path->outer_node) |
	          (outer->words ^ path->outer_words) |
	          ((outer->bp ^ path->outer_bp) & path->outer_bp_mask);
	return !changed && path->outer < u->frame_count &&
	       record_words_unchanged(u->words, outer->words >> 1);
}

// 0: no path is known.
static inline uint32_t record_paths_take(struct record_unwinder *u,
                                         const struct record_position *at)
{
	const struct record_paths *set = record_paths_at(u, at->pc, at->sp);

	for (unsigned i = 0; i < RECORD_PATHS_WAYS; i++)
		if (set->begin[i].sp == at->sp && set->begin[i].pc == at->pc &&
		    record_path_goes(&set->paths[i], at))
			return record_path_ends(&set->paths[i], u) ? set->paths[i].node : 0;
	return 0;
}

// As record_unwinder_node. What lies on the thread's own stack is looked for among the paths first. None
// begins in the dynamic linker, whose calls the walker must see.
static inline uint32_t record_paths_node(struct record_unwinder *u,
                                         const struct record_position *at)
{
	uint32_t generation = __atomic_load_n(&record_modules_generation, __ATOMIC_RELAXED);
	uint32_t node = 0;

	if (__builtin_expect(
		    u->paths_generation == generation && at->sp >= u->low && at->sp < u->top, 1))
		node = record_paths_take(u, at);
	return __builtin_expect(node != 0, 1) ? node : record_unwinder_walk(u, at);
}

static inline uint64_t record_frame_bp_mask(const struct record_frame *frame)
{
	return frame->words & RECORD_FRAME_BP_MATTERS ? UINT64_MAX : 0;
}

static inline void record_path_lead(struct record_path *path, const struct record_unwinder *u,
                                    uint32_t outer)
{
	const struct record_frame *to = &u->frames[outer];

	path->outer = outer;
	path->outer_sp = to->sp;
	path->outer_bp = to->bp;
	path->outer_bp_mask = record_frame_bp_mask(to);
	path->outer_node = to->node;
	path->outer_words = to->words;
}

// The last step is filled up with the first word.
static inline void record_path_fill(struct record_path *path, const struct record_word *words,
                                    uint32_t count)
{
	path->count = (count + RECORD_PATH_STEP - 1) & -(uint32_t)RECORD_PATH_STEP;
	for (uint32_t i = 0; i < path->count; i++) {
		const struct record_word *word = &words[i < count ? i : 0];

		path->words[i].slot = word->slot;
		path->words[i].value = word->value;
	}
}

// Keeps the way from the innermost kept frame to the end of the stack or to another one outside of it,
// unless it has too many words.
static inline void record_paths_keep(struct record_unwinder *u, uint32_t outer)
{
	const struct record_frame *from = &u->frames[u->frame_count - 1];
	uint32_t all = from->words >> 1;
	uint32_t first = all <= RECORD_PATH_WORDS ? 0 : u->frames[outer].words >> 1;
	struct record_paths *set = record_paths_at(u, from->code, from->sp);
	unsigned way = u->path_next++ % RECORD_PATHS_WAYS;
	struct record_path *path = &set->paths[way];

	if (all - first > RECORD_PATH_WORDS)
		return;
	set->begin[way].sp = 0; // a handler may leave this by a jump
	__asm__ volatile("" ::: "memory");
	set->begin[way].pc = from->code;
	path->bp = from->bp;
	path->bp_mask = record_frame_bp_mask(from);
	path->node = from->node;
	path->outer = RECORD_PATH_WHOLE;
	if (first)
		record_path_lead(path, u, outer);
	record_path_fill(path, &u->words[first], all - first);
	__asm__ volatile("" ::: "memory");
	set->begin[way].sp = from->sp;
}
