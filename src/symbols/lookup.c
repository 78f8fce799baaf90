// SPDX-License-Identifier: MIT
// Names of addresses and addresses of names, over the tables of all modules.
#include <string.h>

#include "symbols/symbols_impl.h"

void symbols_name_at(struct symbols *symbols, uint64_t address, struct symbols_name *ret)
{
	const struct symbols_module *module = symbols_module_at(symbols, address);
	struct symbols_symbol *symbol;
	struct symbols_table *table;

	*ret = (struct symbols_name){ .module = module };
	if (!module)
		return;
	ret->offset = address - module->start;
	symbols_read_debug(symbols, module, true);
	table = symbols_table_of(symbols, module);
	symbols_table_sort(table);
	symbol = symbols_table_at(table, address - module->bias);
	if (symbol) {
		if (!symbol->shown)
			symbol->shown =
				symbols_demangle(&symbols->arena, table->names.v + symbol->name);
		ret->function = symbol->shown;
		ret->offset = address - module->bias - symbol->address;
	}
	symbols_line_at(symbols, module, address - module->bias, ret);
}

size_t symbols_names_at(struct symbols *symbols, uint64_t address, struct symbols_name *ret,
                        size_t most)
{
	struct symbols_name whole;
	size_t inlined, recorded = symbols_recorded_names(symbols, address, ret, most);

	if (recorded)
		return recorded;
	symbols_name_at(symbols, address, &whole);
	ret[0] = whole;
	if (!whole.module || !whole.file || most < 2)
		return 1;
	inlined =
		symbols_inlined_at(symbols, whole.module, address - whole.module->bias, ret, most);
	ret[inlined].module = whole.module;
	ret[inlined].function = whole.function;
	ret[inlined].offset = whole.offset;
	return inlined + 1;
}

static bool has_prefix(const struct symbols_module *module, const char *prefix)
{
	return !prefix || strncmp(module->name, prefix, strlen(prefix)) == 0;
}

static bool find_in(struct symbols *symbols, const char *prefix, const char *name, bool debug,
                    uint64_t *ret_address, uint64_t *ret_bytes)
{
	for (size_t i = 0; i < symbols->modules.n; i++) {
		const struct symbols_module *module = &symbols->modules.v[i];
		const struct symbols_symbol *symbol;

		if (!has_prefix(module, prefix))
			continue;
		if (debug)
			symbols_read_debug(symbols, module, false);
		else
			symbols_read_own(symbols, module);
		symbol = symbols_table_find(symbols_table_of(symbols, module), name);
		if (!symbol)
			continue;
		*ret_address = symbol->address + module->bias;
		*ret_bytes = symbol->bytes;
		return true;
	}
	return false;
}

// Debug files of all modules are read only when no module's own table knows the name.
struct error *symbols_find(struct symbols *symbols, const char *module_prefix, const char *name,
                           uint64_t *ret_address, uint64_t *ret_bytes)
{
	if (find_in(symbols, module_prefix, name, false, ret_address, ret_bytes) ||
	    find_in(symbols, module_prefix, name, true, ret_address, ret_bytes))
		return NULL;
	return error_new(ERROR_NOT_FOUND, "there is no symbol %s in %s", name,
	                 module_prefix ? module_prefix : "any module");
}

const char *symbols_section_at(struct symbols *symbols, uint64_t address)
{
	const struct symbols_module *module = symbols_module_at(symbols, address);
	const struct symbols_table *table;

	if (!module)
		return NULL;
	symbols_read_own(symbols, module);
	table = symbols_table_of(symbols, module);
	for (size_t i = 0; i < table->sections.n; i++)
		if (address - module->bias - table->sections.v[i].address <
		    table->sections.v[i].bytes)
			return table->sections.v[i].name;
	return NULL;
}
