// SPDX-License-Identifier: MIT
// Says for functions given as lines "ADDRESS HEX-BYTES" how many bytes of each a jump would
// replace, or why it cannot be: for test-attach-instructions.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"

static size_t parse(const char *hex, uint8_t *ret, size_t room)
{
	unsigned byte;
	size_t n = 0;

	for (; n < room && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
		ret[n] = (uint8_t)byte;
	return n;
}

int main(void)
{
	char line[4 * OS_PATCH_CODE_BYTES], hex[4 * OS_PATCH_CODE_BYTES];
	uint8_t code[OS_PATCH_CODE_BYTES];
	unsigned long address;
	struct os_patch patch;

	while (fgets(line, sizeof(line), stdin)) {
		const char *refusal;

		if (sscanf(line, "%lx %383s", &address, hex) != 2)
			return 64;
		refusal = os_patch_make(code, parse(hex, code, sizeof(code)), address,
		                        address - 65536, 0x123456789abcull, &patch);
		if (refusal)
			printf("%lx - %s\n", address, refusal);
		else
			printf("%lx %u\n", address, patch.covered);
	}
	return 0;
}
