// SPDX-License-Identifier: MIT
// One block: how the program's bytes lie in what the core hands out, the patterns around them, and the
// states that the block's note goes through. A block is the program's while its note says LIVE; who
// clears that bit, by an atomic operation, has it to himself. Called by zone.c inside the gate.
#include "debug/debug_impl.h"

#include <string.h>

#include "os/inside.h"

enum {
	CORE_ALIGNMENT = 16,
	LARGE_ABOVE_BYTES = 15 << 10, // from here on blocks are whole pages
	// A mapping of this size goes back to the system when it is freed: to fill it would only cost
	// the program memory that it never touched.
	FILL_MAX_BYTES = 64 << 20,
};

static size_t align_up(size_t n, size_t alignment)
{
	return (n + alignment - 1) & ~(alignment - 1);
}

static bool is_alone(const void *start)
{
	uint32_t kind = malloc_word_at((uintptr_t)start) >> 8 & 0xff;

	return kind == MALLOC_SPAN || kind == MALLOC_LARGE;
}

static struct malloc_slab *slab_of(const void *start)
{
	uintptr_t slice = (uintptr_t)start >> MALLOC_SLICE_BITS;
	uint64_t leaf = malloc_root[slice >> MALLOC_LEAF_BITS];

	return &((struct malloc_leaf *)leaf)->slabs[slice & (MALLOC_LEAF_SLICES - 1)];
}

bool debug_shape_make(size_t alignment, size_t bytes, struct debug_shape *ret)
{
	size_t edge = debug_settings.edges ? MALLOC_EDGE_BYTES : 0;
	bool guarded = debug_settings.guard_edges_all ||
	               (debug_settings.guard_edges && bytes > LARGE_ABOVE_BYTES);
	size_t around;

	ret->alignment = alignment > CORE_ALIGNMENT ? alignment : CORE_ALIGNMENT;
	ret->flags = debug_settings.edges ? MALLOC_NOTE_EDGES : 0;
	ret->offset = align_up(edge, ret->alignment);
	around = edge;
	if (guarded && debug_settings.protect_prelude) {
		ret->flags |= MALLOC_NOTE_GUARD_BEFORE;
		ret->offset = align_up(debug_page_bytes + edge, ret->alignment);
	}
	if (guarded && debug_settings.protect_postlude) {
		ret->flags |= MALLOC_NOTE_GUARD_BEHIND;
		around += 2 * debug_page_bytes; // the rest of the last page, and the guard
	}
	if (guarded && ret->alignment < debug_page_bytes)
		ret->alignment = debug_page_bytes;
	if (bytes > PTRDIFF_MAX - ret->offset - around)
		return false;
	ret->total_bytes = ret->offset + bytes + edge;
	if (ret->flags & MALLOC_NOTE_GUARD_BEHIND)
		ret->total_bytes = align_up(ret->total_bytes, debug_page_bytes) + debug_page_bytes;
	return true;
}

static void set_plain_place(struct debug_block *block)
{
	uint64_t user = (uintptr_t)block->user, end = user + block->requested_bytes;

	block->place = (struct malloc_place){
		.user = user, .user_end = end, .before = user, .behind = end
	};
}

static const uint32_t edges_and_guards =
	MALLOC_NOTE_EDGES | MALLOC_NOTE_GUARD_BEFORE | MALLOC_NOTE_GUARD_BEHIND;

void debug_block_look(const struct malloc_block *core, struct debug_block *ret)
{
	struct malloc_note *note = core->note;
	uint64_t start = (uintptr_t)core->start;

	ret->core = *core;
	ret->note = note;
	ret->flags = __atomic_load_n(&note->flags, __ATOMIC_ACQUIRE);
	ret->alone = is_alone(core->start);
	ret->requested_bytes = ret->alone ? slab_of(core->start)->requested : note->requested_bytes;
	ret->user = (uint8_t *)start + note->user_offset;
	if (ret->flags & edges_and_guards)
		ret->place = malloc_place_make(start, core->bytes, note->user_offset,
		                               ret->requested_bytes, ret->flags, debug_page_bytes);
	else
		set_plain_place(ret);
}

