// SPDX-License-Identifier: MIT
// Pointers in the bytes past the requested size, which malloc_usable_size hands to the program.
#include "plant.h"

static held_pointer live[50];

PLANT void plant(void)
{
	for (int i = 0; i < 50; i++) {
		size_t requested = 17 + 16 * (size_t)i;
		char *block = plant_block(requested);
		size_t usable = malloc_usable_size(block);
		void *behind = plant_block(130);

		live[i] = block;
		truth_live(block, "global");
		memcpy(block + usable - sizeof(behind), &behind, sizeof(behind));
		truth_live(behind, "last word of a usable block");
		plant_leak(requested);
	}
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant();
	plant_serve(NULL);
}
