// SPDX-License-Identifier: MIT
// The functions of include/heapwright/block_move.h. What goes past the caches is done 64 bytes at a
// time by os/<cpu>/stream.c; the ends that are left, and ranges that overlap, by memmove and memset.
#include "malloc/malloc.h"

#include <string.h>

#include "include/heapwright/block_move.h"
#include "os/inside.h"

enum { LINE_BYTES = 64, STREAM_MIN_BYTES = 4 * LINE_BYTES };

MALLOC_EXPORT void BlockMoveData(const void *source, void *destination, Size count)
{
	if (count > 0)
		memmove(destination, source, (size_t)count);
}

MALLOC_EXPORT void BlockMove(const void *source, void *destination, Size count)
{
	BlockMoveData(source, destination, count);
}

static bool overlap(const char *source, const char *destination, size_t count)
{
	return source < destination + count && destination < source + count;
}

static size_t to_line(const void *p)
{
	return -(uintptr_t)p & (LINE_BYTES - 1);
}

MALLOC_EXPORT void BlockMoveDataUncached(const void *source, void *destination, Size count)
{
	const char *from = source;
	char *to = destination;
	size_t head = to_line(to), lines;

	if (count < STREAM_MIN_BYTES || overlap(from, to, (size_t)count)) {
		BlockMoveData(source, destination, count);
		return;
	}
	lines = ((size_t)count - head) / LINE_BYTES;
	memcpy(to, from, head);
	inside_stream_copy(to + head, from + head, lines);
	head += lines * LINE_BYTES;
	memcpy(to + head, from + head, (size_t)count - head);
}

MALLOC_EXPORT void BlockMoveUncached(const void *source, void *destination, Size count)
{
	BlockMoveDataUncached(source, destination, count);
}

MALLOC_EXPORT void BlockZeroData(void *destination, Size count)
{
	if (count > 0)
		memset(destination, 0, (size_t)count);
}

MALLOC_EXPORT void BlockZero(void *destination, Size count)
{
	BlockZeroData(destination, count);
}

MALLOC_EXPORT void BlockZeroDataUncached(void *destination, Size count)
{
	char *to = destination;
	size_t head = to_line(to), lines;

	if (count < STREAM_MIN_BYTES) {
		BlockZeroData(destination, count);
		return;
	}
	lines = ((size_t)count - head) / LINE_BYTES;
	memset(to, 0, head);
	inside_stream_zero(to + head, lines);
	head += lines * LINE_BYTES;
	memset(to + head, 0, (size_t)count - head);
}

MALLOC_EXPORT void BlockZeroUncached(void *destination, Size count)
{
	BlockZeroDataUncached(destination, count);
}
