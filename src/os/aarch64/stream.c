// SPDX-License-Identifier: MIT
// Stores past the caches, for aarch64: pairs with the hint that they are not used again. A barrier at
// the end puts them in order with later stores, which these hints do not promise.
#if defined(__aarch64__)

#include "os/inside.h"

void inside_stream_copy(void *to, const void *from, size_t lines)
{
	const char *source = from;
	char *target = to;

	for (; lines--; source += 64, target += 64)
		__asm__ volatile("ldp q0, q1, [%1]\n\t"
		                 "ldp q2, q3, [%1, #32]\n\t"
		                 "stnp q0, q1, [%0]\n\t"
		                 "stnp q2, q3, [%0, #32]"
		                 :
		                 : "r"(target), "r"(source)
		                 : "v0", "v1", "v2", "v3", "memory");
	__asm__ volatile("dmb ishst" ::: "memory");
}

void inside_stream_zero(void *to, size_t lines)
{
	char *target = to;

	for (; lines--; target += 64)
		__asm__ volatile("stnp xzr, xzr, [%0]\n\t"
		                 "stnp xzr, xzr, [%0, #16]\n\t"
		                 "stnp xzr, xzr, [%0, #32]\n\t"
		                 "stnp xzr, xzr, [%0, #48]"
		                 :
		                 : "r"(target)
		                 : "memory");
	__asm__ volatile("dmb ishst" ::: "memory");
}

#endif
