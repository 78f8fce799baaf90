// SPDX-License-Identifier: MIT
// Moves bytes by one place with functions that must not be used for that.
#include "crime.h"

static void run(bool guilty)
{
	char *text = strcpy(hide(malloc(64)), "overlapping");
	size_t step = guilty ? 1 : 20;

	for (int i = 0; i < 3; i++) {
		memcpy(hide(text + step), text, 12);
		strcpy(hide(text), hide(text + step));
	}
	memmove(text + 1, text, 12);
	free(hide(text));
}
