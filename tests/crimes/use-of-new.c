// SPDX-License-Identifier: MIT
// Follows a pointer that was never set, in a new block.
#include "crime.h"

struct node {
	long value;
	struct node *next;
};

static void run(bool guilty)
{
	static struct node last;
	struct node *first = malloc(sizeof(*first)), *again;

	first->next = &last;
	free(hide(first));
	again = malloc(sizeof(*again));
	if (!guilty)
		again->next = &last;
	fill(&((struct node *)hide(again))->next->value, 1);
	free(hide(again));
}
