// SPDX-License-Identifier: MIT
// Writes one byte 4090 bytes behind the end of a block.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(100);

	fill(guilty ? block + 4190 : block, 1);
	go_on();
	free(block);
}
