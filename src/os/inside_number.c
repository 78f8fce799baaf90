// SPDX-License-Identifier: MIT
// Numbers as text and back, for code that may use no stdio.
#include "os/inside.h"

char *inside_number_text(char *end, uint64_t n)
{
	*--end = '\0';
	do
		*--end = (char)('0' + n % 10);
	while (n /= 10);
	return end;
}

static uint64_t unit_of(char c)
{
	switch (c | 0x20) {
	case 'k':
		return 1 << 10;
	case 'm':
		return 1 << 20;
	case 'g':
		return 1 << 30;
	}
	return 0;
}

bool inside_number_read(const char *text, size_t length, bool units, uint64_t *ret)
{
	uint64_t n = 0, unit = units && length ? unit_of(text[length - 1]) : 0;

	length -= unit != 0;
	if (!length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
			return false;
	*ret = n;
	return !unit || !__builtin_mul_overflow(n, unit, ret);
}
