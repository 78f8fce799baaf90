// SPDX-License-Identifier: MIT
// Frees a block of a megabyte twice.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(1 << 20);

	fill(block, 1);
	free(hide(block));
	if (guilty)
		free(hide(block));
}
