// SPDX-License-Identifier: MIT
// What the recognisers of types share.
#pragma once

#include <stdbool.h>

#include "base/base.h"
#include "types/types.h"

#define TYPES_HEAD_WORDS 6 // how much of a block's start the recognisers look at

// From the address that a type hangs on (a vtable, a class object) to the type; NULL = none there.
struct type_slot {
	uint64_t key; // 0 = empty
	const struct type *type;
};

struct types {
	struct target *target;
	const struct heaps *heaps;
	struct symbols *symbols;
	struct arena arena;
	struct type_slot *slots; // open addressing, a power of two, at most half full
	size_t slot_count, slots_used;
	VEC(const struct type *) all;
	const uint32_t *recorded; // of a snapshot: the type id of each block, else NULL
	size_t recorded_count;
	bool has_python;       // whether an interpreter is mapped at all
	unsigned python_minor; // 11 of Python 3.11; 0 unknown
	unsigned cxx_libraries;
	uint64_t window; // address of the bytes in window_bytes
	size_t window_used;
	uint8_t *window_bytes;
};

// The type that was found for key before; false when it was never asked.
bool types_recall(const struct types *types, uint64_t key, const struct type **ret);
void types_remember(struct types *types, uint64_t key, const struct type *type);

// A type of this name; the same pointer for the same three texts.
const struct type *types_make(struct types *types, const char *name, const char *language,
                              const char *binary);

// Base name of the module at address, "" when there is none.
const char *types_binary_at(const struct types *types, uint64_t address);

// The recognisers: the words at the start of a block of size bytes, already in host order.
const struct type *types_vtable(struct types *types, const uint64_t *words, size_t count,
                                uint64_t size);
bool types_has_python(const struct symbols *symbols);
unsigned types_python_minor(const struct symbols *symbols);
unsigned types_find_cxx_libraries(const struct symbols *symbols);
const struct type *types_python(struct types *types, const uint64_t *words, size_t count);
