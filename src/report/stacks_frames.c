// SPDX-License-Identifier: MIT
// The frames of a stack with their names, each code address being named once. Called by stacks.c.
#include "report/stacks_impl.h"

#define MOST_INLINED      32
#define FIRST_PLACE_COUNT 256

// The functions at a code address: more than one where some were inlined, the innermost first.
struct place {
	struct heap_frame at; // code 0: empty
	const struct history_frame *frames;
	uint32_t count;
};

// Open addressing; count is a power of two.
struct stack_places {
	struct place *v;
	size_t n, count;
};

static struct place *place_slot(const struct stack_places *places, struct heap_frame at)
{
	size_t i = (size_t)((at.code + at.is_return) * 0x9e3779b97f4a7c15u >> 32);

	for (i &= places->count - 1; places->v[i].at.code; i = (i + 1) & (places->count - 1))
		if (places->v[i].at.code == at.code && places->v[i].at.is_return == at.is_return)
			break;
	return &places->v[i];
}

static void places_grow(struct look *look)
{
	struct stack_places old = *look->places;

	look->places->count = old.count ? old.count * 2 : FIRST_PLACE_COUNT;
	look->places->v = arena_array(look->arena, look->places->count, sizeof(*old.v));
	for (size_t i = 0; i < old.count; i++)
		if (old.v[i].at.code)
			*place_slot(look->places, old.v[i].at) = old.v[i];
}

// The call stands before the address that it returns to.
static struct place name_place(struct look *look, struct heap_frame at)
{
	struct symbols_name names[MOST_INLINED];
	size_t count = symbols_names_at(look->symbols, at.code - at.is_return, names, MOST_INLINED);
	struct history_frame *frames = arena_array(look->arena, count, sizeof(*frames));

	for (size_t i = 0; i < count; i++)
		frames[i] = history_frame_named(at.code, at.is_return, &names[i], i + 1 < count);
	return (struct place){ at, frames, (uint32_t)count };
}

static const struct place *place_of(struct look *look, struct heap_frame at)
{
	struct place *slot;

	if (!look->places)
		look->places = arena_alloc(look->arena, sizeof(*look->places));
	if (look->places->n * 2 >= look->places->count)
		places_grow(look);
	slot = place_slot(look->places, at);
	if (!slot->at.code) {
		look->places->n++;
		*slot = name_place(look, at);
	}
	return slot;
}

size_t stacks_codes(const struct look *look, uint32_t node, struct heap_frame *codes, size_t most,
                    bool *ret_truncated)
{
	if (node & STACK_OF_LOG)
		return stack_log_frames(look, node, codes, most, ret_truncated);
	return heaps_frames(look->heaps, node, codes, most, ret_truncated);
}

void stack_read(struct look *look, uint32_t node, struct arena *arena, struct stack *ret)
{
	struct heap_frame codes[STACK_FRAMES_MAX];
	bool truncated = false;
	size_t count = stacks_codes(look, node, codes, STACK_FRAMES_MAX, &truncated), total = 0,
	       n = 0;
	const struct history_frame **frames;

	while (n < count && codes[n].code)
		total += place_of(look, codes[n++])->count;
	count = n;
	frames = arena_array(arena, total, sizeof(*frames));
	n = 0;
	for (size_t i = 0; i < count; i++) {
		const struct place *place = place_of(look, codes[i]);

		for (uint32_t k = 0; k < place->count; k++)
			frames[n++] = &place->frames[k];
	}
	if (truncated && n) {
		struct history_frame *last = arena_alloc(arena, sizeof(*last));

		*last = *frames[n - 1];
		last->truncated = true;
		frames[n - 1] = last;
	}
	*ret = (struct stack){ frames, n };
}
