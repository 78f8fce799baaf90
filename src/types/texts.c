// SPDX-License-Identifier: MIT
// Where a text stands in the contents of a block: C strings, CPython's str and bytes, and the objects of
// libstdc++ and libc++ that own the characters of a std::string. Called by the report of stringdups.
#include <stdlib.h>
#include <string.h>

#include "types/types_impl.h"

#define FEWEST_LETTERS 4 // without a length beside it, less may be a number or a part of a pointer

// --- C strings -----------------------------------------------------------------------------------
static bool is_text_value(uint32_t value)
{
	if (value < 0x20)
		return value == '\t' || value == '\n' || value == '\r';
	if (value < 0xa0)
		return value < 0x7f;
	return !(value >= 0x202a && value <= 0x202e) && !(value >= 0x2066 && value <= 0x2069) &&
	       value != 0xfeff;
}

// text_utf8 looks at up to four bytes.
static size_t sequence_at(const uint8_t *bytes, size_t n, uint32_t *ret)
{
	char padded[5] = "";

	if (n >= sizeof(padded))
		return text_utf8((const char *)bytes, ret);
	memcpy(padded, bytes, n);
	return text_utf8(padded, ret);
}

size_t types_text_length(const uint8_t *bytes, size_t n)
{
	size_t i = 0, length;
	uint32_t value;

	while (i < n) {
		if (bytes[i] < 0x80) {
			value = bytes[i];
			length = 1;
		} else {
			length = sequence_at(bytes + i, n - i, &value);
		}
		if (!length || !is_text_value(value))
			break;
		i += length;
	}
	return i;
}

// Bytes of an address can be letters, too: all six of 0x555555554020 are.
static bool may_be_pointer(const struct types *types, const uint8_t *bytes, size_t n)
{
	uint64_t word = 0;

	if (n < types->target->word_bytes)
		return false;
	memcpy(&word, bytes, types->target->word_bytes);
	return target_segment_at(types->target, word) != NULL;
}

bool types_text_c(const struct types *types, const uint8_t *bytes, size_t n, bool is_exact,
                  struct types_text *ret)
{
	size_t length = types_text_length(bytes, n);

	if (!length || length == n || bytes[length])
		return false;
	if (!(is_exact && length + 1 == n) && length < FEWEST_LETTERS)
		return false;
	if (length < types->target->word_bytes && may_be_pointer(types, bytes, n))
		return false;
	*ret = (struct types_text){ TYPES_TEXT_C, TYPES_UTF8, 0, length };
	return true;
}

// --- std::string ---------------------------------------------------------------------------------
unsigned types_cxx_libraries(const struct types *types)
{
	return types->cxx_libraries;
}

unsigned types_find_cxx_libraries(const struct symbols *symbols)
{
	size_t count;
	const struct symbols_module *modules = symbols_modules(symbols, &count);
	unsigned found = 0;

	for (size_t i = 0; i < count; i++) {
		if (!strncmp(modules[i].name, "libstdc++", 9))
			found |= TYPES_LIBSTDCXX;
		if (!strncmp(modules[i].name, "libc++.so", 9))
			found |= TYPES_LIBCXX;
	}
	return found;
}

// libstdc++ (basic_string.h, the C++11 form): {characters, length, buffer}; the first word of the buffer is
// the capacity while the characters stand elsewhere. libc++ (<string>, the usual form of its ABI 1):
// {bytes of the block with the lowest bit set, length, characters}. Both have a NUL behind the characters.
bool types_std_string(unsigned library, const uint64_t words[3], struct types_std_string *ret)
{
	ret->length = words[1];
	if (library == TYPES_LIBSTDCXX) {
		ret->characters = words[0];
		ret->room = words[2] + 1;
		return words[2] >= 16 && words[2] != UINT64_MAX && ret->length < ret->room;
	}
	ret->characters = words[2];
	ret->room = words[0] & ~(uint64_t)1;
	return words[0] & 1 && ret->room % 16 == 0 && ret->room >= 32 && ret->length < ret->room;
}

bool types_std_string_fits(const struct types_std_string *string, uint64_t buffer, uint64_t size)
{
	return string->characters == buffer && string->room <= size &&
	       size - string->room < TYPES_STD_STRING_SLACK;
}

#define STDCXX_BYTES 32 // {characters, length, 16 bytes of them}
#define LIBCXX_BYTES 24 // twice the length in the first byte, 23 bytes of them
#define LIBCXX_MOST  22
#define SHORT_SLACK  8

