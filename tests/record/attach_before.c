// SPDX-License-Identifier: MIT
// Allocates blocks of one size and prints where they are; does to them what the lines of its standard input
// say, and prints what it made: "free N" frees the next N of the first ones, "new N" makes N of another size,
// "churn N" makes and frees N. usage: attach_before COUNT BYTES NEW_BYTES
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t new_bytes;

static void **make(size_t count, size_t bytes)
{
	void **blocks = calloc(count, sizeof(*blocks));

	for (size_t i = 0; blocks && i < count; i++) {
		blocks[i] = malloc(bytes);
		memset(blocks[i], 1, bytes);
	}
	return blocks;
}

__attribute__((noinline)) static void **make_new(size_t count)
{
	return make(count, new_bytes);
}

static void print(void **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf("%p ", blocks[i]);
	printf("\n");
	fflush(stdout);
}

static void churn(size_t count, size_t bytes)
{
	void **blocks = make(count, bytes);

	for (size_t i = 0; i < count; i++)
		free(blocks[i]);
	free(blocks);
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 0) : 100, n, freed = 0;
	size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 0) : 100;
	void **old = make(count, bytes), **made = NULL;
	char word[16];

	new_bytes = argc > 3 ? strtoul(argv[3], NULL, 0) : 200;
	print(old, count);
	while (scanf("%15s %zu", word, &n) == 2) {
		if (!strcmp(word, "new"))
			made = make_new(n);
		else if (!strcmp(word, "churn"))
			churn(n, bytes);
		else
			for (size_t i = 0; i < n && freed < count; i++)
				free(old[freed++]);
		if (made)
			print(made, n);
		else
			print(NULL, 0);
		made = NULL;
	}
	return old == NULL;
}
