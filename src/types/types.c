// SPDX-License-Identifier: MIT
// The cache of types and the order in which a block's start is shown to the
// recognisers. The cost is per class, not per block: what hangs on a first word
// is looked up in the target once.
#include <string.h>

#include "layout/snapshot.h"
#include "types/types_impl.h"

#define FIRST_SLOTS     1024
#define WINDOW_BYTES    ((size_t)256 << 10)
#define JUMP_BYTES      4096  // read for one block that stands alone
#define NEIGHBOUR_BYTES 65536 // a block this near behind the window continues a walk

// What a snapshot recorded: the types in order of id, and the id of each block.
static void types_recorded(struct types *types)
{
	const struct snapshot_type *v;
	const char *strings;
	size_t bytes, strings_bytes;

	if (target_section(types->target, SNAPSHOT_STRINGS, (const void **)&strings,
	                   &strings_bytes) ||
	    target_section(types->target, SNAPSHOT_TYPES, (const void **)&v, &bytes) ||
	    target_section(types->target, SNAPSHOT_BLOCK_TYPES, (const void **)&types->recorded,
	                   &types->recorded_count))
		return;
	types->recorded_count /= sizeof(*types->recorded);
	for (size_t i = 0; i < bytes / sizeof(*v); i++) {
		struct type *type = arena_alloc(&types->arena, sizeof(*type));
		const uint32_t offsets[] = { v[i].name, v[i].language, v[i].binary };
		const char **texts[] = { &type->name, &type->language, &type->binary };

		for (size_t k = 0; k < 3; k++)
			*texts[k] = offsets[k] < strings_bytes
			                    ? text_printable(&types->arena, strings + offsets[k])
			                    : "";
		vec_push(&types->all, type);
		type->id = (uint32_t)types->all.n;
	}
}

struct error *types_open(struct target *target, const struct heaps *heaps, struct symbols *symbols,
                         struct types **ret)
{
	const struct page_source *pages = target->arena->ar_source;
	struct arena arena;
	struct types *types;

	arena_init(&arena, pages);
	types = arena_alloc(&arena, sizeof(*types));
	types->target = target;
	types->heaps = heaps;
	types->symbols = symbols;
	types->has_python = types_has_python(symbols);
	types->python_minor = types_python_minor(symbols);
	types->cxx_libraries = types_find_cxx_libraries(symbols);
	types->slot_count = FIRST_SLOTS;
	types->slots = arena_array(&arena, FIRST_SLOTS, sizeof(*types->slots));
	types->window_bytes = arena_alloc(&arena, WINDOW_BYTES);
	vec_init(&types->all, pages);
	types->arena = arena;
	types_recorded(types);
	*ret = types;
	return NULL;
}

void types_close(struct types *types)
{
	struct arena arena = types->arena; // types itself lives in it

	vec_deinit(&types->all);
	arena_deinit(&arena);
}

const struct type *const *types_all(const struct types *types, size_t *ret_count)
{
	*ret_count = types->all.n;
	return types->all.v;
}

// --- the cache ----------------------------------------------------------------------------------

static struct type_slot *slot_of(struct type_slot *slots, size_t count, uint64_t key)
{
	size_t i = (size_t)(key * 0x9e3779b97f4a7c15ull >> 20) & (count - 1);

	while (slots[i].key && slots[i].key != key)
		i = (i + 1) & (count - 1);
	return &slots[i];
}

bool types_recall(const struct types *types, uint64_t key, const struct type **ret)
{
	const struct type_slot *slot = slot_of(types->slots, types->slot_count, key);

	*ret = slot->type;
	return slot->key != 0;
}

static void slots_grow(struct types *types)
{
	size_t count = types->slot_count * 2;
	struct type_slot *slots = arena_array(&types->arena, count, sizeof(*slots));

	for (size_t i = 0; i < types->slot_count; i++)
		if (types->slots[i].key)
			*slot_of(slots, count, types->slots[i].key) = types->slots[i];
	types->slots = slots;
	types->slot_count = count;
}

void types_remember(struct types *types, uint64_t key, const struct type *type)
{
	struct type_slot *slot;

	if (types->slots_used * 2 >= types->slot_count)
		slots_grow(types);
	slot = slot_of(types->slots, types->slot_count, key);
	types->slots_used += !slot->key;
	*slot = (struct type_slot){ key, type };
}

const struct type *types_make(struct types *types, const char *name, const char *language,
                              const char *binary)
{
	struct type *type;

	for (size_t i = 0; i < types->all.n; i++) {
		const struct type *old = types->all.v[i];

		if (!strcmp(old->name, name) && !strcmp(old->language, language) &&
		    !strcmp(old->binary, binary))
			return old;
	}
	type = arena_alloc(&types->arena, sizeof(*type));
	type->name = text_printable(&types->arena, name);
	type->language = language;
	type->binary = binary;
	vec_push(&types->all, type);
	type->id = (uint32_t)types->all.n;
	return type;
}

const char *types_binary_at(const struct types *types, uint64_t address)
{
	const struct symbols_module *module = symbols_module_at(types->symbols, address);

	return module ? module->name : "";
}

// --- the start of a block -----------------------------------------------------------------------

// Blocks are asked for in address order or one by one: a window serves both with few reads.
static bool window_holds(struct types *types, uint64_t address, size_t n)
{
	bool walking = address >= types->window &&
	               address - types->window < types->window_used + NEIGHBOUR_BYTES;

	if (address >= types->window && address - types->window + n <= types->window_used)
		return true;
	types->window = address;
	types->window_used = target_read_some(types->target, address, types->window_bytes,
	                                      walking ? WINDOW_BYTES : JUMP_BYTES);
	return types->window_used >= n;
}

static uint64_t word_load(const struct target *target, const uint8_t *bytes)
{
	uint64_t word;
	uint32_t half;

	if (target->word_bytes == 8) {
		memcpy(&word, bytes, sizeof(word));
		return target->big_endian ? __builtin_bswap64(word) : word;
	}
	memcpy(&half, bytes, sizeof(half));
	return target->big_endian ? __builtin_bswap32(half) : half;
}

static size_t head_read(struct types *types, const struct heap_block *block,
                        uint64_t words[TYPES_HEAD_WORDS])
{
	size_t width = types->target->word_bytes;
	size_t count = block->hb_size / width;

	if (count > TYPES_HEAD_WORDS)
		count = TYPES_HEAD_WORDS;
	if (!count || !window_holds(types, block->hb_address, count * width))
		return 0;
	for (size_t i = 0; i < count; i++)
		words[i] = word_load(types->target, types->window_bytes +
		                                            (block->hb_address - types->window) +
		                                            i * width);
	return count;
}

static const struct type *recorded_type(const struct types *types, uint32_t block)
{
	uint32_t id = block < types->recorded_count ? types->recorded[block] : 0;

	return id && id <= types->all.n ? types->all.v[id - 1] : NULL;
}

const struct type *types_of(struct types *types, uint32_t block)
{
	const struct heap_block *b = &types->heaps->blocks[block];
	uint64_t words[TYPES_HEAD_WORDS];
	size_t count;
	const struct type *type;

	if (b->hb_state != HEAP_USED)
		return NULL;
	if (types->recorded)
		return recorded_type(types, block);
	count = head_read(types, b, words);
	type = types_vtable(types, words, count, b->hb_size);
	return type || !types->has_python ? type : types_python(types, words, count);
}
