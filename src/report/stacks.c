// SPDX-License-Identifier: MIT
// The stacks that allocated blocks: names, and their print (stacks.h). Called by the reports of leaks,
// heap and vmmap.
#include "report/stacks_impl.h"

#include <fnmatch.h>
#include <string.h>

#include "os/os.h"
#include "report/frames.h"

bool stacks_known(struct look *look)
{
	const struct heaps *heaps = look->heaps;

	if (!heaps) // not opened that deep
		return false;
	if (!heaps->stack_count && !heaps->mapped_count && heaps->recorder)
		stack_log_open(look);
	return look->stack_log || heaps->stack_count || heaps->mapped_count;
}

// What the recorder keeps in memory is newer than what it has written.
uint32_t stacks_node(struct look *look, uint32_t block)
{
	if (!stacks_known(look))
		return 0;
	return look->heaps->stack_count || !look->stack_log
	               ? heaps_stack(look->heaps, block)
	               : stack_log_node(look, &look->heaps->blocks[block]);
}

// In memory it keeps none of mappings.
uint32_t stacks_mapping_node(struct look *look, uint64_t address)
{
	if (!stacks_known(look))
		return 0;
	if (look->heaps->recorder && !look->heaps->mapped_count)
		stack_log_open(look);
	return look->stack_log ? stack_log_mapping_node(look, address)
	                       : heaps_mapping_stack(look->heaps, address);
}

// --- who called -----------------------------------------------------------------------------------
// The answers so far: two tables with open addressing, of as many slots as there may be answers twice.
struct stack_callers {
	struct caller {
		uint32_t node; // 0 empty
		const char *text;
	} * by_node;
	const char **texts; // each text once, by its hash
	size_t n, count;    // count is a power of two
};

static struct caller *caller_slot(const struct stack_callers *callers, uint32_t node)
{
	size_t i = node * 0x9e3779b1u & (callers->count - 1);

	while (callers->by_node[i].node && callers->by_node[i].node != node)
		i = (i + 1) & (callers->count - 1);
	return &callers->by_node[i];
}

static const char **text_slot(const struct stack_callers *callers, const char *text)
{
	size_t i = 5381;

	for (const char *at = text; *at; at++)
		i = i * 33 + (unsigned char)*at;
	i &= callers->count - 1;
	while (callers->texts[i] && strcmp(callers->texts[i], text) != 0)
		i = (i + 1) & (callers->count - 1);
	return &callers->texts[i];
}

static void callers_grow(struct look *look)
{
	struct stack_callers old = *look->callers, *callers = look->callers;

	callers->count = old.count ? old.count * 2 : 256;
	callers->by_node = arena_array(look->arena, callers->count, sizeof(*callers->by_node));
	callers->texts = arena_array(look->arena, callers->count, sizeof(*callers->texts));
	for (size_t i = 0; i < old.count; i++) {
		if (old.by_node[i].node)
			*caller_slot(callers, old.by_node[i].node) = old.by_node[i];
		if (old.texts[i])
			*text_slot(callers, old.texts[i]) = old.texts[i];
	}
}

static const char *find_caller(struct look *look, uint32_t node)
{
	struct arena scratch;
	struct stack stack;
	const char **slot;
	const char *text;

	arena_init(&scratch, &os_page_source);
	stack_read(look, node, &scratch, &stack);
	text = frame_caller(stack.frames, stack.n, look->arena);
	arena_deinit(&scratch);
	if (!text)
		return NULL;
	text = arena_format(look->arena, "malloc in %s", text);
	slot = text_slot(look->callers, text);
	if (!*slot)
		*slot = text;
	return *slot;
}

const char *stacks_name(struct look *look, uint32_t node)
{
	struct caller *slot;

	if (!node)
		return NULL;
	if (!look->callers)
		look->callers = arena_alloc(look->arena, sizeof(*look->callers));
	if (look->callers->n * 2 >= look->callers->count)
		callers_grow(look);
	slot = caller_slot(look->callers, node);
	if (!slot->node) {
		look->callers->n++;
		*slot = (struct caller){ node, find_caller(look, node) };
	}
	return slot->text;
}

const char *stacks_block_name(struct look *look, uint32_t block)
{
	return stacks_known(look) ? stacks_name(look, stacks_node(look, block)) : NULL;
}

bool stacks_match(struct look *look, uint32_t node, const char *pattern)
{
	struct arena scratch;
	struct stack stack;
	bool found = false;

	arena_init(&scratch, &os_page_source);
	stack_read(look, node, &scratch, &stack);
	for (size_t i = 0; i < stack.n && !found; i++)
		found = stack.frames[i]->function &&
		        !fnmatch(pattern, stack.frames[i]->function, 0);
	arena_deinit(&scratch);
	return found;
}

// --- printing -------------------------------------------------------------------------------------
void stacks_print(struct emitter *e, struct look *look, uint32_t node, bool sources)
{
	struct arena scratch;
	struct stack stack;

	if (!emit_is_text(e))
		return;
	arena_init(&scratch, &os_page_source);
	stack_read(look, node, &scratch, &stack);
	for (size_t i = stack.n; i-- > 0;) {
		if (stack.frames[i]->truncated)
			emit_text(e, "      (frames further out are not known)\n");
		frame_print_long(e, stack.frames[i], i, sources);
		emit_text(e, "\n");
	}
	arena_deinit(&scratch);
}

void stacks_print_line(struct emitter *e, struct look *look, uint32_t node)
{
	struct arena scratch;
	struct stack stack;

	if (!emit_is_text(e))
		return;
	arena_init(&scratch, &os_page_source);
	stack_read(look, node, &scratch, &stack);
	for (size_t i = stack.n; i-- > 0;) {
		frame_print_short(e, stack.frames[i], false);
		emit_text(e, "%s", i ? " | " : "");
	}
	arena_deinit(&scratch);
}

void stacks_emit(struct emitter *e, const char *key, struct look *look, uint32_t node)
{
	struct arena scratch;
	struct stack stack;

	if (emit_is_text(e))
		return;
	arena_init(&scratch, &os_page_source);
	stack_read(look, node, &scratch, &stack);
	emit_array(e, key);
	for (size_t i = 0; i < stack.n; i++) {
		emit_object(e, NULL);
		frame_emit(e, stack.frames[i]);
		emit_object_end(e);
	}
	emit_array_end(e);
	arena_deinit(&scratch);
}
