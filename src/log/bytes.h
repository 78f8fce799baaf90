// SPDX-License-Identifier: MIT
// Numbers and columns as they lie in a log: varints (7 bits a byte, low bits first, the high bit says
// that more follow), signed ones folded so that small stay small, and columns, each packed by itself.
// Writing relies on room that the caller made; reading trusts nothing and remembers an overrun.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zstd.h>

#include "base/error.h"
#include "base/vec.h"

enum {
	LOG_VARINT_BYTES = 10,  // at most
	LOG_PADDING = 16,       // readable bytes behind an unpacked column
	LOG_MOST_RATIO = 65536, // of unpacked to packed bytes; zstd itself stays below
};

typedef VEC(uint8_t) log_bytes;

// CRC-32 as zlib, PNG and Ethernet have it. Start with 0; several pieces can be chained.
uint32_t log_crc(uint32_t crc, const void *bytes, size_t count);

// --- writing -----------------------------------------------------------------------------------------
static inline uint8_t *put_varint(uint8_t *at, uint64_t value)
{
	while (value >= 0x80) {
		*at++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*at++ = (uint8_t)value;
	return at;
}

static inline uint64_t fold(int64_t value)
{
	return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static inline int64_t unfold(uint64_t value)
{
	return (int64_t)(value >> 1 ^ -(value & 1));
}

void log_add(log_bytes *to, const void *bytes, size_t count);
void log_add_varint(log_bytes *to, uint64_t value);
void log_add_text(log_bytes *to, const char *text); // NULL is ""

// Packs a column and appends it: its length, its packed length, the bytes.
struct error *log_add_column(ZSTD_CCtx *zstd, log_bytes *to, const uint8_t *bytes, size_t count);

// --- reading -----------------------------------------------------------------------------------------
struct log_cursor {
	const uint8_t *at, *end; // LOG_PADDING bytes behind end can be read
	bool bad;                // something was not there
};

// Reads on where the value does not end: LOG_VARINT_BYTES must be readable.
static inline uint64_t take_varint_at(const uint8_t **at)
{
	uint64_t value = *(*at)++;

	if (value >= 0x80) {
		unsigned shift = 7;

		value &= 0x7f;
		do {
			value |= (uint64_t)(**at & 0x7f) << shift;
			shift += 7;
		} while (*(*at)++ >= 0x80 && shift < 64);
	}
	return value;
}

static inline uint64_t take_varint(struct log_cursor *from)
{
	const uint8_t *at = from->at;
	uint64_t value = take_varint_at(&at);

	from->bad |= at > from->end;
	from->at = at <= from->end ? at : from->end;
	return value;
}

static inline uint8_t take_byte(struct log_cursor *from)
{
	if (from->at == from->end) {
		from->bad = true;
		return 0;
	}
	return *from->at++;
}

// count bytes, NULL when there are fewer.
const uint8_t *take_bytes(struct log_cursor *from, uint64_t count);

// Unpacks the next column into what to has room for, and appends padding. limit_bytes is the most that
// it may have. The cursor goes over it.
struct error *log_take_column(ZSTD_DCtx *zstd, struct log_cursor *from, size_t limit_bytes,
                              log_bytes *to, struct log_cursor *ret);
// Moves the cursor over the next column; false when it is not there.
bool log_skip_column(struct log_cursor *from);
