// SPDX-License-Identifier: MIT
// Rings of several shapes that nothing outside refers to, and a live ring.
#include "plant.h"

struct node {
	char before[24];
	struct node *next;
	struct node *other;
	char after[16];
};

static struct node *volatile live_ring;

PLANT struct node *new_node(void)
{
	struct node *node = plant_block(sizeof(*node));

	node->next = NULL;
	node->other = NULL;
	return node;
}

PLANT struct node *grow_ring(int length)
{
	struct node *first = new_node();
	struct node *last = first;

	while (--length)
		last = last->next = new_node();
	last->next = first;
	return first;
}

PLANT void tell_ring(const struct node *ring)
{
	const struct node *node = ring;

	do {
		truth_cycle(node, ring);
		node = node->next;
	} while (node != ring);
}

PLANT void tell_ring_under(const struct node *ring, const struct node *root)
{
	const struct node *node = ring;

	do {
		truth_indirect(node, root);
		node = node->next;
	} while (node != ring);
}

PLANT void lose_rings(void)
{
	for (int i = 0; i < 20; i++) {
		tell_ring(grow_ring(2));
		tell_ring(grow_ring(5));
		tell_ring(grow_ring(1)); // a block that refers to itself only
	}
	tell_ring(grow_ring(1000));
}

PLANT void lose_ring_with_tail(void)
{
	struct node *ring = grow_ring(4);
	struct node *tail = ring->next->other = new_node();

	tail->next = new_node();
	tell_ring(ring);
	truth_indirect(tail, ring);
	truth_indirect(tail->next, ring);
}

PLANT void lose_ring_under_ring(void)
{
	struct node *upper = grow_ring(3);
	struct node *lower = grow_ring(3);

	upper->next->other = lower;
	tell_ring(upper);
	tell_ring_under(lower, upper);
}

PLANT void lose_ring_under_block(void)
{
	struct node *block = new_node();
	struct node *ring = grow_ring(6);

	block->other = ring;
	truth_direct(block);
	tell_ring_under(ring, block);
}

// Both directions at once, with pointers into the middle of the blocks.
PLANT void lose_double_list(void)
{
	struct {
		void *forth, *back;
		char pad[48];
	} * block[6];

	for (int i = 0; i < 6; i++)
		block[i] = plant_block(sizeof(*block[i]));
	for (int i = 0; i < 6; i++) {
		block[i]->forth = &block[(i + 1) % 6]->pad[8];
		block[i]->back = &block[(i + 5) % 6]->pad[8];
		truth_cycle(block[i], block[0]);
	}
}

PLANT void keep_ring(void)
{
	const struct node *node = live_ring = grow_ring(10);

	do {
		truth_live(node, "ring from a global");
		node = node->next;
	} while (node != live_ring);
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	lose_rings();
	lose_ring_with_tail();
	lose_ring_under_ring();
	lose_ring_under_block();
	lose_double_list();
	keep_ring();
	plant_serve(NULL);
}
