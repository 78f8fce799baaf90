// SPDX-License-Identifier: MIT
// Writes the byte before a block of a megabyte.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(1 << 20);

	fill(block - (guilty ? 1 : 0), 1);
	go_on();
	free(block);
}
