// SPDX-License-Identifier: MIT
// What a snapshot file says about modules and about the names of recorded code addresses, which were
// known where it was written. The file is foreign: what makes no sense is left out. Relies on
// layout/snapshot.h; called by symbols.c and lookup.c.
#include <string.h>

#include "base/search.h"
#include "layout/snapshot.h"
#include "symbols/symbols_impl.h"

struct symbols_places {
	const struct snapshot_place *v; // by address, of one address the innermost function first
	size_t count;
	const char *strings;
	size_t strings_bytes; // the last one is a NUL
};

static const char *string_at(const struct symbols_places *places, uint32_t offset)
{
	return offset < places->strings_bytes ? places->strings + offset : NULL;
}

void symbols_read_places(struct symbols *symbols)
{
	struct symbols_places *places = arena_alloc(&symbols->arena, sizeof(*places));
	size_t bytes;

	if (target_section(symbols->target, SNAPSHOT_PLACES, (const void **)&places->v, &bytes) ||
	    target_section(symbols->target, SNAPSHOT_STRINGS, (const void **)&places->strings,
	                   &places->strings_bytes))
		return;
	places->count = bytes / sizeof(*places->v);
	if (!places->strings_bytes || places->strings[places->strings_bytes - 1])
		return;
	for (size_t i = 1; i < places->count; i++)
		if (places->v[i].address < places->v[i - 1].address)
			return;
	symbols->places = places;
}

static struct symbols_name name_of(struct symbols *symbols, const struct snapshot_place *place)
{
	const struct symbols_places *places = symbols->places;
	const char *function = string_at(places, place->function);
	const char *file = string_at(places, place->source);

	return (struct symbols_name){
		.module = symbols_module_at(symbols, place->address),
		.function = function ? text_printable(&symbols->arena, function) : NULL,
		.offset = place->offset,
		.file = file ? text_printable(&symbols->arena, file) : NULL,
		.line = place->line,
	};
}

size_t symbols_recorded_names(struct symbols *symbols, uint64_t address, struct symbols_name *ret,
                              size_t most)
{
	const struct symbols_places *places = symbols->places;
	size_t at = first_index(places ? places->count : 0, i, places->v[i].address >= address);
	size_t n = 0;

	for (; places && at < places->count && n < most; at++) {
		if (places->v[at].address != address)
			break;
		ret[n++] = name_of(symbols, &places->v[at]);
	}
	return n;
}

static const struct target_file *file_at(const struct target *target, uint64_t start)
{
	for (size_t i = 0; i < target->segment_count; i++)
		if (target->segments[i].start == start)
			return target->segments[i].file;
	return NULL;
}

bool symbols_recorded_modules(struct symbols *symbols)
{
	const struct snapshot_module *v;
	uint64_t end = 0;
	size_t bytes;

	if (target_section(symbols->target, SNAPSHOT_MODULES, (const void **)&v, &bytes))
		return false;
	for (size_t i = 0; i < bytes / sizeof(*v); i++) {
		const struct target_file *file = file_at(symbols->target, v[i].start);
		struct symbols_module *module;

		if (v[i].start < end || v[i].start >= v[i].end)
			continue;
		module = vec_add(&symbols->modules);
		*module = (struct symbols_module){
			.file = file,
			.path = file ? text_printable(&symbols->arena, file->path)
			             : SYMBOLS_VDSO_NAME,
			.start = v[i].start,
			.end = v[i].end,
			.bias = v[i].bias,
			.executable = v[i].executable,
		};
		module->name = text_base_name(module->path);
		end = v[i].end;
	}
	return true;
}
