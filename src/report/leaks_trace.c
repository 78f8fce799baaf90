// SPDX-License-Identifier: MIT
// leaks -trace and -referenceTree: who references a block, up to a root, and the
// tree of everything from the roots down (leaks.c).
#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/leaks_impl.h"

#define MOST_REFERENCES 1000
#define DEEPEST_LEVEL   24
#define STEPS_SHOWN     12u // of a path, at each end

// --- -trace -------------------------------------------------------------------------------------

static const char *block_with_size(struct look *look, uint32_t block)
{
	return arena_format(look->arena, "%s [%" PRIu64 "]", leaks_block_text(look, block),
	                    (uint64_t)look->heaps->blocks[block].hb_size);
}

struct trace {
	struct emitter *e;
	struct look *look;
	size_t count;
};

static void emit_source(struct trace *trace, const struct graph_reference *r)
{
	struct look *look = trace->look;

	if (r->from == GRAPH_NO_BLOCK) {
		emit_string(trace->e, "root", report_root_text(look, r), "  %s");
		if (r->root)
			emit_address(trace->e, "root_address", r->root, " (0x%" PRIx64 ")");
		return;
	}
	emit_text(trace->e, "  %s", block_with_size(look, r->from));
	emit_address(trace->e, "from", look->heaps->blocks[r->from].hb_address, NULL);
	emit_u64(trace->e, "from_offset_bytes", r->from_offset, " +%" PRIu64);
}

static bool trace_reference(void *context, const struct graph_reference *r)
{
	struct trace *trace = context;

	if (trace->count++ >= MOST_REFERENCES)
		return true;
	emit_object(trace->e, NULL);
	emit_source(trace, r);
	emit_address(trace->e, "to", trace->look->heaps->blocks[r->to].hb_address, NULL);
	emit_u64(trace->e, "to_offset_bytes", r->to_offset, NULL);
	emit_object_end(trace->e);
	if (r->to_offset)
		emit_text(trace->e, " --> byte %" PRIu64 " of it\n", r->to_offset);
	else
		emit_text(trace->e, " --> it\n");
	return true;
}

static void trace_leaked(struct emitter *e, struct look *look, const struct leak *leak)
{
	emit_bool(e, "leaked", true, NULL);
	emit_text(e, "No root reaches it: it is leaked");
	if (leak->lk_root != leak->lk_block)
		emit_text(e, ", in the tree of %s", block_with_size(look, leak->lk_root));
	emit_text(e, ".\n");
}

static void emit_step(struct trace *trace, const struct graph_reference *step)
{
	struct look *look = trace->look;

	emit_object(trace->e, NULL);
	emit_source(trace, step);
	emit_address(trace->e, "to", look->heaps->blocks[step->to].hb_address, NULL);
	emit_u64(trace->e, "to_offset_bytes", step->to_offset, NULL);
	emit_object_end(trace->e);
	emit_text(trace->e, " --> %s\n", block_with_size(look, step->to));
}

static struct error *trace_path(struct emitter *e, struct look *look, uint32_t block)
{
	const struct leak *leak = graph_leak_of(look->graph, block);
	const struct graph_reference *steps;
	struct trace trace = { e, look, 0 };
	size_t count;

	if (leak) {
		trace_leaked(e, look, leak);
		return NULL;
	}
	TRY(graph_path(look->graph, look->arena, block, &steps, &count));
	emit_text(e, "A shortest path from a root:\n");
	emit_array(e, "path");
	for (size_t i = 0; i < count; i++) {
		if (emit_is_text(e) && count > 2 * STEPS_SHOWN && i == STEPS_SHOWN) {
			emit_text(e, "  ... %zu steps, all of them with -json ...\n",
			          count - 2 * STEPS_SHOWN);
			i = count - STEPS_SHOWN;
		}
		emit_step(&trace, &steps[i]);
	}
	emit_array_end(e);
	return NULL;
}

struct error *leaks_trace_block(struct look *look, uint64_t address, uint32_t *ret_block)
{
	ssize_t found = heaps_find(look->heaps, address);

	if (found < 0)
		return error_at(ERROR_NOT_FOUND, address, "no malloc block holds this address");
	if (look->heaps->blocks[found].hb_state != HEAP_USED)
		return error_at(ERROR_NOT_FOUND, address,
		                "the block at this address has been freed");
	*ret_block = (uint32_t)found;
	return NULL;
}