bool debug_block_at(const void *address, struct debug_block *ret)
{
	struct malloc_block core;

	if (!malloc_block_at(address, &core) || !core.note)
		return false;
	debug_block_look(&core, ret);
	return true;
}

size_t debug_block_usable(const struct debug_block *block)
{
	return malloc_place_usable(&block->place, (uintptr_t)block->core.start, block->core.bytes,
	                           block->flags);
}

// --- patterns -------------------------------------------------------------------------------------
// Words of a pattern, the last one cut off where the stretch ends.
static void fill_words(uint64_t from, uint64_t to, uint32_t word)
{
	uint64_t at = from;

	for (; at + sizeof(debug_bytes) <= to; at += sizeof(debug_bytes))
		*(debug_bytes *)at = debug_twice(word);
	for (; at < to; at++)
		*(uint8_t *)at = (uint8_t)(word >> 8 * ((at - from) & 3));
}

static void put_edges(const struct malloc_place *place)
{
	fill_words(place->before, place->user, MALLOC_EDGE_BEFORE);
	fill_words(place->user_end, place->behind, MALLOC_EDGE_BEHIND);
}

// Guards that the kernel cannot set leave the block as it is: they are a help, not a promise.
static bool forbid(uint64_t page)
{
	if (!inside_guard_install((void *)page, debug_page_bytes))
		return true;
	return !inside_protect((void *)page, debug_page_bytes, INSIDE_NO_ACCESS);
}

static void allow(uint64_t page)
{
	inside_guard_remove((void *)page, debug_page_bytes);
	inside_protect((void *)page, debug_page_bytes, INSIDE_READ_WRITE);
}

static uint32_t put_guards(const struct malloc_place *place, uint32_t flags)
{
	if (flags & MALLOC_NOTE_GUARD_BEFORE && !forbid(place->guard_before_end - debug_page_bytes))
		flags &= ~MALLOC_NOTE_GUARD_BEFORE;
	if (flags & MALLOC_NOTE_GUARD_BEHIND && !forbid(place->guard_behind))
		flags &= ~MALLOC_NOTE_GUARD_BEHIND;
	return flags;
}

static void remove_guards(const struct debug_block *block)
{
	if (block->flags & MALLOC_NOTE_GUARD_BEFORE)
		allow(block->place.guard_before_end - debug_page_bytes);
	if (block->flags & MALLOC_NOTE_GUARD_BEHIND)
		allow(block->place.guard_behind);
}

static int freed_fill(void)
{
	return debug_settings.scribble || debug_settings.edges ? MALLOC_FILL_FREED : 0;
}

static bool fills_freed(void)
{
	return debug_settings.scribble || debug_settings.edges || debug_settings.zero_on_free;
}

// --- states ---------------------------------------------------------------------------------------
// The filling of the block's last life is looked at once nobody else can reach it.
static void close_last_life(const struct malloc_block *core)
{
	struct debug_block block;
	struct debug_damage damage;

	if ((core->note->flags & (MALLOC_NOTE_FILLED | MALLOC_NOTE_REPORTED)) != MALLOC_NOTE_FILLED)
		return;
	debug_block_look(core, &block);
	__atomic_store_n(&core->note->flags, 0, __ATOMIC_SEQ_CST);
	if (debug_damage_filling(&block, &damage))
		debug_damage_report(&damage, true);
}

static void set_requested(const struct malloc_block *core, size_t bytes)
{
	core->note->requested_bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
	if (is_alone(core->start))
		slab_of(core->start)->requested = bytes;
}

static void set_contents(const struct debug_block *block, enum debug_contents contents)
{
	if (contents == DEBUG_CONTENTS_CLEAR)
		memset(block->user, 0, debug_block_usable(block));
	else if (contents == DEBUG_CONTENTS_ANY && debug_settings.pre_scribble)
		memset(block->user, MALLOC_FILL_NEW, debug_block_usable(block));
}

