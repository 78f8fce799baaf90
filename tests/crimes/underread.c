// SPDX-License-Identifier: MIT
// Reads the byte before a block.
#include "crime.h"

static void run(bool guilty)
{
	volatile char *block = malloc(24);

	fill((char *)block, 24);
	(void)block[guilty ? -1 : 0];
	go_on();
	free((char *)block);
}
