// SPDX-License-Identifier: MIT
// First words of freed blocks that point into a module: a vtable, a class. They are few; the table is
// bounded, and what comes after it is full has no type. Called by stream.c.
#include "collect/collect_impl.h"

#define HASH_FACTOR UINT64_C(0x9e3779b97f4a7c15)

static const size_t table_bytes = COLLECT_TYPE_SLOTS * sizeof(struct collect_type_slot);

struct error *collect_types_init(struct collect_types *types)
{
	*types = (struct collect_types){ .slots = os_reserve(table_bytes) };
	return types->slots ? NULL : &error_out_of_memory;
}

void collect_types_deinit(struct collect_types *types)
{
	os_release(types->slots, table_bytes);
}

uint32_t collect_types_of(struct collect_types *types, const struct collect_modules *modules,
                          uint64_t word, struct collect_pack *pack)
{
	size_t at = word * HASH_FACTOR >> 47;
	struct collect_type_slot *slot;

	_Static_assert(COLLECT_TYPE_SLOTS == 1 << (64 - 47), "the hash gives a slot");
	if (word % 8 || !word)
		return LOG_TYPE_NONE;
	for (; (slot = &types->slots[at])->word; at = (at + 1) % COLLECT_TYPE_SLOTS)
		if (slot->word == word)
			return slot->type;
	if (types->count == COLLECT_TYPES || !collect_modules_hold(modules, word))
		return LOG_TYPE_NONE;
	slot->word = word;
	slot->type = ++types->count;
	vec_push(&pack->types, word);
	return slot->type;
}
