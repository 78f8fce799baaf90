// SPDX-License-Identifier: MIT
// Writes one byte behind a block of 100 bytes that is aligned to 64.
#include "crime.h"

static void run(bool guilty)
{
	char *block = aligned_alloc(64, 100);

	fill(block, guilty ? 101 : 100);
	go_on();
	free(block);
}
