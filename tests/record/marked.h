// SPDX-License-Identifier: MIT
// How a test's own blocks are told from those of libraries: by their sizes and their first word.
#pragma once

#include <stdint.h>

#include "layout/record.h"

enum { MARKED_STEP = 4096, MARKED_REST = 1701 };

#define MARKED_WORD UINT64_C(0x6d61726b65640001)

static inline int marked_event(const struct record_event *event)
{
	uint32_t kind = event->stamp & 0xff;

	if (kind == RECORD_FREE || kind == RECORD_REALLOC_FREE)
		return event->bytes == MARKED_WORD;
	if (kind >= RECORD_MALLOC && kind <= RECORD_REALLOC)
		return event->bytes % MARKED_STEP == MARKED_REST;
	return kind == RECORD_FORK || kind == RECORD_EXEC;
}
