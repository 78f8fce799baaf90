// SPDX-License-Identifier: MIT
// Writes the eight bytes before a block.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(24);

	fill(block - (guilty ? 8 : 0), 24);
	go_on();
	free(block);
}