static struct error *trace_references(struct trace *trace, uint32_t block)
{
	emit_text(trace->e, "\n\nReferences to it:\n");
	emit_array(trace->e, "references");
	TRY(graph_references_to(trace->look->graph, &block, 1, trace_reference, trace));
	emit_array_end(trace->e);
	if (trace->count > MOST_REFERENCES)
		emit_text(trace->e, "  ... and %zu more\n", trace->count - MOST_REFERENCES);
	if (!trace->count)
		emit_text(trace->e, "  none\n");
	emit_text(trace->e, "\n");
	return NULL;
}

struct error *leaks_trace(struct emitter *e, struct look *look, uint32_t block)
{
	struct trace trace = { e, look, 0 };

	emit_object(e, "trace");
	emit_address(e, "address", look->heaps->blocks[block].hb_address, NULL);
	emit_text(e, "Tracing %s", block_with_size(look, block));
	TRY(trace_references(&trace, block));
	TRY(trace_path(e, look, block));
	emit_object_end(e);
	return NULL;
}

// --- -referenceTree -----------------------------------------------------------------------------

struct reference_tree {
	struct emitter *e; // while it is printed
	struct look *look;
	const struct graph_owners *owners;
	uint32_t *children, *start; // blocks by owner; owner block_count stands for the roots
	uint64_t *bytes;            // of the subtree
	uint32_t *count;
	bool *keep; // NULL: everything
	size_t kept_count;
	const char *filter;
};

static bool owned(const struct reference_tree *tree, uint32_t block)
{
	return tree->look->heaps->blocks[block].hb_state == HEAP_USED &&
	       graph_reached(tree->look->graph, block);
}

static uint32_t owner_of(const struct reference_tree *tree, uint32_t block)
{
	uint32_t owner = tree->owners->owner[block];

	return owner == GRAPH_NO_BLOCK ? (uint32_t)tree->look->heaps->block_count : owner;
}

static void tree_children(struct reference_tree *tree)
{
	uint32_t n = (uint32_t)tree->look->heaps->block_count;

	tree->start = arena_array(tree->look->arena, (size_t)n + 3, sizeof(uint32_t));
	tree->children = arena_array(tree->look->arena, n, sizeof(uint32_t));
	for (uint32_t i = 0; i < n; i++)
		if (owned(tree, i))
			tree->start[owner_of(tree, i) + 2]++;
	for (uint32_t i = 2; i < n + 3; i++)
		tree->start[i] += tree->start[i - 1];
	for (uint32_t i = 0; i < n; i++)
		if (owned(tree, i))
			tree->children[tree->start[owner_of(tree, i) + 1]++] = i;
}

// Breadth-first order of the tree, so that sums run backwards through it without recursion.
static void tree_sums(struct reference_tree *tree)
{
	uint32_t n = (uint32_t)tree->look->heaps->block_count, filled = 0;
	uint32_t *order = arena_array(tree->look->arena, n, sizeof(uint32_t));

	tree->bytes = arena_array(tree->look->arena, n, sizeof(uint64_t));
	tree->count = arena_array(tree->look->arena, n, sizeof(uint32_t));
	for (uint32_t i = tree->start[n]; i < tree->start[n + 1]; i++)
		order[filled++] = tree->children[i];
	for (uint32_t done = 0; done < filled; done++)
		for (uint32_t i = tree->start[order[done]]; i < tree->start[order[done] + 1]; i++)
			order[filled++] = tree->children[i];
	while (filled--) {
		uint32_t block = order[filled], owner = owner_of(tree, block);

		tree->count[block]++;
		tree->bytes[block] += tree->look->heaps->blocks[block].hb_size;
		if (owner == n)
			continue;
		tree->count[owner] += tree->count[block];
		tree->bytes[owner] += tree->bytes[block];
	}
}

static void tree_keep(struct reference_tree *tree, uint32_t block)
{
	uint32_t n = (uint32_t)tree->look->heaps->block_count;

	tree->kept_count++;
	for (; block != n && !tree->keep[block]; block = owner_of(tree, block))
		tree->keep[block] = true;
}

