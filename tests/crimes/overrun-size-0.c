// SPDX-License-Identifier: MIT
// Writes into a block of no bytes.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(0);

	fill(block, guilty ? 1 : 0);
	go_on();
	free(block);
}
