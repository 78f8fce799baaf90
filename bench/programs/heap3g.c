// SPDX-License-Identifier: MIT
// A heap of 3 GiB (or as many MiB as its argument says) of mixed sizes, 256 bytes on average: lists
// that are hung into a table, with references across. Writes "ready" and waits for the end of its
// input.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS 65536

struct node {
	struct node *next, *other;
	size_t words;
	uint64_t payload[];
};

static struct node *table[SLOTS];

static uint64_t random_next(void)
{
	static uint64_t seed = 88172645463325252u;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

// Mostly small, one in sixteen around 2 KiB.
static size_t payload_words(uint64_t random)
{
	return random % 16 ? random / 16 % 24 : random / 16 % 512;
}

static size_t node_add(void)
{
	uint64_t random = random_next();
	size_t words = payload_words(random), i;
	struct node *node = malloc(sizeof(*node) + words * 8);
	struct node **slot = &table[(random >> 32) % SLOTS];

	if (!node)
		abort();
	node->next = *slot;
	node->other = table[(random >> 48) % SLOTS];
	node->words = words;
	for (i = 0; i < words; i++)
		node->payload[i] = i * 3;
	*slot = node;
	return sizeof(*node) + words * 8;
}

int main(int argc, char **argv)
{
	size_t limit = (size_t)(argc > 1 ? atol(argv[1]) : 3072) << 20, bytes = 0;
	char byte;

	while (bytes < limit)
		bytes += node_add();
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
