// SPDX-License-Identifier: MIT
// Damages four blocks, tells where they are, and waits. With an argument it ends instead.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *over = malloc(24), *under = malloc(100), *freed = malloc(64), *large = malloc(100000);
	char *aligned = aligned_alloc(256, 100), *sound = malloc(10);

	(void)argv;
	memset(over, 'x', 27);
	under[-3] = 1;
	under[101] = 2;
	free(freed);
	freed[5] = 'Z';
	freed[9] = 'Y';
	large[100000] = 7;
	aligned[-64] = 0;
	memset(sound, 1, 10);
	printf("%p %p %p %p %p\n", (void *)over, (void *)under, (void *)freed, (void *)large,
	       (void *)aligned);
	fflush(stdout);
	if (argc == 1)
		pause();
	return 0;
}
