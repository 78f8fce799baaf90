// SPDX-License-Identifier: MIT
// Writes as much as a block had before realloc made it smaller.
#include "crime.h"

static void run(bool guilty)
{
	char *block = realloc(malloc(40), 30);

	fill(block, guilty ? 40 : 30);
	go_on();
	free(block);
}
