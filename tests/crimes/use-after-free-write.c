// SPDX-License-Identifier: MIT
// Writes eight bytes into a block that was freed; the program then allocates.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(64);

	if (guilty)
		free(hide(block));
	fill(block + 16, 8);
	if (!guilty)
		free(block);
	fill(hide(malloc(64)), 64);
	go_on();
}