static bool short_place(const uint8_t *bytes, size_t offset, uint64_t length,
                        struct types_text *ret)
{
	if (bytes[offset + length] || types_text_length(bytes + offset, length) < length)
		return false;
	*ret = (struct types_text){ TYPES_TEXT_STD_STRING, TYPES_UTF8, offset, length };
	return true;
}

bool types_text_short_string(const struct types *types, uint64_t address, const uint8_t *bytes,
                             size_t n, uint64_t size, struct types_text *ret)
{
	uint64_t words[2];

	if (!types->cxx_libraries || n < LIBCXX_BYTES || size > STDCXX_BYTES + SHORT_SLACK)
		return false;
	memcpy(words, bytes, sizeof(words));
	if (types->cxx_libraries & TYPES_LIBSTDCXX && n >= STDCXX_BYTES &&
	    words[0] == address + sizeof(words) && words[1] && words[1] < 16)
		return short_place(bytes, sizeof(words), words[1], ret);
	if (types->cxx_libraries & TYPES_LIBCXX && size <= LIBCXX_BYTES + SHORT_SLACK && bytes[0] &&
	    bytes[0] % 2 == 0 && bytes[0] / 2 <= LIBCXX_MOST)
		return short_place(bytes, 1, bytes[0] / 2, ret);
	return false;
}

// --- CPython -------------------------------------------------------------------------------------
bool types_knows_python(const struct types *types)
{
	return types->has_python;
}

// "python3.11", "libpython3.13.so.1.0": the minor version, 0 unknown.
unsigned types_python_minor(const struct symbols *symbols)
{
	size_t count;
	const struct symbols_module *modules = symbols_modules(symbols, &count);

	for (size_t i = 0; i < count; i++) {
		const char *name = modules[i].name;

		name += strncmp(name, "lib", 3) ? 0 : 3;
		if (!strncmp(name, "python3.", 8))
			return (unsigned)strtoul(name + 8, NULL, 10);
	}
	return 0;
}

static uint64_t field(const uint8_t *bytes, size_t at)
{
	uint64_t value;

	memcpy(&value, bytes + at, sizeof(value));
	return value;
}

static bool place_text(uint64_t size, uint64_t length, unsigned width, size_t offset,
                       struct types_text *ret)
{
	if (offset > size || length > (size - offset) / width)
		return false;
	ret->offset = offset;
	ret->bytes = length * width;
	return true;
}

// PyASCIIObject and PyCompactUnicodeObject (Include/cpython/unicodeobject.h): {object, length, hash,
// state}, up to 3.11 with a wstr pointer more; then for all but ASCII the length and pointer of a UTF-8
// form, up to 3.11 with a wstr length more. Only the compact forms have their characters behind that.
// Held against 3.8 to 3.13.
static bool python_str(const struct types *types, const uint8_t *bytes, size_t n, uint64_t size,
                       struct types_text *ret)
{
	static const uint8_t encodings[] = {
		[1] = TYPES_LATIN1, [2] = TYPES_UCS2, [4] = TYPES_UCS4
	};
	unsigned minor = types->python_minor, state, kind;
	size_t header = minor >= 12 ? 40 : 48;

	if (minor < 8 || minor > 13 || n < header)
		return false;
	state = bytes[32];
	kind = state >> 2 & 7;
	if (!(state >> 5 & 1) || (kind != 1 && kind != 2 && kind != 4))
		return false;
	ret->kind = TYPES_TEXT_PYTHON;
	ret->encoding = (enum types_encoding)encodings[kind];
	if (state >> 6 & 1) // ASCII
		ret->encoding = TYPES_UTF8;
	else
		header += minor >= 12 ? 16 : 24;
	return place_text(size, field(bytes, 16), kind, header, ret);
}

bool types_text_python(const struct types *types, const struct type *type, const uint8_t *bytes,
                       size_t n, uint64_t size, struct types_text *ret)
{
	if (strcmp(type->language, "Python") != 0 || types->target->word_bytes != 8 ||
	    types->target->big_endian)
		return false;
	if (!strcmp(type->name, "str"))
		return python_str(types, bytes, n, size, ret);
	if (strcmp(type->name, "bytes") != 0 ||
	    n < 32) // PyBytesObject: {object, size, hash, bytes}
		return false;
	ret->kind = TYPES_TEXT_PYTHON_BYTES;
	ret->encoding = TYPES_BYTES;
	return place_text(size, field(bytes, 16), 1, 32, ret);
}
