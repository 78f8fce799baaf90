// SPDX-License-Identifier: MIT
// Frees a pointer into the middle of a block.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(100);

	free(hide(block + (guilty ? 32 : 0)));
}
