// SPDX-License-Identifier: MIT
// Text for people: sizes as the macOS tools write them, and foreign bytes made
// safe for a terminal.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

#define TEXT_SIZE_BYTES 24

// "768 bytes" under 1000, else three significant digits and K, M, G, T (binary): "2.58K", "18.4K",
// "4.84M". Writes at most TEXT_SIZE_BYTES and returns buffer.
char *text_size(uint64_t bytes, char buffer[TEXT_SIZE_BYTES]);

// The vmmap way: raw bytes when not a whole K, "16K" up to 9999K, then one decimal M, G, T.
char *text_size_k(uint64_t bytes, char buffer[TEXT_SIZE_BYTES]);

// A copy in which control characters, DEL and bytes that are not valid UTF-8 stand as \xNN (also
// U+0080..U+009F and the bidirectional controls), so that no name can drive a terminal.
const char *text_printable(struct arena *arena, const char *text);

// Two lower-case digits per byte; hex holds 2 * n + 1.
void text_hex(const void *bytes, size_t n, char *hex);

// Length of the valid UTF-8 sequence at bytes (its value in *ret), 0 when there is none. Overlong
// forms, surrogates and values above U+10FFFF are not valid (RFC 3629).
size_t text_utf8(const char *bytes, uint32_t *ret);

// What follows the last slash, or all of the path when there is none.
const char *text_base_name(const char *path);

bool text_starts_with(const char *text, const char *start);

// Parses "4096", "0x1000", "4k", "2M", "1G" (binary units). Returns 0, or -1 when it is no number
// or does not fit.
int text_parse_u64(const char *text, uint64_t *ret);

// Parses seconds with an optional fraction ("2", "0.5") into nanoseconds; 0 or -1.
int text_parse_seconds(const char *text, uint64_t *ret_ns);
