// SPDX-License-Identifier: MIT
// What the files of debug share. A block here is what the core handed out; user is where the
// program's bytes start in it.
#pragma once

#include "debug/debug.h"

extern struct debug_settings debug_settings; // as given to debug_start; read only

extern size_t debug_page_bytes;

// Eight bytes at any address, without a call: memcpy is one here.
typedef uint64_t debug_bytes __attribute__((aligned(1), may_alias));

static inline uint64_t debug_twice(uint32_t word)
{
	return (uint64_t)word << 32 | word;
}

struct debug_zone {
	malloc_zone_t zone; // first: what the program sees; then core, as in struct malloc_wrapper
	malloc_zone_t *core;
	malloc_introspection_t introspection;
	struct debug_zone *next; // of those that may be used again
};

static inline malloc_zone_t *debug_zone_core(malloc_zone_t *zone)
{
	return ((struct debug_zone *)zone)->core;
}

// --- gate.c ---------------------------------------------------------------------------------------
// Calls that change blocks run between enter and leave, any number at once, also nested.
void debug_gate_enter(void);
void debug_gate_leave(void);
bool debug_gate_inside(void); // the calling thread is
// Whether the thread is inside more than once: then it may hold a lock of this room already.
bool debug_gate_nested(void);
// Waits until nobody is inside and keeps all out. False when that took too long or when the calling
// thread is inside itself; then nothing is closed. The thread takes no signals until it opens the gate.
bool debug_gate_close(void);
void debug_gate_open(void);
// In the child of a fork, where only one thread is left; closed_it: it had closed the gate.
void debug_gate_reset(bool closed_it);

// --- debug.c --------------------------------------------------------------------------------------
void debug_zone_release(struct debug_zone *zone); // what debug_zone_wrap made

// --- zone.c ---------------------------------------------------------------------------------------
void debug_zone_functions(struct debug_zone *zone); // fills the table of zone->zone

// --- block.c --------------------------------------------------------------------------------------
// A block as the features need it, from the core's answer and the note.
struct debug_block {
	struct malloc_block core;
	struct malloc_note *note;
	struct malloc_place place; // as the note says
	uint8_t *user;             // place.user
	size_t requested_bytes;
	uint32_t flags; // of the note, at the moment of looking
	bool alone;     // in slices of its own, whose descriptor keeps the requested size
};

// Where the program's bytes lie in a new block.
struct debug_shape {
	size_t total_bytes, alignment; // to ask the core for
	size_t offset;                 // of the program's bytes
	uint32_t flags;                // MALLOC_NOTE_EDGES, _GUARD_BEFORE, _GUARD_BEHIND
};

// False when the sum overflows.
bool debug_shape_make(size_t alignment, size_t bytes, struct debug_shape *ret);

// The block of a core zone that holds the address; false when there is none or it has no note.
bool debug_block_at(const void *address, struct debug_block *ret);
// The same from a note that was found otherwise.
void debug_block_look(const struct malloc_block *core, struct debug_block *ret);

// Usable bytes for the program.
size_t debug_block_usable(const struct debug_block *block);

// A block that the core just handed out becomes the program's.
enum debug_contents {
	DEBUG_CONTENTS_ANY,
	DEBUG_CONTENTS_ZERO,  // is zero already
	DEBUG_CONTENTS_CLEAR, // to be set to zero
};
void *debug_block_open(void *start, const struct debug_shape *shape, size_t bytes,
                       enum debug_contents contents);
// Takes the block that starts at user from the program; false when it does not own it (any more).
// Exactly one of several that try at once gets it, and then does one of the next three.
bool debug_block_claim(const void *user, struct debug_block *ret);
void debug_block_unclaim(const struct debug_block *block);
// It gets another size at its place and is the program's again; false when it does not fit well.
bool debug_block_refit(struct debug_block *block, size_t bytes);
// It is filled and given back to the core, or kept from it.
void debug_block_close(struct debug_block *block);

// --- damage.c -------------------------------------------------------------------------------------
// What was overwritten in or around a block.
struct debug_damage {
	struct malloc_note *note;
	const uint8_t *user;
	size_t requested_bytes;
	const uint8_t *at; // first byte that is not as it was set
	size_t count;      // from there to the last one
	size_t found_count;
	uint8_t found[16]; // what lies there now, the first found_count bytes
	char kind;         // '<' before the block, '>' behind it, '!' in it after it was freed
};

// Looks at one edge, or at the filling of a free block; true when it is damaged.
bool debug_damage_before(const struct debug_block *block, struct debug_damage *ret);
bool debug_damage_behind(const struct debug_block *block, struct debug_damage *ret);
bool debug_damage_filling(const struct debug_block *block, struct debug_damage *ret);
// Says so, and notes that it was said; fault: by malloc_fault, otherwise by a message only. Damage of a
// block whose flags say REPORTED was told before.
void debug_damage_report(const struct debug_damage *damage, bool fault);

// --- fault.c --------------------------------------------------------------------------------------
enum debug_use {
	DEBUG_USE_FREE,
	DEBUG_USE_REALLOC,
};

// Says what is wrong with a pointer that could not be claimed.
void debug_fault_pointer(const void *user, enum debug_use use);
// A block of whole pages goes back to the core, and its note with it.
void debug_fault_gone(const struct debug_block *block);

// --- keep.c ---------------------------------------------------------------------------------------
// A filled block is kept back; the oldest ones go to the core when the budget is full. False when this
// block is too large for it.
bool debug_keep(const struct debug_block *block);
bool debug_keep_give_back(void); // all of them, when memory is short; false when there were none
void debug_keep_forget(malloc_zone_t *core); // before the zone is destroyed
void debug_keep_child(void);                 // after a fork

// --- walk.c ---------------------------------------------------------------------------------------
// Calls each for every block with a note that is live or filled, until it returns false, while the
// heap stands still. each must not allocate, nor end the program. False when it could not be stopped.
bool debug_walk(bool (*each)(void *context, const struct debug_block *block), void *context);

// --- check.c --------------------------------------------------------------------------------------
void debug_check_operation(void); // at the start of each call of malloc
bool debug_check_all(void);       // on demand; reports what it finds
void debug_check_child(void);     // after a fork

// --- crash.c --------------------------------------------------------------------------------------
void debug_crash_start(void);
