// SPDX-License-Identifier: MIT
// What is no block, given to free, realloc and malloc_usable_size: a message, and never a crash. The
// argument is the number of the case; beyond the last it ends with status 99.
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char global[4096];
static void *volatile sink;

int main(int argc, char **argv)
{
	char local[256];
	char *pages =
		mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *hole = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t end = (uintptr_t)sbrk(4096);
	void *strangers[] = {
		local + 64,
		global + 512,
		pages,
		pages + 16,
		pages + 4096,
		hole,
		hole + 16,
		(void *)16,
		(void *)0x1000,
		(void *)UINTPTR_MAX,
		(void *)0x5555555555555555,
		(void *)(UINTPTR_MAX << 47),
		(void *)(end + 64),
		(void *)(end + 2048),
		(char *)main,
		(char *)argv,
		"text",
		(char *)(sink = malloc(100)) + 16,
		(char *)(sink = malloc(100)) + 1,
		(char *)(sink = malloc(100000)) + 4096,
		(char *)(sink = malloc(10 << 20)) + 65536,
		NULL,
	};
	int which = atoi(argv[1]), use = atoi(argv[2]);
	size_t seen;

	// What looks most like a chunk of libc's: sizes with each flag.
	for (size_t i = 0; i < sizeof(global) / 16; i++)
		((size_t *)global)[2 * i + 1] = 0x41 + i % 8;
	memset(local, 0x41, sizeof(local));
	if (!strangers[which])
		return 99;
	if (use == 0)
		free(strangers[which]);
	else if (use == 1)
		sink = realloc(strangers[which], 50);
	else
		seen = malloc_usable_size(strangers[which]);
	return argc < 3;
}
