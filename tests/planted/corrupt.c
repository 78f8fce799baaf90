// SPDX-License-Identifier: MIT
// An overrun has overwritten the header of a block; the rest of the heap must still be told.
#include "plant.h"

enum { COUNT = 500, VICTIM = 250 };

static held_pointer live[COUNT];

PLANT void plant(void)
{
	for (int i = 0; i < COUNT; i++) {
		live[i] = plant_block(200);
		if (i != VICTIM)
			truth_live(live[i], i == VICTIM - 1 ? "culprit" : "global");
		if (i % 50 == 7)
			plant_leak(210);
	}
}

PLANT void overrun(void)
{
	char *culprit = live[VICTIM - 1];
	size_t usable = malloc_usable_size(culprit);

	plant_line("damaged", live[VICTIM], malloc_usable_size(live[VICTIM]), culprit, NULL);
	memset(culprit + usable, 'A', sizeof(size_t));
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant();
	overrun();
	plant_serve(NULL);
}
