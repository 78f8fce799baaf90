// SPDX-License-Identifier: MIT
// A program without a leak: everything is held by a global, the stack of main or another block.
#include "plant.h"

struct node {
	struct node *next;
	char payload[40];
};

static struct node *volatile head;

PLANT void plant(void **slot)
{
	for (int i = 0; i < 300; i++) {
		struct node *node = plant_block(sizeof(*node));

		node->next = head;
		head = node;
		truth_live(node, "list from a global");
	}
	*slot = plant_block(77);
	truth_live(*slot, "frame of main");
}

int main(int argc, char **argv)
{
	void *volatile slot;

	plant_open(argc, argv);
	plant((void **)&slot);
	plant_serve(NULL);
	return slot != NULL;
}
