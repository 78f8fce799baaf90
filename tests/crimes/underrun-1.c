// SPDX-License-Identifier: MIT
// Writes the byte before a block.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(24);

	fill(block - (guilty ? 1 : 0), 24);
	go_on();
	free(block);
}
