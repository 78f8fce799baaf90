// SPDX-License-Identifier: MIT
// Frees an address where there is no memory.
#include "crime.h"

static void run(bool guilty)
{
	free(hide(guilty ? (void *)0x10000010 : NULL));
}
