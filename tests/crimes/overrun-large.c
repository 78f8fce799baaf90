// SPDX-License-Identifier: MIT
// Writes one byte behind a block of a megabyte.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(1 << 20);

	fill(block, (1 << 20) + (guilty ? 1 : 0));
	go_on();
	free(block);
}
