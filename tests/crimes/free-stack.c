// SPDX-License-Identifier: MIT
// Frees a variable of a function.
#include "crime.h"

static void run(bool guilty)
{
	char block[64];

	fill(block, sizeof(block));
	free(hide(guilty ? block + 16 : NULL));
}
