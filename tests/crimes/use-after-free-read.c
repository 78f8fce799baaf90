// SPDX-License-Identifier: MIT
// Follows a pointer in a block that was freed.
#include "crime.h"

struct node {
	struct node *next;
	int value;
};

static void run(bool guilty)
{
	static struct node last;
	struct node *first = malloc(sizeof(*first));

	first->next = hide(&last);
	if (guilty)
		free(hide(first));
	fill(&((struct node *)hide(first))->next->value, 1);
	if (!guilty)
		free(first);
}
