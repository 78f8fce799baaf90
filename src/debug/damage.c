// SPDX-License-Identifier: MIT
// What was overwritten: a look at the edges of a block and at the filling of a free one, and the
// words for it. Called by block.c, keep.c and check.c.
#include "debug/debug_impl.h"

#include <string.h>

// Whether the words of a pattern are all there, from the start of the stretch on.
static bool holds(uint64_t from, uint64_t to, uint32_t word)
{
	uint64_t at = from;

	for (; at + sizeof(debug_bytes) <= to; at += sizeof(debug_bytes))
		if (*(const debug_bytes *)at != debug_twice(word))
			return false;
	for (; at < to; at++)
		if (*(const uint8_t *)at != (uint8_t)(word >> 8 * ((at - from) & 3)))
			return false;
	return true;
}

// The first and the last byte that is not as it was set.
static bool compare(uint64_t from, uint64_t to, uint32_t word, struct debug_damage *ret)
{
	const uint8_t *first = NULL, *last = NULL;

	if (holds(from, to, word))
		return false;
	for (uint64_t at = from; at < to; at++) {
		const uint8_t *byte = (const uint8_t *)at;

		if (*byte == (uint8_t)(word >> 8 * ((at - from) & 3)))
			continue;
		first = first ? first : byte;
		last = byte;
	}
	if (!first) // somebody put it right in between
		return false;
	ret->at = first;
	ret->count = (size_t)(last - first) + 1;
	ret->found_count = ret->count < sizeof(ret->found) ? ret->count : sizeof(ret->found);
	memcpy(ret->found, first, ret->found_count);
	return true;
}

static void name_block(const struct debug_block *block, char kind, struct debug_damage *ret)
{
	ret->note = block->note;
	ret->user = block->user;
	ret->requested_bytes = block->requested_bytes;
	ret->kind = kind;
}

bool debug_damage_before(const struct debug_block *block, struct debug_damage *ret)
{
	const struct malloc_place *place = &block->place;

	name_block(block, '<', ret);
	return compare(place->before, place->user, MALLOC_EDGE_BEFORE, ret);
}

bool debug_damage_behind(const struct debug_block *block, struct debug_damage *ret)
{
	const struct malloc_place *place = &block->place;

	name_block(block, '>', ret);
	return compare(place->user_end, place->behind, MALLOC_EDGE_BEHIND, ret);
}

bool debug_damage_filling(const struct debug_block *block, struct debug_damage *ret)
{
	bool scribbled = debug_settings.scribble || debug_settings.edges;
	uint8_t fill = scribbled ? MALLOC_FILL_FREED : 0;
	uint64_t start = (uintptr_t)block->core.start;

	name_block(block, '!', ret);
	return compare(start, start + block->core.bytes, 0x01010101u * fill, ret);
}

// "41 42 43", with dots when there is more.
static void put_bytes(const struct debug_damage *damage, char text[64])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < damage->found_count; i++) {
		*text++ = digits[damage->found[i] >> 4];
		*text++ = digits[damage->found[i] & 15];
		*text++ = ' ';
	}
	if (damage->count > damage->found_count)
		for (unsigned i = 0; i < 4; i++)
			*text++ = '.';
	text[-1] = '\0';
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void say(bool fault, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(bool fault, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	malloc_format(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (fault)
		malloc_fault(MALLOC_FAULT_CORRUPTION, "%s", text);
	else
		malloc_message("%s", text);
}

static void say_freed(const struct debug_damage *damage, const char *bytes, bool fault)
{
	uint64_t value = 0;

	memcpy(&value, damage->found,
	       damage->count < sizeof(value) ? damage->count : sizeof(value));
	say(fault,
	    "*** error for object %p: Incorrect contents of freed object: probably modified after "
	    "being freed.\nCorrupt value: 0x%lx at %p, in a freed block of %zu bytes (%zu byte%s: %s)",
	    (const void *)damage->user, value, (const void *)damage->at, damage->requested_bytes,
	    damage->count, plural(damage->count), bytes);
}

void debug_damage_report(const struct debug_damage *damage, bool fault)
{
	char bytes[64];

	__atomic_fetch_or(&damage->note->flags, MALLOC_NOTE_REPORTED, __ATOMIC_RELAXED);
	put_bytes(damage, bytes);
	if (damage->kind == '!')
		say_freed(damage, bytes, fault);
	else if (damage->kind == '>')
		say(fault,
		    "*** error for object %p: overrun: the memory behind this block of %zu bytes was "
		    "overwritten.\n> %zu byte%s at %p, %zu bytes behind its end: %s",
		    (const void *)damage->user, damage->requested_bytes, damage->count,
		    plural(damage->count), (const void *)damage->at,
		    (size_t)(damage->at - damage->user) - damage->requested_bytes, bytes);
	else
		say(fault,
		    "*** error for object %p: underrun: the memory before this block of %zu bytes was "
		    "overwritten.\n< %zu byte%s at %p, %zu bytes before its start: %s",
		    (const void *)damage->user, damage->requested_bytes, damage->count,
		    plural(damage->count), (const void *)damage->at,
		    (size_t)(damage->user - damage->at), bytes);
}
