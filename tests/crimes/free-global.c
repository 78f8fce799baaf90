// SPDX-License-Identifier: MIT
// Frees a global variable.
#include "crime.h"

static char block[64];

static void run(bool guilty)
{
	free(hide(guilty ? block + 16 : NULL));
}
