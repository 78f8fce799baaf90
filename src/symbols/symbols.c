// SPDX-License-Identifier: MIT
// Opening and closing, and the questions that modules alone can answer.
#include <string.h>

#include "base/search.h"
#include "symbols/symbols_impl.h"

struct symbols *symbols_create(const struct page_source *pages)
{
	struct symbols *symbols;
	struct arena arena;

	arena_init(&arena, pages);
	symbols = arena_alloc(&arena, sizeof(*symbols));
	symbols->arena = arena; // it lives in its own first chunk
	vec_init(&symbols->modules, pages);
	vec_init(&symbols->warnings, pages);
	return symbols;
}

void symbols_make_tables(struct symbols *symbols)
{
	symbols->tables =
		arena_array(&symbols->arena, symbols->modules.n, sizeof(*symbols->tables));
	for (size_t i = 0; i < symbols->modules.n; i++)
		symbols_table_init(&symbols->tables[i]);
}

static struct error *open_file(struct symbols *symbols, const struct symbols_module *module,
                               int *ret)
{
	return target_file_open(symbols->target, module->file, ret);
}

struct error *symbols_open(struct target *target, struct symbols **ret)
{
	struct symbols *symbols = symbols_create(target->arena->ar_source);

	symbols->target = target;
	symbols->open_file = open_file;
	if (!symbols_recorded_modules(symbols))
		symbols_find_modules(symbols);
	symbols_read_places(symbols);
	symbols_make_tables(symbols);
	*ret = symbols;
	return NULL;
}

void symbols_close(struct symbols *symbols)
{
	struct arena arena;

	symbols_unwinder_close(symbols->unwinder);
	for (size_t i = 0; i < symbols->modules.n; i++)
		symbols_table_deinit(&symbols->tables[i]);
	vec_deinit(&symbols->modules);
	vec_deinit(&symbols->warnings);
	arena = symbols->arena;
	arena_deinit(&arena);
}

const struct symbols_module *symbols_modules(const struct symbols *symbols, size_t *ret_count)
{
	*ret_count = symbols->modules.n;
	return symbols->modules.v;
}

const struct symbols_module *symbols_module_at(const struct symbols *symbols, uint64_t address)
{
	size_t at = first_index(symbols->modules.n, i, symbols->modules.v[i].end > address);

	if (at == symbols->modules.n || symbols->modules.v[at].start > address)
		return NULL;
	return &symbols->modules.v[at];
}

const char *const *symbols_warnings(const struct symbols *symbols, size_t *ret_count)
{
	*ret_count = symbols->warnings.n;
	return symbols->warnings.v;
}
