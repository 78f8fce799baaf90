// SPDX-License-Identifier: MIT
// Writes one byte 4090 bytes before a block.
#include "crime.h"

static void run(bool guilty)
{
	char *first = malloc(8000), *block = malloc(24);

	fill(guilty ? block - 4090 : block, 1);
	go_on();
	free(block);
	free(first);
}
