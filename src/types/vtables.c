// SPDX-License-Identifier: MIT
// C++ objects by what their first word points at. A vtable of the Itanium C++ ABI
// (2.5.2, 2.9.5) has the pointer to std::type_info one word before its address
// point and the offset to the top two words before; the type_info's second word
// is the class's mangled name. All of that is there in stripped programs too.
#include <ctype.h>
#include <string.h>

#include "types/types_impl.h"

#define LONGEST_NAME    4096
#define SLOTS_LOOKED_AT 2

static const struct target_segment *segment_with(const struct types *types, uint64_t address,
                                                 unsigned protection)
{
	const struct target_segment *segment;

	if (!address || address % types->target->word_bytes)
		return NULL;
	segment = target_segment_at(types->target, address);
	return segment && (segment->protection & protection) == protection ? segment : NULL;
}

static bool is_code(const struct types *types, uint64_t address)
{
	const struct target_segment *segment = target_segment_at(types->target, address);

	return segment && (segment->protection & TARGET_EXEC);
}

// Vtables lie in constant data of a module (.rodata, .data.rel.ro), or in writable data when the
// program was linked without RELRO.
static bool may_hold_vtable(const struct types *types, uint64_t address)
{
	const struct target_segment *segment = segment_with(types, address, TARGET_READ);

	return segment && symbols_module_at(types->symbols, address) &&
	       heaps_range_at(types->heaps, address) == NULL;
}

// Slots may be null (deleted functions of abstract classes), but one of the first must be code.
static bool slots_are_code(const struct types *types, uint64_t vtable)
{
	bool code = false;

	for (unsigned i = 0; i < SLOTS_LOOKED_AT; i++) {
		uint64_t slot;

		if (target_read_word(types->target, vtable + i * types->target->word_bytes, &slot))
			return code;
		if (slot && !is_code(types, slot))
			return code;
		code = code || slot;
	}
	return code;
}

static bool looks_mangled(const char *name)
{
	name += *name == '*'; // local to its object file
	if (!isdigit((unsigned char)*name) && *name != 'N' && *name != 'S')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '_' && *name != '.' && *name != '$')
			return false;
	return true;
}

static const struct type *type_of_info(struct types *types, uint64_t type_info)
{
	unsigned width = types->target->word_bytes;
	uint64_t name_address, info_vtable;
	const char *name;

	if (!segment_with(types, type_info, TARGET_READ) ||
	    target_read_word(types->target, type_info, &info_vtable) ||
	    !symbols_module_at(types->symbols, info_vtable) ||
	    target_read_word(types->target, type_info + width, &name_address) ||
	    !symbols_module_at(types->symbols, name_address) ||
	    target_read_string(types->target, &types->arena, name_address, LONGEST_NAME, &name) ||
	    !looks_mangled(name))
		return NULL;
	return types_make(types, symbols_demangle_type(&types->arena, name), "C++",
	                  types_binary_at(types, type_info));
}

// Without run-time type information (-fno-rtti) the symbol of the vtable names the class, else its
// place does.
static const struct type *type_without_info(struct types *types, uint64_t vtable, int64_t top)
{
	const struct symbols_module *module = symbols_module_at(types->symbols, vtable);
	uint64_t start = vtable - 2 * types->target->word_bytes;
	struct symbols_name name;
	const char *prefix = "vtable for ";

	if (top)
		return NULL;
	symbols_name_at(types->symbols, start, &name);
	if (name.function && !name.offset && !strncmp(name.function, prefix, strlen(prefix)))
		return types_make(types, name.function + strlen(prefix), "C++", module->name);
	return types_make(types,
	                  arena_format(&types->arena, "vtable at %s+0x%llx", module->name,
	                               (unsigned long long)(vtable - module->bias)),
	                  "C++", module->name);
}

// The offset to the top is small and negative or zero, and a multiple of the word size.
static bool plausible_top(int64_t top, unsigned width)
{
	return top <= 0 && top > -((int64_t)1 << 24) && top % width == 0;
}

static const struct type *vtable_read(struct types *types, uint64_t vtable)
{
	unsigned width = types->target->word_bytes;
	uint64_t type_info, top_word;
	int64_t top;

	if (!may_hold_vtable(types, vtable) || !may_hold_vtable(types, vtable - 2 * width) ||
	    target_read_word(types->target, vtable - width, &type_info) ||
	    target_read_word(types->target, vtable - 2 * width, &top_word))
		return NULL;
	top = width == 8 ? (int64_t)top_word : (int32_t)top_word;
	if (!plausible_top(top, width) || !slots_are_code(types, vtable))
		return NULL;
	return type_info ? type_of_info(types, type_info) : type_without_info(types, vtable, top);
}

static const struct type *vtable_type(struct types *types, uint64_t vtable)
{
	const struct type *type;

	if (!symbols_module_at(types->symbols, vtable)) // most first words: not worth a slot
		return NULL;
	if (types_recall(types, vtable, &type))
		return type;
	type = vtable_read(types, vtable);
	types_remember(types, vtable, type);
	return type;
}

// `new T[n]` keeps n in a word of its own before the first object (Itanium C++ ABI 2.7).
static const struct type *array_type(struct types *types, const uint64_t *words, uint64_t size)
{
	const struct type *element;

	if (!words[0] || words[0] > size / types->target->word_bytes)
		return NULL;
	element = vtable_type(types, words[1]);
	if (!element)
		return NULL;
	return types_make(types, arena_format(&types->arena, "%s[]", element->name), "C++",
	                  element->binary);
}

const struct type *types_vtable(struct types *types, const uint64_t *words, size_t count,
                                uint64_t size)
{
	const struct type *type = count ? vtable_type(types, words[0]) : NULL;

	if (type || count < 2)
		return type;
	return array_type(types, words, size);
}
