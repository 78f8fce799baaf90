// SPDX-License-Identifier: MIT
// The stacks that allocated blocks: names, and their print (stacks.h). Called by the reports of leaks,
// heap and vmmap.
#include "report/stacks_impl.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

struct stack {
	struct heap_frame frames[STACK_FRAMES_MAX];
	size_t n;
	bool truncated;
};

static void stack_read(const struct look *look, uint32_t node, struct stack *ret)
{
	ret->n = look->stack_log ? stack_log_frames(look, node, ret->frames, STACK_FRAMES_MAX,
	                                            &ret->truncated)
	                         : heaps_frames(look->heaps, node, ret->frames, STACK_FRAMES_MAX,
	                                        &ret->truncated);
}

bool stacks_known(struct look *look)
{
	if (!look->heaps) // not opened that deep
		return false;
	if (!look->stacks_sought && !look->heaps->stack_count && look->heaps->recorder)
		stack_log_open(look);
	look->stacks_sought = true;
	return look->stack_log || look->heaps->stack_count;
}

uint32_t stacks_node(struct look *look, uint32_t block)
{
	if (!stacks_known(look))
		return 0;
	return look->stack_log ? stack_log_node(look, &look->heaps->blocks[block])
	                       : heaps_stack(look->heaps, block);
}

uint32_t stacks_mapping_node(struct look *look, uint64_t address)
{
	return stacks_known(look) && look->stack_log ? stack_log_mapping_node(look, address) : 0;
}

// The call stands before the address that it returns to.
static void name_frame(struct look *look, const struct heap_frame *frame, struct symbols_name *ret)
{
	symbols_name_at(look->symbols, frame->code - frame->is_return, ret);
	ret->offset += frame->is_return;
}

// --- who called -----------------------------------------------------------------------------------
// Functions that allocate for their caller by their nature.
static bool is_allocator(const struct symbols_name *name)
{
	static const char *const functions[] = {
		"operator new*",    "*malloc",   "*calloc",       "*realloc",
		"*reallocarray",    "strdup",    "__strdup",      "*strndup",
		"*memalign",        "*valloc",   "aligned_alloc", "*__new_allocator<*",
		"*new_allocator<*", "g_malloc*", "g_realloc*",    "xmalloc*",
	};

	if (name->module && (strstr(name->module->name, "libheapwright") ||
	                     strstr(name->module->name, "libgmalloc")))
		return true;
	for (size_t i = 0; name->function && i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!fnmatch(functions[i], name->function, 0))
			return true;
	return false;
}

static const char *caller_text(struct look *look, const struct stack *stack)
{
	struct symbols_name name;
	size_t i = 0;

	do {
		name_frame(look, &stack->frames[i], &name);
	} while (is_allocator(&name) && ++i < stack->n);
	if (name.function)
		return name.function;
	if (name.module)
		return arena_format(look->arena, "%s+0x%" PRIx64, name.module->name, name.offset);
	return arena_format(look->arena, "0x%" PRIx64, stack->frames[i < stack->n ? i : 0].code);
}

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
	struct stack stack;
	const char **slot;
	const char *text;

	stack_read(look, node, &stack);
	if (!stack.n)
		return NULL;
	text = arena_format(look->arena, "malloc in %s", caller_text(look, &stack));
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
	struct stack stack;
	struct symbols_name name;

	stack_read(look, node, &stack);
	for (size_t i = 0; i < stack.n; i++) {
		name_frame(look, &stack.frames[i], &name);
		if (name.function && !fnmatch(pattern, name.function, 0))
			return true;
	}
	return false;
}

// --- printing -------------------------------------------------------------------------------------
static void print_place(struct emitter *e, const struct symbols_name *name, uint64_t code,
                        bool sources)
{
	emit_text(e, "0x%" PRIx64 " ", code);
	if (name->function)
		emit_text(e, "%s + %" PRIu64, name->function, name->offset);
	else if (name->module)
		emit_text(e, "0x%" PRIx64 " + %" PRIu64, name->module->start, name->offset);
	else
		emit_text(e, "???");
	if (sources && name->file)
		emit_text(e, "  %s:%u", name->file, name->line);
}

void stacks_print(struct emitter *e, struct look *look, uint32_t node, bool sources)
{
	struct stack stack;
	struct symbols_name name;

	if (!emit_is_text(e))
		return;
	stack_read(look, node, &stack);
	if (stack.truncated)
		emit_text(e, "      (frames further out are not known)\n");
	for (size_t i = stack.n; i-- > 0;) {
		name_frame(look, &stack.frames[i], &name);
		emit_text(e, "%-3zu %-38s ", i, name.module ? name.module->name : "???");
		print_place(e, &name, stack.frames[i].code, sources);
		emit_text(e, "\n");
	}
}

void stacks_print_line(struct emitter *e, struct look *look, uint32_t node)
{
	struct stack stack;
	struct symbols_name name;

	if (!emit_is_text(e))
		return;
	stack_read(look, node, &stack);
	for (size_t i = stack.n; i-- > 0;) {
		name_frame(look, &stack.frames[i], &name);
		emit_text(e, "0x%" PRIx64 " (%s) %s%s", stack.frames[i].code,
		          name.module ? name.module->name : "???",
		          name.function ? name.function : "???", i ? " | " : "");
	}
}

void stacks_emit(struct emitter *e, const char *key, struct look *look, uint32_t node)
{
	struct stack stack;
	struct symbols_name name;

	if (emit_is_text(e))
		return;
	stack_read(look, node, &stack);
	emit_array(e, key);
	for (size_t i = 0; i < stack.n; i++) {
		name_frame(look, &stack.frames[i], &name);
		emit_object(e, NULL);
		emit_address(e, "address", stack.frames[i].code, NULL);
		emit_string(e, "image", name.module ? name.module->name : NULL, NULL);
		emit_string(e, "function", name.function, NULL);
		emit_u64(e, "offset", name.offset, NULL);
		emit_string(e, "file", name.file, NULL);
		emit_u64(e, "line", name.line, NULL);
		emit_object_end(e);
	}
	emit_array_end(e);
}
