// SPDX-License-Identifier: MIT
// CPython objects: PyObject is {refcount, type}; a type is an object itself whose
// name (tp_name) is its fourth word (Include/cpython/object.h, CPython 3.8-3.13).
// Containers have a two-word header of the cycle collector before the object, and
// since 3.11 two more words (dictionary, weak references) may stand before that.
#include <ctype.h>
#include <string.h>

#include "types/types_impl.h"

#define LONGEST_NAME     256
#define MOST_METACLASSES 4
#define MOST_REFERENCES  ((uint64_t)1 << 40)

// Class objects are aligned. The same address may have been asked for as a vtable, which it is not: blocks
// begin with pointers to classes, too.
#define CLASS_KEY 1

static const unsigned object_offsets[] = { 0, 2, 4 };

static bool field_read(const struct types *types, uint64_t object, unsigned word, uint64_t *ret)
{
	return object >= 4096 && object % types->target->word_bytes == 0 &&
	       !target_read_word(types->target, object + word * types->target->word_bytes, ret);
}

static const char *type_name(struct types *types, uint64_t type)
{
	uint64_t address;
	const char *name;

	if (!field_read(types, type, 3, &address) ||
	    target_read_string(types->target, &types->arena, address, LONGEST_NAME, &name))
		return NULL;
	if (!isalpha((unsigned char)*name) && *name != '_')
		return NULL;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_.-", *c))
			return NULL;
	return name;
}

// Every chain of types ends in the type of types, which is its own type and named "type".
static bool is_type(struct types *types, uint64_t type)
{
	for (unsigned i = 0; i < MOST_METACLASSES; i++) {
		uint64_t of;
		const char *name;

		if (!field_read(types, type, 1, &of))
			return false;
		if (of != type) {
			type = of;
			continue;
		}
		name = type_name(types, type);
		return name && !strcmp(name, "type");
	}
	return false;
}

static const struct type *class_read(struct types *types, uint64_t class)
{
	const char *name = is_type(types, class) ? type_name(types, class) : NULL;

	return name ? types_make(types, name, "Python", types_binary_at(types, class)) : NULL;
}

bool types_has_python(const struct symbols *symbols)
{
	size_t count;
	const struct symbols_module *modules = symbols_modules(symbols, &count);

	for (size_t i = 0; i < count; i++)
		if (!strncmp(modules[i].name, "python", 6) ||
		    !strncmp(modules[i].name, "libpython", 9))
			return true;
	return false;
}

// Class objects of Python code lie in writable memory, those of C in writable data.
static bool may_be_class(const struct types *types, uint64_t address)
{
	const struct target_segment *segment;

	if (address < 4096 || address % types->target->word_bytes)
		return false;
	segment = target_segment_at(types->target, address);
	return segment && (segment->protection & TARGET_WRITE);
}

const struct type *types_python(struct types *types, const uint64_t *words, size_t count)
{
	for (size_t i = 0; i < sizeof(object_offsets) / sizeof(object_offsets[0]); i++) {
		unsigned at = object_offsets[i];
		const struct type *type;
		uint64_t class;

		if (at + 2 > count || !words[at] || words[at] > MOST_REFERENCES)
			continue;
		class = words[at + 1];
		if (!may_be_class(types, class))
			continue;
		if (!types_recall(types, class | CLASS_KEY, &type)) {
			type = class_read(types, class);
			types_remember(types, class | CLASS_KEY, type);
		}
		if (type)
			return type;
	}
	return NULL;
}
