// SPDX-License-Identifier: MIT
// An address in words, for people who ask where a pointer was found. Called by reports.
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "regions/regions_impl.h"

static const char *describe_data(const struct region *region, struct symbols *symbols,
                                 struct arena *arena, uint64_t address)
{
	struct symbols_name name = { 0 };
	const char *section = symbols_section_at(symbols, address);
	const struct symbols_module *module = symbols_module_at(symbols, address);
	const char *module_name = module ? module->name : region->detail;

	symbols_name_at(symbols, address, &name);
	if (!section)
		section = region->kind == REGION_BSS ? ".bss" : region->type;
	if (!name.function)
		return arena_format(arena, "%s (%s) + %" PRIu64, module_name, section,
		                    address - (module ? module->start : region->start));
	if (name.offset)
		return arena_format(arena, "%s + %" PRIu64 " in %s (%s)", name.function,
		                    name.offset, module_name, section);
	return arena_format(arena, "%s in %s (%s)", name.function, module_name, section);
}

static const char *thread_words(const struct regions *regions, struct arena *arena,
                                const char *what, int thread)
{
	const struct target_thread *one = &regions->target->threads[thread];

	return arena_format(arena, "%s of thread %d%s", what, one->tid,
	                    regions_is_main_thread(regions->target, (size_t)thread) ? " (main)"
	                                                                            : "");
}

static const char *describe_block(const struct regions *regions, struct arena *arena,
                                  uint64_t address)
{
	ssize_t index = regions->heaps ? heaps_find(regions->heaps, address) : -1;
	const struct heap_block *block = index < 0 ? NULL : &regions->heaps->blocks[index];

	if (!block)
		return NULL;
	return arena_format(arena, "block 0x%" PRIx64 " [%" PRIu64 "] + %" PRIu64,
	                    block->hb_address, (uint64_t)block->hb_size,
	                    address - block->hb_address);
}

// "mapped file /tmp/x + 64": the offset is the file's.
static const char *describe_mapping(const struct region *region, struct arena *arena,
                                    uint64_t address)
{
	uint64_t offset = address - region->start;

	if (region->segment->file)
		offset = address - region->segment->start + region->segment->file_offset;
	return arena_format(arena, "%s%s%s + %" PRIu64, region->type, *region->detail ? " " : "",
	                    region->detail, offset);
}

const char *regions_describe(const struct regions *regions, struct symbols *symbols,
                             struct arena *arena, uint64_t address)
{
	const struct regions_own *own = regions_own(regions);
	const struct region *region = regions_at(regions, address);
	const char *words;

	if (!region)
		return arena_format(arena, "unmapped address 0x%" PRIx64, address);
	words = describe_block(regions, arena, address);
	if (words)
		return words;
	for (size_t i = 0; i < regions->target->thread_count; i++)
		if (address >= own->areas[i].start && address < own->areas[i].end)
			return thread_words(regions, arena, "thread-local storage", (int)i);
	if (region->kind == REGION_STACK && region->thread >= 0)
		return thread_words(regions, arena, "stack", region->thread);
	if (region->kind == REGION_DEAD_STACK)
		return "stack of an ended thread";
	if (region->kind == REGION_DATA || region->kind == REGION_BSS ||
	    region->kind == REGION_CONST || region->kind == REGION_TEXT)
		return describe_data(region, symbols, arena, address);
	return describe_mapping(region, arena, address);
}
