// SPDX-License-Identifier: MIT
// Formats text into a buffer of the caller for message.c: no allocation, no locale, no stdio, safe in
// a signal handler.
#include "malloc/malloc.h"

#include <string.h>

struct text {
	char *at, *end; // end is where the NUL must go at the latest
};

struct field {
	unsigned width;
	int precision; // of a string; -1 none
	char pad;
	bool left;
	unsigned longs; // l: 1, ll and z: 2
};

static void put_bytes(struct text *text, const char *bytes, size_t count)
{
	size_t room = (size_t)(text->end - text->at);

	count = count < room ? count : room;
	memcpy(text->at, bytes, count);
	text->at += count;
}

static void put_repeated(struct text *text, char character, size_t count)
{
	while (count-- && text->at < text->end)
		*text->at++ = character;
}

static void put_padded(struct text *text, const struct field *field, const char *bytes,
                       size_t count)
{
	size_t missing = field->width > count ? field->width - count : 0;
	size_t sign = field->pad == '0' && count && *bytes == '-';

	if (field->left) {
		put_bytes(text, bytes, count);
		put_repeated(text, ' ', missing);
		return;
	}
	put_bytes(text, bytes, sign);
	put_repeated(text, field->pad, missing);
	put_bytes(text, bytes + sign, count - sign);
}

static void put_number(struct text *text, const struct field *field, uint64_t value, bool negative,
                       char conversion)
{
	const char *digits = conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	unsigned base = conversion == 'd' || conversion == 'u' ? 10 : 16;
	char buffer[32];
	char *at = buffer + sizeof(buffer);

	do {
		*--at = digits[value % base];
		value /= base;
	} while (value);
	if (conversion == 'p') {
		*--at = 'x';
		*--at = '0';
	}
	if (negative)
		*--at = '-';
	put_padded(text, field, at, (size_t)(buffer + sizeof(buffer) - at));
}

static void put_size(struct text *text, uint64_t bytes)
{
	static const char *const units[] = { "b", "KB", "MB", "GB" };
	const struct field plain = { .pad = ' ', .precision = -1 };
	unsigned unit = 0;

	while (unit < 3 && bytes >= 1024) {
		bytes = (bytes + 512) / 1024;
		unit++;
	}
	put_number(text, &plain, bytes, false, 'u');
	put_bytes(text, units[unit], strlen(units[unit]));
}

static void put_string(struct text *text, const struct field *field, const char *string)
{
	size_t most = field->precision < 0 ? SIZE_MAX : (size_t)field->precision;

	if (!string)
		string = "(null)";
	put_padded(text, field, string, strnlen(string, most));
}

static uint64_t unsigned_argument(const struct field *field, va_list *arguments)
{
	if (field->longs)
		return va_arg(*arguments, uint64_t);
	return va_arg(*arguments, unsigned);
}

static int64_t signed_argument(const struct field *field, va_list *arguments)
{
	if (field->longs)
		return va_arg(*arguments, int64_t);
	return va_arg(*arguments, int);
}

// What stands between % and the conversion; returns where the conversion is.
static const char *read_field(const char *at, va_list *arguments, struct field *ret)
{
	*ret = (struct field){ .pad = ' ', .precision = -1 };
	for (; *at == '0' || *at == '-' || *at == '#'; at++) {
		ret->left |= *at == '-';
		ret->pad = *at == '0' ? '0' : ret->pad;
	}
	for (; *at >= '0' && *at <= '9'; at++)
		ret->width = ret->width * 10 + (unsigned)(*at - '0');
	if (at[0] == '.' && at[1] == '*') {
		ret->precision = va_arg(*arguments, int);
		at += 2;
	}
	for (; *at == 'l' || *at == 'z' || *at == 'h' || *at == 't'; at++)
		ret->longs += *at != 'h';
	return at;
}

static void put_conversion(struct text *text, const struct field *field, char conversion,
                           va_list *arguments)
{
	int64_t number;
	char character;

	switch (conversion) {
	case 'd':
	case 'i':
		number = signed_argument(field, arguments);
		put_number(text, field, number < 0 ? 0 - (uint64_t)number : (uint64_t)number,
		           number < 0, 'd');
		return;
	case 'u':
	case 'x':
	case 'X':
		put_number(text, field, unsigned_argument(field, arguments), false, conversion);
		return;
	case 'p':
		put_number(text, field, (uintptr_t)va_arg(*arguments, void *), false, 'p');
		return;
	case 's':
		put_string(text, field, va_arg(*arguments, const char *));
		return;
	case 'c':
		character = (char)va_arg(*arguments, int);
		put_padded(text, field, &character, 1);
		return;
	case 'y':
		put_size(text, va_arg(*arguments, size_t));
		return;
	default:
		put_bytes(text, &conversion, 1);
	}
}

size_t malloc_format(char *buffer, size_t bytes, const char *format, va_list arguments)
{
	struct text text = { buffer, buffer + bytes - 1 };
	struct field field;
	va_list left;

	va_copy(left, arguments);
	while (*format) {
		size_t plain = strcspn(format, "%");

		put_bytes(&text, format, plain);
		format += plain;
		if (!*format)
			break;
		format = read_field(format + 1, &left, &field);
		if (!*format)
			break;
		put_conversion(&text, &field, *format++, &left);
	}
	va_end(left);
	*text.at = '\0';
	return (size_t)(text.at - buffer);
}

size_t malloc_text(char *buffer, size_t bytes, const char *format, ...)
{
	va_list arguments;
	size_t count;

	va_start(arguments, format);
	count = malloc_format(buffer, bytes, format, arguments);
	va_end(arguments);
	return count;
}
