// SPDX-License-Identifier: MIT
// types: what a block is: a C++ object by its vtable (also in stripped programs),
// a CPython object; else nothing is claimed. Asked once per distinct first word.
//
//   types.c    the cache and the order of the recognisers
//   vtables.c  C++: type_info behind the vtable, multiple inheritance
//   python.c   CPython objects
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "heaps/heaps.h"
#include "symbols/symbols.h"
#include "target/target.h"

// Equal pointers mean equal types.
struct type {
	const char *name;     // "ns::Session", made printable
	const char *language; // "C++", "Python"
	const char *binary;   // base name of the module that defines it, or ""
	uint32_t id;          // 1, 2, ... in order of discovery
};

struct types;

// Finds nothing yet: types_of does. Lives until types_close; target, heaps and symbols live longer.
struct error *types_open(struct target *target, const struct heaps *heaps, struct symbols *symbols,
                         struct types **ret);
void types_close(struct types *types);

// The type of a block (index into heaps.blocks), or NULL. Not thread-safe.
const struct type *types_of(struct types *types, uint32_t block);

// All types found so far, in order of id.
const struct type *const *types_all(const struct types *types, size_t *ret_count);
