// SPDX-License-Identifier: MIT
// Writes into a block that was freed, and nobody takes the block again.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(20000), *other = malloc(20000);

	free(hide(block));
	fill(guilty ? block + 3000 : other, 4);
	free(hide(other));
}
