// SPDX-License-Identifier: MIT
// Overruns a block in a function of its own; with an argument it frees the block twice instead.
#include <stdlib.h>

__attribute__((noinline)) static void overrun(volatile char *block)
{
	block[32] = 'A'; // here
}

int main(int argc, char **argv)
{
	char *block = malloc(32);

	(void)argv;
	if (argc == 1)
		overrun(block);
	free(block);
	if (argc > 1)
		free(block);
	return 0;
}
