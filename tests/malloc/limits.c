// SPDX-License-Identifier: MIT
// Under a limit of the address space: malloc gives what there is, then NULL and ENOMEM, and goes on
// giving once something was freed. The limit in MiB is the argument.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BLOCKS = 1 << 20 };
static void *blocks[BLOCKS];

static size_t take_all(size_t bytes)
{
	size_t count = 0;

	errno = 0;
	while (count < BLOCKS && (blocks[count] = malloc(bytes)))
		memset(blocks[count++], 1, bytes < 4096 ? bytes : 4096);
	return count;
}

static void give_all(size_t count)
{
	while (count)
		free(blocks[--count]);
}

int main(int argc, char **argv)
{
	size_t limit = strtoul(argv[argc - 1], NULL, 10) << 20,
	       sizes[] = { 5000, 100, 60000, 9 << 20 };
	struct rlimit rlimit = { limit, limit };

	if (setrlimit(RLIMIT_AS, &rlimit))
		return 2;
	for (int i = 0; i < 8; i++) {
		size_t bytes = sizes[i % 4], count = take_all(bytes);

		if (count < BLOCKS && errno != ENOMEM)
			return 3;
		// What caches and bookkeeping keep of one size is not there for the next.
		if (count * bytes < limit / 4 && count < BLOCKS) {
			printf("only %zu blocks of %zu bytes\n", count, bytes);
			return 4;
		}
		if (realloc(blocks[0], limit * 2) || errno != ENOMEM)
			return 5;
		give_all(count);
	}
	return 0;
}
