// SPDX-License-Identifier: MIT
// Direct leaks of many sizes, with live blocks of the same sizes between them.
#include "plant.h"

enum { COUNT = 600 };

static held_pointer live[COUNT];

PLANT void plant(void)
{
	for (int i = 0; i < COUNT; i++) {
		size_t size = 1 + (size_t)i * (i % 50 == 0 ? 97 : 3);

		plant_leak(size);
		live[i] = plant_block(size);
		truth_live(live[i], "global");
	}
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant();
	plant_serve(NULL);
}
