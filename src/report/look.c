// SPDX-License-Identifier: MIT
// Opens what a question needs, from the target down (report.h, struct look).
#include <string.h>

#include "os/os.h"
#include "report/stacks.h"

// How often a stop in the middle of malloc is repeated before its faults are believed.
#define MOST_LOOKS 6

static void close_heaps(struct look *look)
{
	if (look->heaps)
		heaps_close(look->heaps);
	if (look->symbols)
		symbols_close(look->symbols);
	if (look->target)
		target_close(look->target);
	look->heaps = NULL;
	look->symbols = NULL;
	look->target = NULL;
}

// Only a process that runs can be looked at again.
static bool worth_another_look(const struct look *look)
{
	return (look->target->kind == TARGET_LIVE || look->target->kind == TARGET_CLONE) &&
	       !look->target->held_stopped && look->heaps->in_malloc && look->heaps->fault_count;
}

static struct error *open_steady(const char *what, const struct target_options *options,
                                 enum look_depth depth, struct look *look)
{
	for (int i = 1;; i++) {
		TRY(target_open(what, options, &look->target));
		TRY(symbols_open(look->target, &look->symbols));
		if (depth == LOOK_MAPPINGS)
			return NULL;
		TRY(heaps_read(look->target, look->symbols, &look->heaps));
		if (i == MOST_LOOKS || !worth_another_look(look))
			return NULL;
		close_heaps(look);
	}
}

static struct error *open_deeper(struct look *look, enum look_depth depth)
{
	TRY(regions_read(look->target, look->heaps, look->symbols, &look->regions));
	if (depth < LOOK_TYPES)
		return NULL;
	TRY(types_open(look->target, look->heaps, look->symbols, &look->types));
	if (depth < LOOK_GRAPH)
		return NULL;
	return graph_build(look->target, look->heaps, look->regions, &look->graph);
}

struct error *look_open(const char *what, const struct target_options *options,
                        enum look_depth depth, struct look *ret)
{
	struct error *error;

	*ret = (struct look){ .arena = NULL };
	error = open_steady(what, options, depth, ret);
	if (!error)
		error = open_deeper(ret, depth);
	if (error) {
		look_close(ret);
		return error;
	}
	ret->arena = &ret->own;
	arena_init(ret->arena, &os_page_source);
	return NULL;
}

uint64_t look_block_bytes(const struct look *look, size_t block)
{
	uint64_t bytes = look->heaps->blocks[block].hb_size;

	(void)heaps_requested(look->heaps, block, &bytes);
	return bytes;
}

void look_close(struct look *look)
{
	stack_log_close(look);
	if (look->graph)
		graph_close(look->graph);
	if (look->types)
		types_close(look->types);
	if (look->regions)
		regions_close(look->regions);
	close_heaps(look);
	if (look->arena)
		arena_deinit(look->arena);
	*look = (struct look){ .arena = NULL };
}
