// SPDX-License-Identifier: MIT
// 1,048,575 live blocks of 48 bytes in a binary tree, for the benchmarks of leaks. With an argument
// it writes "ready" and waits for the end of its input; without one it ends at once.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct node {
	struct node *left, *right;
	long values[4];
};

static struct node *root;

static struct node *grow(int depth)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		abort();
	if (depth > 1) {
		node->left = grow(depth - 1);
		node->right = grow(depth - 1);
	}
	return node;
}

int main(int argc, char **argv)
{
	char byte;

	(void)argv;
	root = grow(20);
	if (argc > 1) {
		puts("ready");
		fflush(stdout);
		while (read(0, &byte, 1) > 0)
			continue;
	}
	return root->values[0] != 0;
}
