// SPDX-License-Identifier: MIT
// A line of text that is put together without printf: for reports with a million of them.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"
#include "os/os.h"

// Zeroed and line_init before the first use; the bytes are not terminated.
struct line {
	VEC(char) bytes;
};

void line_init(struct line *line);
void line_deinit(struct line *line);
void line_clear(struct line *line);
void line_bytes(struct line *line, const char *bytes, size_t n);
void line_text(struct line *line, const char *text);
void line_decimal(struct line *line, uint64_t value);
void line_hex(struct line *line, uint64_t value); // without 0x
