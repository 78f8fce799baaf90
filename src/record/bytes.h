// SPDX-License-Identifier: MIT
// A cursor over bytes that cannot be trusted; used by cfi.c and cfi_step.c.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A cursor that never leaves its bytes: past the end it gives zeros and remembers that.
struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

static inline uint64_t get_bytes(struct cursor *from, unsigned count)
{
	uint64_t value = 0;

	if ((size_t)(from->end - from->at) < count) {
		from->at = from->end;
		from->bad = true;
		return 0;
	}
	for (unsigned i = count; i--;) // by hand: the plain memcpy is a call in this room
		value = value << 8 | from->at[i];
	from->at += count;
	return value;
}

static inline int64_t get_signed(struct cursor *from, unsigned count)
{
	unsigned shift = 64 - 8 * count;

	return (int64_t)(get_bytes(from, count) << shift) >> shift;
}

static inline uint64_t get_leb(struct cursor *from, bool is_signed)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = (uint8_t)get_bytes(from, 1);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	if (is_signed && byte & 0x40 && shift < 64)
		value |= ~UINT64_C(0) << shift;
	return value;
}

static inline uint64_t get_uleb(struct cursor *from)
{
	return get_leb(from, false);
}

static inline int64_t get_sleb(struct cursor *from)
{
	return (int64_t)get_leb(from, true);
}

static inline const uint8_t *get_block(struct cursor *from, uint64_t bytes)
{
	const uint8_t *block = from->at;

	if (bytes > (uint64_t)(from->end - from->at)) {
		from->at = from->end;
		from->bad = true;
		return block;
	}
	from->at += bytes;
	return block;
}
