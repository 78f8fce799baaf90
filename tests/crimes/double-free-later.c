// SPDX-License-Identifier: MIT
// Frees a block twice, and another one between.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(24), *other = malloc(24);

	free(hide(block));
	free(hide(other));
	if (guilty)
		free(hide(block));
}
