// SPDX-License-Identifier: MIT
// What the recorder is told of blocks, and the nodes of their stacks: an array beside each slab, a
// field of each span and large block. Called by entry and by the functions of zones while something is
// recorded, and by message.c, which says who allocated and freed what a message is about.
#include "malloc/malloc_impl.h"

#include <string.h>

enum { FRAMES_TOLD = 16 };

struct record_hooks malloc_hooks; // emptied at any time
#define HOOK(name) __atomic_load_n(&malloc_hooks.name, __ATOMIC_RELAXED)

uint32_t *(*malloc_stack_elsewhere)(const void *block);
bool malloc_stack_of_frees, malloc_stack_of_some, malloc_told_before;
__thread struct malloc_told_stacks malloc_told_stacks;

void malloc_keep_stacks(void)
{
	malloc_settings.features |= MALLOC_FEATURE_STACKS;
	heapwright_malloc.features |= MALLOC_FEATURE_STACKS;
}

static uint32_t *big_stack_of(const void *address)
{
	struct malloc_block block;

	if (!malloc_block_at(address, &block))
		return NULL;
	return &slice_slab(address_slice((uintptr_t)block.start))->stack;
}

// With edges the program's block starts within a block of the core.
static uint32_t *stack_of(const void *address)
{
	struct place place = malloc_place_of(address);
	uint32_t word = malloc_word_at((uintptr_t)address);
	uint32_t *stacks;

	if (place.kind == PLACE_NONE)
		return malloc_stack_elsewhere ? malloc_stack_elsewhere(address) : NULL;
	if (!word_is_slab(word))
		return place.kind == PLACE_BIG ? &place.slab->stack : big_stack_of(address);
	stacks = (uint32_t *)place.slab->stacks;
	return stacks && place.index < place.slab->block_count ? &stacks[place.index] : NULL;
}

// The same for most blocks, in fewer steps.
static inline uint32_t *slab_stack_of(uintptr_t address)
{
	uint32_t word = malloc_word_at(address), slice = address_slice(address), index;
	const struct malloc_slab *slab;

	if (unlikely(!word_is_slab(word) || !malloc_core_zones[word >> 16]))
		return stack_of((const void *)address);
	slice -= word_kind(word) & 0xf;
	slab = slice_slab(slice);
	index = class_index(word & 0xff, (uint32_t)(address - slice_address(slice)));
	if (unlikely(!slab->stacks || index >= slab->block_count))
		return NULL;
	return (uint32_t *)slab->stacks + index;
}

void malloc_record_new(uint32_t kind, void *block, size_t bytes, uint32_t extra,
                       const struct record_position *at)
{
	__typeof__(malloc_hooks.allocated) told = HOOK(allocated);
	uint32_t *stack;
	uint32_t node;

	if (!block || !told || malloc_get_thread_options().DisableMallocStackLogging)
		return;
	node = told(kind, (uintptr_t)block, bytes, extra, at);
	// A recorder that comes and goes has numbers of its own.
	stack = malloc_settings.features & MALLOC_FEATURE_STACKS ? slab_stack_of((uintptr_t)block)
	                                                         : NULL;
	if (stack)
		__atomic_store_n(stack, node, __ATOMIC_RELAXED);
}

static void forget_stack(const void *block)
{
	uint32_t *stack = stack_of(block);

	if (stack)
		__atomic_store_n(stack, 0, __ATOMIC_RELAXED);
}

// Of other zones' blocks nobody knows whether their first word can be read.
void malloc_record_free(uint32_t kind, void *block, const struct record_position *at)
{
	__typeof__(malloc_hooks.stack) stack = HOOK(stack);
	__typeof__(malloc_hooks.freed) freed = HOOK(freed);
	__typeof__(malloc_hooks.called) called = HOOK(called);

	if (malloc_stack_of_frees && stack && malloc_settings.features & MALLOC_FEATURE_STACKS)
		malloc_told_stacks.here = stack(at);
	if (!block || !freed || malloc_get_thread_options().DisableMallocStackLogging)
		return;
	if (malloc_stack_of_some)
		forget_stack(block);
	if (malloc_word_at((uintptr_t)block) != MALLOC_NONE)
		freed(kind, (uintptr_t)block, at);
	else if (called)
		called(kind, (uintptr_t)block, 0, 0, NULL, at);
}

uint32_t malloc_stack_of(const void *block)
{
	uint32_t *stack = stack_of(block);

	return stack ? __atomic_load_n(stack, __ATOMIC_RELAXED) : 0;
}

// --- in messages ----------------------------------------------------------------------------------
static const struct record_node *node_at(uint32_t node)
{
	const struct record_header *header = (const void *)heapwright_malloc.record;

	if (!header || !node || node >= header->node_capacity)
		return NULL;
	return (const struct record_node *)((const char *)header + header->nodes_offset) + node;
}

static void print_frame(uint64_t code)
{
	struct inside_module module;
	const char *slash;

	if (!inside_module_at(code, &module)) {
		malloc_print("    %p\n", (void *)code);
		return;
	}
	slash = strrchr(module.path, '/');
	malloc_print("    %p (%s+0x%lx)\n", (void *)code, slash ? slash + 1 : module.path,
	             module.offset);
}

static void print_stack(const char *title, uint32_t node)
{
	const struct record_node *frame = node_at(node);
	unsigned n = 0;

	if (frame)
		malloc_print("%s\n", title);
	for (; frame && frame->code; frame = node_at(frame->parent)) {
		if (n++ == FRAMES_TOLD) {
			malloc_print("    ...\n");
			return;
		}
		print_frame(frame->code & RECORD_NODE_ADDRESS);
	}
}

void malloc_stacks_print(void)
{
	struct malloc_told_stacks told = malloc_told_stacks;

	malloc_told_stacks = (struct malloc_told_stacks){ 0 };
	print_stack("This call came from:", told.here);
	print_stack("The block was allocated from:", told.allocated);
	print_stack("The block was freed from:", told.freed);
}
