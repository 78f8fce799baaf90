// SPDX-License-Identifier: MIT
// The emitter: one set of calls gives a document as text or as JSON. Nothing
// outside this pair of files asks which of the two it is.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum emit_format {
	EMIT_TEXT,
	EMIT_JSON,
};

struct emitter;

// Writes to out through a buffer; emit_end flushes and frees. What could not be written (a full
// disk) is emit_end's error, and no longer the stream's; a reader that saw enough is none. Not
// thread-safe. Nesting deeper than any report needs ends the program.
struct emitter *emit_begin(FILE *out, enum emit_format format);
struct error *emit_end(struct emitter *e);

// For who watches a document that goes on. False when nothing can be written any more: why is told by
// emit_end.
bool emit_flush(struct emitter *e);

// Text only: layout and headings. Foreign strings must be printable already (text_printable).
void emit_text(struct emitter *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The same of bytes that stand already as they shall be.
void emit_bytes(struct emitter *e, const char *bytes, size_t n);

// Whether emit_text has an effect: lets a report leave out work whose outcome nobody would see.
bool emit_is_text(const struct emitter *e);

// JSON structure; nothing in text. key is NULL inside an array.
void emit_object(struct emitter *e, const char *key);
void emit_object_end(struct emitter *e);
void emit_array(struct emitter *e, const char *key);
void emit_array_end(struct emitter *e);

// Values: `text` is the printf format for text with exactly this one argument, or NULL to say it in JSON
// only. The u64 format takes PRIu64; addresses stand as "0x..." strings in JSON. Strings are escaped.
void emit_u64(struct emitter *e, const char *key, uint64_t value, const char *text);
void emit_i64(struct emitter *e, const char *key, int64_t value, const char *text); // PRId64
void emit_address(struct emitter *e, const char *key, uint64_t value, const char *text);
void emit_double(struct emitter *e, const char *key, double value, const char *text);
void emit_bool(struct emitter *e, const char *key, bool value, const char *text_if_true);
void emit_string(struct emitter *e, const char *key, const char *value,
                 const char *text); // NULL -> null

// What is not known: null in JSON, nothing in text.
void emit_null(struct emitter *e, const char *key);
void emit_known_u64(struct emitter *e, const char *key, bool known, uint64_t value,
                    const char *text);
void emit_known_double(struct emitter *e, const char *key, bool known, double value,
                       const char *text);
