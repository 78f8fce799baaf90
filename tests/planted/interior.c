// SPDX-License-Identifier: MIT
// Blocks held by a pointer into their middle or at their last byte, and pointers that only look so.
#include "plant.h"

enum { COUNT = 100 };

static held_pointer middle[COUNT];
static held_pointer last[COUNT];
static held_pointer chain;
static volatile struct {
	char odd;
	char *pointer;
} __attribute__((packed)) unaligned;

PLANT void plant_live(void)
{
	for (int i = 0; i < COUNT; i++) {
		size_t size = 24 + 40 * (size_t)i;
		char *block = plant_block(size);

		middle[i] = block + size / 2;
		truth_live(block, "pointer to the middle");
		block = plant_block(size);
		last[i] = block + size - 1;
		truth_live(block, "pointer to the last byte");
	}
}

PLANT void plant_chain(void)
{
	char **block = plant_block(96);

	chain = (char *)block + 40;
	for (int i = 0; i < 20; i++) {
		truth_live(block, "chain of interior pointers");
		char **next = plant_block(96);

		block[5] = (char *)next + 33;
		block = next;
	}
	truth_live(block, "chain of interior pointers");
}

// An unaligned pointer is not looked for (nor does any compiler make one): either answer is right.
PLANT void plant_unaligned(void)
{
	char *block = plant_block(500);

	unaligned.pointer = block;
	truth_hidden(block, "unaligned pointer");
}

PLANT void plant_lost(void)
{
	for (int i = 0; i < 20; i++)
		plant_leak(64 + 16 * (size_t)i);
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant_live();
	plant_chain();
	plant_unaligned();
	plant_lost();
	plant_serve(NULL);
}
