// SPDX-License-Identifier: MIT
// Stores past the caches, for x86-64 (SSE2, which every such processor has). The fence at the end puts
// them in order with later stores, as other stores are.
#if defined(__x86_64__)

#include <emmintrin.h>

#include "os/inside.h"

enum { LINE_WORDS = 4 };

void inside_stream_copy(void *to, const void *from, size_t lines)
{
	const __m128i *source = from;
	__m128i *target = to;

	for (; lines--; source += LINE_WORDS, target += LINE_WORDS)
		for (int i = 0; i < LINE_WORDS; i++)
			_mm_stream_si128(target + i, _mm_loadu_si128(source + i));
	_mm_sfence();
}

void inside_stream_zero(void *to, size_t lines)
{
	__m128i *target = to;

	for (; lines--; target += LINE_WORDS)
		for (int i = 0; i < LINE_WORDS; i++)
			_mm_stream_si128(target + i, _mm_setzero_si128());
	_mm_sfence();
}

#endif
