// SPDX-License-Identifier: MIT
// types: what a block is: a C++ object by its vtable (also in stripped programs),
// a CPython object; else nothing is claimed. Asked once per distinct first word.
//
//   types.c    the cache and the order of the recognisers
//   vtables.c  C++: type_info behind the vtable, multiple inheritance
//   python.c   CPython objects
//   pymalloc.c the small objects of CPython, which no malloc knows one by one
//   texts.c    where a text stands in the contents of a block
#pragma once

#include <stdbool.h>
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

// --- pymalloc.c ----------------------------------------------------------------------------------
// A live block of CPython's own allocator, of up to 512 bytes.
struct types_object {
	struct heap_block block;
	const struct type *type; // NULL: it is not known
};

// All of them, in order of address, in arena. Empty where there is no CPython, or its objects are blocks of
// malloc, or the layout of its pools is not known (3.8 to 3.13 are).
struct error *types_python_objects(struct types *types, struct arena *arena,
                                   const struct types_object **ret, size_t *ret_count);

// --- texts.c -------------------------------------------------------------------------------------
enum types_text_kind {
	TYPES_TEXT_NONE,
	TYPES_TEXT_C,            // printable UTF-8 up to a NUL
	TYPES_TEXT_STD_STRING,   // the characters of a std::string, of libstdc++ or libc++
	TYPES_TEXT_PYTHON,       // a str of CPython
	TYPES_TEXT_PYTHON_BYTES, // a bytes object
};

enum types_encoding { TYPES_UTF8, TYPES_LATIN1, TYPES_UCS2, TYPES_UCS4, TYPES_BYTES };

// Where in a block its text stands.
struct types_text {
	enum types_text_kind kind;
	enum types_encoding encoding;
	uint64_t offset, bytes; // within the block
};

// How many of n bytes are printable UTF-8 (with tab and line ends), from the first on.
size_t types_text_length(const uint8_t *bytes, size_t n);

// Whether the first n bytes of a block begin with a C string that ends within them: at least four letters,
// unless is_exact says that the program asked for just n bytes and the string fills them. No words that
// are addresses of the target.
bool types_text_c(const struct types *types, const uint8_t *bytes, size_t n, bool is_exact,
                  struct types_text *ret);

// Whether there can be Python objects at all, and the text of one: a block of size bytes whose first n are
// at hand, of that type. False for every other type.
bool types_knows_python(const struct types *types);
bool types_text_python(const struct types *types, const struct type *type, const uint8_t *bytes,
                       size_t n, uint64_t size, struct types_text *ret);

// Which C++ libraries are there: their strings look different.
enum { TYPES_LIBSTDCXX = 1, TYPES_LIBCXX = 2 };
unsigned types_cxx_libraries(const struct types *types);

// Whether three words in a row are a std::string of that library that keeps its characters elsewhere: then
// where they stand, and how many they are. The block at that place, of so many usable bytes, must fit.
#define TYPES_STD_STRING_SLACK 32 // usable bytes that a heap may give beyond what was asked for
struct types_std_string {
	uint64_t characters, length;
	uint64_t room; // bytes of the block that were asked for
};
bool types_std_string(unsigned library, const uint64_t words[3], struct types_std_string *ret);
bool types_std_string_fits(const struct types_std_string *string, uint64_t buffer, uint64_t size);

// The characters in a block of size bytes at an address that is nothing but a std::string of the short form
// (new std::string); its first n bytes are at hand.
bool types_text_short_string(const struct types *types, uint64_t address, const uint8_t *bytes,
                             size_t n, uint64_t size, struct types_text *ret);
