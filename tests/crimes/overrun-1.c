// SPDX-License-Identifier: MIT
// Writes one byte behind a block of 24 bytes.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(24);

	fill(block, guilty ? 25 : 24);
	go_on();
	free(block);
}
