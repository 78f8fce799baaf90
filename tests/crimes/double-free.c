// SPDX-License-Identifier: MIT
// Frees a block twice in a row.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(24);

	free(hide(block));
	if (guilty)
		free(hide(block));
	go_on();
}
