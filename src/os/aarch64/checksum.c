// SPDX-License-Identifier: MIT
// CRC-32 by the instructions that most aarch64 processors have for it.
#if defined(__aarch64__)

#include <arm_acle.h>
#include <string.h>
#include <sys/auxv.h>

#include "os/os.h"

__attribute__((target("+crc"))) static uint32_t words(uint32_t crc, const uint8_t *at, size_t count)
{
	for (; count; count--, at += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, at, sizeof(word));
		crc = __crc32d(crc, word);
	}
	return crc;
}

size_t os_crc32(uint32_t *crc, const void *bytes, size_t count)
{
	size_t n = count / sizeof(uint64_t);

	if (!n || !(getauxval(AT_HWCAP) & HWCAP_CRC32))
		return 0;
	*crc = words(*crc, bytes, n);
	return n * sizeof(uint64_t);
}

#endif
