// SPDX-License-Identifier: MIT
// Has N mappings, each with a page in use; neighbours differ in protection. Used by footprint_bench.py.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, page = 4096;
	char *memory = mmap(NULL, count * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                    -1, 0);
	char byte;

	if (memory == MAP_FAILED)
		return 1;
	memset(memory, 1, count * page);
	for (size_t i = 0; i < count; i += 2)
		if (mprotect(memory + i * page, page, PROT_READ))
			return 1;
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
