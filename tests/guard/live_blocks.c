// SPDX-License-Identifier: MIT
// Holds many blocks at once, reads each back, and says how many mappings that took; then proves
// that the last of them still has a page that faults behind it, if asked to.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long count_mappings(void)
{
	static char line[4096];
	FILE *maps = fopen("/proc/self/maps", "r");
	long lines = 0;

	while (fgets(line, sizeof(line), maps))
		lines++;
	fclose(maps);
	return lines;
}

int main(int argc, char **argv)
{
	long count = atol(argv[1]), mappings;
	char **blocks = malloc(count * sizeof(*blocks));

	for (long i = 0; i < count; i++) {
		blocks[i] = malloc(48);
		if (!blocks[i])
			return 1;
		memset(blocks[i], (char)i, 48);
	}
	for (long i = 0; i < count; i++)
		if (blocks[i][0] != (char)i || blocks[i][47] != (char)i)
			return 2;
	mappings = count_mappings();
	printf("%s\n", mappings < 1000 ? "few mappings" : "many mappings");
	fflush(stdout);
	if (argc > 2)
		blocks[count - 1][48] = 1;
	for (long i = 0; i < count; i++)
		free(blocks[i]);
	return 0;
}