// The filter is an address or an extended regular expression over the whole type name.
static struct error *tree_filter(struct reference_tree *tree, const char *filter)
{
	const struct heaps *heaps = tree->look->heaps;
	uint64_t address;
	regex_t regex;

	tree->filter = filter;
	tree->keep = arena_array(tree->look->arena, heaps->block_count, sizeof(bool));
	if (!text_parse_u64(filter, &address)) {
		ssize_t block = heaps_find(heaps, address);

		if (block < 0 || !owned(tree, (uint32_t)block))
			return error_at(
				ERROR_NOT_FOUND, address,
				"no block that is in use and not leaked holds this address");
		tree_keep(tree, (uint32_t)block);
		return NULL;
	}
	if (regcomp(&regex, arena_format(tree->look->arena, "^(%s)$", filter),
	            REG_EXTENDED | REG_NOSUB))
		return error_new(ERROR_USAGE, "-referenceTree: '%s' is no address and no pattern",
		                 filter);
	for (uint32_t i = 0; i < heaps->block_count; i++) {
		const struct type *type = owned(tree, i) ? types_of(tree->look->types, i) : NULL;

		if (type && !regexec(&regex, type->name, 0, NULL, 0))
			tree_keep(tree, i);
	}
	regfree(&regex);
	return NULL;
}

// What holds a block that no other block owns.
static const char *tree_root_text(const struct reference_tree *tree, uint32_t block)
{
	const struct graph_reference *steps;
	size_t count;

	if (graph_path(tree->look->graph, tree->look->arena, block, &steps, &count) || !count)
		return "unknown";
	return report_root_text(tree->look, &steps[0]);
}

static void tree_line(struct reference_tree *tree, uint32_t block, int indent)
{
	uint32_t n = (uint32_t)tree->look->heaps->block_count;
	char size[TEXT_SIZE_BYTES];

	emit_text(tree->e, "%*s%u (%s) ", indent, "", tree->count[block],
	          text_size(tree->bytes[block], size));
	emit_u64(tree->e, "count", tree->count[block], NULL);
	emit_u64(tree->e, "bytes", tree->bytes[block], NULL);
	if (owner_of(tree, block) != n)
		emit_u64(tree->e, "offset_bytes", tree->owners->owner_offset[block],
		         "+%" PRIu64 " --> ");
	else
		emit_string(tree->e, "root", tree_root_text(tree, block), "%s --> ");
	emit_address(tree->e, "address", tree->look->heaps->blocks[block].hb_address, NULL);
	emit_text(tree->e, "%s\n", block_with_size(tree->look, block));
}

static void tree_level(struct reference_tree *tree, uint32_t owner, int indent, int level)
{
	emit_array(tree->e, level ? "children" : "reference_tree");
	for (uint32_t i = tree->start[owner]; i < tree->start[owner + 1]; i++) {
		uint32_t block = tree->children[i];

		if (tree->keep && !tree->keep[block])
			continue;
		emit_object(tree->e, NULL);
		tree_line(tree, block, indent);
		if (level < DEEPEST_LEVEL)
			tree_level(tree, block, indent + 3, level + 1);
		else if (tree->count[block] > 1)
			emit_text(tree->e, "%*s%u deeper below\n", indent + 3, "",
			          tree->count[block] - 1);
		emit_object_end(tree->e);
	}
	emit_array_end(tree->e);
}

struct error *leaks_reference_tree(struct look *look, const char *filter,
                                   struct reference_tree **ret)
{
	struct reference_tree *tree = arena_alloc(look->arena, sizeof(*tree));

	tree->look = look;
	TRY(graph_owners(look->graph, &tree->owners));
	tree_children(tree);
	tree_sums(tree);
	if (filter[0])
		TRY(tree_filter(tree, filter));
	*ret = tree;
	return NULL;
}

void leaks_print_reference_tree(struct emitter *e, struct reference_tree *tree)
{
	tree->e = e;
	emit_text(
		e,
		"Reference tree: each block once, below one block or root that references it.\n\n");
	tree_level(tree, (uint32_t)tree->look->heaps->block_count, 4, 0);
	if (tree->keep && !tree->kept_count)
		emit_text(e, "    no block in use that is not leaked matches '%s'\n",
		          text_printable(tree->look->arena, tree->filter));
}
