// SPDX-License-Identifier: MIT
// CRC-32 by multiplication without carries, for x86-64 with PCLMULQDQ: 64 bytes are taken together, as four
// polynomials of 128 bits that are moved over the next 64 by one multiplication of each half. See Gopal and
// others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009).
#if defined(__x86_64__)

#include <immintrin.h>

#include "os/os.h"

enum {
	LANES = 4,
	LANE_BYTES = 16,
	STEP_BYTES = LANES * LANE_BYTES,
	LEAST_BYTES = 256, // what is left of the lanes is taken bit by bit
};

#define POLYNOMIAL 0xedb88320u

// x^(n + 32) and x^(n - 32) modulo the polynomial, bits reversed, for a distance of n bits.
#define OVER_512 _mm_set_epi64x(0x1c6e41596, 0x154442bd4)
#define OVER_128 _mm_set_epi64x(0x0ccaa009e, 0x1751997d0)

__attribute__((target("pclmul,sse4.1"))) static inline __m128i moved(__m128i value, __m128i over,
                                                                     __m128i onto)
{
	__m128i low = _mm_clmulepi64_si128(value, over, 0x00);
	__m128i high = _mm_clmulepi64_si128(value, over, 0x11);

	return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

__attribute__((target("pclmul,sse4.1"))) static void fold(uint32_t crc, const uint8_t *bytes,
                                                          size_t steps, uint8_t *ret)
{
	const __m128i *at = (const __m128i *)bytes;
	__m128i lanes[LANES], sum;

	for (int i = 0; i < LANES; i++)
		lanes[i] = _mm_loadu_si128(at++);
	lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128((int)crc));
	while (--steps)
		for (int i = 0; i < LANES; i++)
			lanes[i] = moved(lanes[i], OVER_512, _mm_loadu_si128(at++));
	sum = lanes[0];
	for (int i = 1; i < LANES; i++)
		sum = moved(sum, OVER_128, lanes[i]);
	_mm_storeu_si128((__m128i *)ret, sum);
}

size_t os_crc32(uint32_t *crc, const void *bytes, size_t count)
{
	uint8_t left[LANE_BYTES];

	if (count < LEAST_BYTES || !__builtin_cpu_supports("pclmul") ||
	    !__builtin_cpu_supports("sse4.1"))
		return 0;
	fold(*crc, bytes, count / STEP_BYTES, left);
	*crc = 0;
	for (int i = 0; i < LANE_BYTES; i++) {
		*crc ^= left[i];
		for (int bit = 0; bit < 8; bit++)
			*crc = *crc >> 1 ^ (*crc & 1 ? POLYNOMIAL : 0);
	}
	return count / STEP_BYTES * STEP_BYTES;
}

#endif
