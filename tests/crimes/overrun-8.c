// SPDX-License-Identifier: MIT
// Writes eight bytes behind a block of 48 bytes, which fills its class.
#include "crime.h"

static void run(bool guilty)
{
	char *block = malloc(48);

	fill(block, guilty ? 56 : 48);
	go_on();
	free(block);
}