void *debug_block_open(void *start, const struct debug_shape *shape, size_t bytes,
                       enum debug_contents contents)
{
	struct malloc_block core;
	struct debug_block block;
	uint32_t flags;

	if (!malloc_block_at(start, &core) || !core.note)
		return start;
	close_last_life(&core);
	core.note->user_offset = (uint32_t)shape->offset;
	set_requested(&core, bytes);
	block.place = malloc_place_make((uintptr_t)start, core.bytes, core.note->user_offset, bytes,
	                                shape->flags, debug_page_bytes);
	flags = put_guards(&block.place, shape->flags);
	__atomic_store_n(&core.note->flags, flags, __ATOMIC_RELAXED);
	debug_block_look(&core, &block);
	set_contents(&block, contents);
	put_edges(&block.place);
	__atomic_store_n(&core.note->flags, flags | MALLOC_NOTE_LIVE, __ATOMIC_RELEASE);
	return block.user;
}

bool debug_block_claim(const void *user, struct debug_block *ret)
{
	uint32_t flags;

	if (!debug_block_at(user, ret))
		return false;
	flags = ret->flags;
	do {
		if (!(flags & MALLOC_NOTE_LIVE) || ret->user != user)
			return false;
	} while (!__atomic_compare_exchange_n(&ret->note->flags, &flags,
	                                      (flags & ~MALLOC_NOTE_LIVE) | MALLOC_NOTE_FREED, true,
	                                      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	ret->flags = flags;
	return true;
}

void debug_block_unclaim(const struct debug_block *block)
{
	__atomic_store_n(&block->note->flags, block->flags, __ATOMIC_RELEASE);
}

// What is cut off holds old bytes that the program gave up.
static void fill_rest(const struct debug_block *block)
{
	uint8_t *rest = block->user + block->requested_bytes;
	size_t bytes = debug_block_usable(block) - block->requested_bytes;

	if (debug_settings.pre_scribble)
		memset(rest, MALLOC_FILL_NEW, bytes);
	else if (fills_freed())
		memset(rest, freed_fill(), bytes);
}

bool debug_block_refit(struct debug_block *block, size_t bytes)
{
	const uint32_t guards = MALLOC_NOTE_GUARD_BEFORE | MALLOC_NOTE_GUARD_BEHIND;
	size_t behind = block->flags & MALLOC_NOTE_EDGES ? MALLOC_EDGE_BYTES : 0;
	size_t room = block->core.bytes - block->note->user_offset - behind;
	size_t old_bytes = debug_block_usable(block);

	if (block->flags & guards || bytes > room || bytes < room / 2)
		return false;
	set_requested(&block->core, bytes);
	__atomic_store_n(&block->note->flags, block->flags & ~MALLOC_NOTE_LIVE, __ATOMIC_RELAXED);
	debug_block_look(&block->core, block);
	if (bytes < old_bytes)
		fill_rest(block);
	else if (debug_settings.pre_scribble)
		memset(block->user + old_bytes, MALLOC_FILL_NEW, bytes - old_bytes);
	put_edges(&block->place);
	__atomic_store_n(&block->note->flags, block->flags | MALLOC_NOTE_LIVE, __ATOMIC_RELEASE);
	return true;
}

// What a run of pages holds after it went back to the core is the core's matter, so only blocks of
// slabs, and those that are kept back, are marked as filled.
void debug_block_close(struct debug_block *block)
{
	size_t bytes = block->core.bytes;
	bool filled = fills_freed() && bytes <= FILL_MAX_BYTES;
	uint32_t flags = MALLOC_NOTE_FREED;

	block->note->freed_stack = malloc_told_stacks.here;
	remove_guards(block);
	if (filled)
		memset(block->core.start, freed_fill(), bytes);
	if (filled && !block->alone)
		flags |= MALLOC_NOTE_FILLED;
	block->flags = flags;
	if (filled && debug_settings.edges && debug_keep(block))
		return;
	if (block->alone)
		debug_fault_gone(block);
	__atomic_store_n(&block->note->flags, flags, __ATOMIC_RELEASE);
	block->core.zone->free(block->core.zone, block->core.start);
}
