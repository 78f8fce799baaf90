// SPDX-License-Identifier: MIT
// Writes one byte 5000 bytes behind the end of a block.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(100);

	fill(guilty ? block + 5100 : block, 1);
	go_on();
	free(block);
}
