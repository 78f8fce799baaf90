// SPDX-License-Identifier: MIT
// Sizes, numbers and printable copies of foreign text (base/text.h).
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static const char units[] = "KMGTPE";

// A number below 1000 of 2^shift bytes each, with decimals: rounded as printf rounds, and many times faster.
static void put_scaled(uint64_t bytes, unsigned shift, int decimals, char unit, char *buffer)
{
	static const unsigned powers[] = { 1, 10, 100 };
	unsigned __int128 scaled = (unsigned __int128)bytes * powers[decimals];
	unsigned __int128 one = (unsigned __int128)1 << shift, rest = scaled & (one - 1);
	unsigned value = (unsigned)(scaled >> shift);
	char digits[8];
	int n = 0;

	value += rest * 2 > one || (rest * 2 == one && value % 2);
	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
		if (n == decimals)
			digits[n++] = '.';
	} while (value || n < decimals + 2 - !decimals);
	while (n)
		*buffer++ = digits[--n];
	*buffer++ = unit;
	*buffer = '\0';
}

char *text_size(uint64_t bytes, char buffer[TEXT_SIZE_BYTES])
{
	double value = (double)bytes;
	int unit = -1, decimals;

	if (bytes < 1000) {
		snprintf(buffer, TEXT_SIZE_BYTES, bytes == 1 ? "1 byte" : "%u bytes",
		         (unsigned)bytes);
		return buffer;
	}
	while (unit < 5 && (unit < 0 || value >= 999.5)) {
		value /= 1024;
		unit++;
	}
	decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	put_scaled(bytes, 10 * ((unsigned)unit + 1), decimals, units[unit], buffer);
	return buffer;
}

char *text_size_k(uint64_t bytes, char buffer[TEXT_SIZE_BYTES])
{
	double value = (double)bytes / 1024;
	int unit = 0;

	if (bytes % 1024) {
		snprintf(buffer, TEXT_SIZE_BYTES, "%llu", (unsigned long long)bytes);
		return buffer;
	}
	if (value < 10000) {
		snprintf(buffer, TEXT_SIZE_BYTES, "%.0fK", value);
		return buffer;
	}
	while (unit < 5 && value >= 1024) {
		value /= 1024;
		unit++;
	}
	snprintf(buffer, TEXT_SIZE_BYTES, "%.1f%c", value, units[unit]);
	return buffer;
}

void text_hex(const void *bytes, size_t n, char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		uint8_t byte = ((const uint8_t *)bytes)[i];

		*hex++ = digits[byte >> 4];
		*hex++ = digits[byte & 15];
	}
	*hex = '\0';
}

size_t text_utf8(const char *bytes, uint32_t *ret)
{
	const unsigned char *text = (const unsigned char *)bytes;
	size_t length = text[0] < 0x80   ? 1
	                : text[0] < 0xc2 ? 0
	                : text[0] < 0xe0 ? 2
	                : text[0] < 0xf0 ? 3
	                : text[0] < 0xf5 ? 4
	                                 : 0;
	uint32_t value = length == 1 ? text[0] : text[0] & (0xff >> (length + 1));

	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (text[i] & 0x3f);
	}
	if ((length == 3 && value < 0x800) || (length == 4 && value < 0x10000) ||
	    (value >= 0xd800 && value < 0xe000) || value > 0x10ffff)
		return 0;
	*ret = value;
	return length;
}

static bool drives_terminal(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

const char *text_printable(struct arena *arena, const char *text)
{
	char *copy = arena_alloc(arena, strlen(text) * 4 + 1), *out = copy;

	while (*text) {
		uint32_t value = 0;
		size_t length = text_utf8(text, &value);
		bool raw = length && !drives_terminal(value);

		for (size_t i = 0; i < (length ? length : 1); i++, text++) {
			if (raw)
				*out++ = *text;
			else
				out += sprintf(out, "\\x%02X", (unsigned char)*text);
		}
	}
	return copy;
}

const char *text_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool text_starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static int parse_unit(const char *unit)
{
	static const char letters[] = "kmgt";
	const char *found;

	if (!*unit)
		return 0;
	found = strchr(letters, *unit | 0x20);
	return found && !unit[1] ? 10 * (int)(found - letters + 1) : -1;
}

int text_parse_u64(const char *text, uint64_t *ret)
{
	bool hex = text[0] == '0' && (text[1] | 0x20) == 'x';
	char *end;
	int shift;

	if (text[0] < '0' || text[0] > '9' || (hex && !text[2]))
		return -1;
	errno = 0;
	*ret = strtoull(text, &end, hex ? 16 : 10);
	shift = parse_unit(end);
	if (errno || shift < 0 || (shift && *ret >> (64 - shift)))
		return -1;
	*ret <<= shift;
	return 0;
}

int text_parse_seconds(const char *text, uint64_t *ret_ns)
{
	uint64_t whole = 0, fraction = 0, scale = 1000000000;
	const char *p = text;

	if (*p < '0' || *p > '9')
		return -1;
	for (; *p >= '0' && *p <= '9'; p++)
		if ((whole = whole * 10 + (uint64_t)(*p - '0')) > 1000000000)
			return -1;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9' && scale > 1; p++, scale /= 10)
			fraction = fraction * 10 + (uint64_t)(*p - '0');
	if (*p)
		return -1;
	*ret_ns = whole * 1000000000 + fraction * scale;
	return 0;
}
