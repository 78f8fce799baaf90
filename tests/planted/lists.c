// SPDX-License-Identifier: MIT
// Lists and trees whose head was lost (one direct leak, the rest indirect), and live ones.
#include "plant.h"

struct node {
	struct node *left;
	long value[4];
	struct node *right;
};

static struct node *volatile live_list;
static struct node *volatile live_tree;

PLANT struct node *new_node(struct node *left, struct node *right)
{
	struct node *node = plant_block(sizeof(*node));

	node->left = left;
	node->right = right;
	return node;
}

PLANT struct node *grow_list(int length)
{
	struct node *head = NULL;

	while (length--)
		head = new_node(head, NULL);
	return head;
}

PLANT struct node *grow_tree(int depth)
{
	return depth ? new_node(grow_tree(depth - 1), grow_tree(depth - 1)) : NULL;
}

PLANT void tell_lost(const struct node *node, const struct node *root)
{
	if (!node)
		return;
	if (node == root)
		truth_direct(node);
	else
		truth_indirect(node, root);
	tell_lost(node->left, root);
	tell_lost(node->right, root);
}

PLANT void tell_live(const struct node *node, const char *why)
{
	if (!node)
		return;
	truth_live(node, why);
	tell_live(node->left, why);
	tell_live(node->right, why);
}

// Two branches that share a tail: each block belongs to one root only, the tail to the same one.
PLANT void lose_diamond(void)
{
	struct node *tail = grow_list(5);
	struct node *top = new_node(new_node(tail, NULL), new_node(tail, NULL));

	truth_direct(top);
	truth_indirect(top->left, top);
	truth_indirect(top->right, top);
	for (; tail; tail = tail->left)
		truth_indirect(tail, top);
}

PLANT void plant(void)
{
	for (int i = 1; i <= 50; i++) {
		struct node *list = grow_list(i);

		tell_lost(list, list);
	}
	for (int i = 1; i <= 8; i++) {
		struct node *tree = grow_tree(i);

		tell_lost(tree, tree);
	}
	lose_diamond();
	live_list = grow_list(100);
	tell_live(live_list, "list from a global");
	live_tree = grow_tree(7);
	tell_live(live_tree, "tree from a global");
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant();
	plant_serve(NULL);
}
