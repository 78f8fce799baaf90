// SPDX-License-Identifier: MIT
// Reallocates a block that was freed.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(24);

	free(hide(block));
	block = realloc(hide(guilty ? block : NULL), 500);
	free(hide(block));
}
