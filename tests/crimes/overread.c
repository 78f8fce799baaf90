// SPDX-License-Identifier: MIT
// Reads one byte behind a block of 48 bytes.
#include "crime.h"

static void run(bool guilty)
{
	volatile char *block = malloc(48);

	fill((char *)block, 48);
	(void)block[guilty ? 48 : 47];
	go_on();
	free((char *)block);
}
