// SPDX-License-Identifier: MIT
// Blocks whose address is held in a form that no scan can see; reporting them is no mistake.
#include "plant.h"

enum { COUNT = 30 };

static volatile uintptr_t masked[COUNT];
static volatile uint32_t halves[COUNT][2];

PLANT void plant(void)
{
	for (int i = 0; i < COUNT; i++) {
		void *block = plant_block(70);

		masked[i] = (uintptr_t)block ^ 0x5a5a5a5a5a5a5a5a;
		truth_hidden(block, "masked");
		block = plant_block(75);
		halves[i][0] = (uint32_t)((uintptr_t)block >> 32) + 1;
		halves[i][1] = (uint32_t)(uintptr_t)block;
		truth_hidden(block, "in two parts");
	}
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant();
	plant_leak(80);
	plant_serve(NULL);
}
