// SPDX-License-Identifier: MIT
// Text and JSON from the same calls (report/emit.h).
#include "report/emit.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define DEEPEST 128 // twice what the deepest tree needs: an object and an array per level

struct emitter {
	FILE *out;
	enum emit_format format;
	int failure; // errno of a flush
	unsigned depth;
	bool has_member[DEEPEST]; // whether the open object or array has a member already
};

struct emitter *emit_begin(FILE *out, enum emit_format format)
{
	struct emitter *e = calloc(1, sizeof(*e));

	if (!e)
		abort();
	e->out = out;
	e->format = format;
	if (format == EMIT_JSON)
		fputc('{', out);
	return e;
}

struct error *emit_end(struct emitter *e)
{
	FILE *out = e->out;
	int failure;

	if (e->format == EMIT_JSON)
		fputs("\n}\n", e->out);
	emit_flush(e);
	failure = e->failure;
	free(e);
	if (!failure)
		return NULL;
	clearerr(out);
	return failure == EPIPE ? NULL : error_system(failure, "cannot write the output");
}

bool emit_flush(struct emitter *e)
{
	errno = 0;
	if ((fflush(e->out) || ferror(e->out)) && !e->failure)
		e->failure = errno ? errno : EIO;
	return !e->failure;
}

bool emit_is_text(const struct emitter *e)
{
	return e->format == EMIT_TEXT;
}

void emit_text(struct emitter *e, const char *format, ...)
{
	va_list arguments;

	if (e->format != EMIT_TEXT)
		return;
	va_start(arguments, format);
	vfprintf(e->out, format, arguments);
	va_end(arguments);
}

void emit_bytes(struct emitter *e, const char *bytes, size_t n)
{
	if (e->format == EMIT_TEXT)
		fwrite(bytes, 1, n, e->out);
}

// Characters up to the first that JSON wants escaped or that is not ASCII.
static size_t plain_length(const char *text)
{
	size_t n = 0;

	while (text[n] >= 0x20 && text[n] < 0x7f && text[n] != '"' && text[n] != '\\')
		n++;
	return n;
}

static size_t json_character(FILE *out, const char *text)
{
	uint32_t value = 0;
	size_t length = text_utf8(text, &value); // JSON must be UTF-8

	if (*text == '"' || *text == '\\')
		fprintf(out, "\\%c", *text);
	else if (length && (value < 0x20 || value == 0x7f))
		fprintf(out, "\\u%04x", (unsigned)value);
	else if (!length)
		fputs("\\ufffd", out);
	else
		fwrite(text, 1, length, out);
	return length ? length : 1;
}

static void json_string(FILE *out, const char *text)
{
	fputc('"', out);
	while (*text) {
		size_t n = plain_length(text);

		if (n)
			fwrite(text, 1, n, out);
		else
			n = json_character(out, text);
		text += n;
	}
	fputc('"', out);
}

// Comma, line break, indent and the key.
static void json_member(struct emitter *e, const char *key)
{
	static const char spaces[] = "                                ";

	fputs(e->has_member[e->depth] ? ",\n" : "\n", e->out);
	fwrite(spaces, 1, e->depth + 1 < sizeof(spaces) ? e->depth + 1 : sizeof(spaces) - 1,
	       e->out);
	e->has_member[e->depth] = true;
	if (key) {
		json_string(e->out, key);
		fputs(": ", e->out);
	}
}

static void json_open(struct emitter *e, const char *key, char bracket)
{
	if (e->format != EMIT_JSON)
		return;
	json_member(e, key);
	fputc(bracket, e->out);
	if (e->depth + 1 >= DEEPEST)
		abort();
	e->has_member[++e->depth] = false;
}

static void json_close(struct emitter *e, char bracket)
{
	if (e->format != EMIT_JSON)
		return;
	if (e->has_member[e->depth])
		fprintf(e->out, "\n%*s", (int)(e->depth < 32 ? e->depth : 32), "");
	e->depth--;
	fputc(bracket, e->out);
}

void emit_object(struct emitter *e, const char *key)
{
	json_open(e, key, '{');
}

void emit_object_end(struct emitter *e)
{
	json_close(e, '}');
}

void emit_array(struct emitter *e, const char *key)
{
	json_open(e, key, '[');
}

void emit_array_end(struct emitter *e)
{
	json_close(e, ']');
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

void emit_u64(struct emitter *e, const char *key, uint64_t value, const char *text)
{
	if (e->format == EMIT_JSON) {
		json_member(e, key);
		fprintf(e->out, "%" PRIu64, value);
	} else if (text) {
		fprintf(e->out, text, value);
	}
}

void emit_i64(struct emitter *e, const char *key, int64_t value, const char *text)
{
	if (e->format == EMIT_JSON) {
		json_member(e, key);
		fprintf(e->out, "%" PRId64, value);
	} else if (text) {
		fprintf(e->out, text, value);
	}
}

void emit_address(struct emitter *e, const char *key, uint64_t value, const char *text)
{
	if (e->format == EMIT_JSON) {
		json_member(e, key);
		fprintf(e->out, "\"0x%" PRIx64 "\"", value);
	} else if (text) {
		fprintf(e->out, text, value);
	}
}

void emit_double(struct emitter *e, const char *key, double value, const char *text)
{
	if (e->format == EMIT_JSON) {
		json_member(e, key);
		if (isfinite(value))
			fprintf(e->out, "%.6g", value);
		else
			fputs("null", e->out);
	} else if (text) {
		fprintf(e->out, text, value);
	}
}

void emit_string(struct emitter *e, const char *key, const char *value, const char *text)
{
	if (e->format == EMIT_JSON) {
		json_member(e, key);
		if (value)
			json_string(e->out, value);
		else
			fputs("null", e->out);
	} else if (text && value) {
		fprintf(e->out, text, value);
	}
}

#pragma GCC diagnostic pop

void emit_bool(struct emitter *e, const char *key, bool value, const char *text_if_true)
{
	if (e->format == EMIT_JSON) {
		json_member(e, key);
		fputs(value ? "true" : "false", e->out);
	} else if (text_if_true && value) {
		fputs(text_if_true, e->out);
	}
}

void emit_null(struct emitter *e, const char *key)
{
	emit_string(e, key, NULL, NULL);
}

void emit_known_u64(struct emitter *e, const char *key, bool known, uint64_t value,
                    const char *text)
{
	if (known)
		emit_u64(e, key, value, text);
	else
		emit_null(e, key);
}

void emit_known_double(struct emitter *e, const char *key, bool known, double value,
                       const char *text)
{
	if (known)
		emit_double(e, key, value, text);
	else
		emit_null(e, key);
}
