// SPDX-License-Identifier: MIT
// What footprint is to count, for tests/cli/test-footprint*: memory of each kind, and with "fork" a child
// that shares some of it. Says "pid N" of each process and "ready"; ends with its input.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static char *map(size_t bytes, int flags, int fd)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

static char *private_memory(size_t bytes)
{
	char *memory = map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	madvise(memory, bytes, MADV_NOHUGEPAGE);
	return memory;
}

static void take_memory(void)
{
	int fd = memfd_create("segment", MFD_CLOEXEC);
	char *given_up = private_memory(4 * MIB), *locked = private_memory(MIB);
	volatile char *zeros = private_memory(MIB);

	if (fd < 0 || ftruncate(fd, 2 * MIB))
		abort();
	memset(private_memory(3 * MIB), 1, 3 * MIB);
	memset(given_up, 1, 4 * MIB);
	madvise(given_up, 4 * MIB, MADV_FREE);
	memset(locked, 1, MIB);
	mlock(locked, MIB);
	memset(map(2 * MIB, MAP_SHARED, fd), 1, 2 * MIB);
	memset(map(MIB, MAP_SHARED | MAP_ANONYMOUS, -1), 1, MIB);
	for (size_t i = 0; i < MIB; i += 4096)
		(void)zeros[i];
}

// Mappings that differ from their neighbours, so that each stays one.
static void take_mappings(size_t count)
{
	char *memory = private_memory(count * 4096);

	for (size_t i = 0; i < count; i += 2)
		if (mprotect(memory + i * 4096, 4096, PROT_READ))
			exit(77);
}

int main(int argc, char **argv)
{
	char byte;

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], "name=", 5))
			prctl(PR_SET_NAME, argv[i] + 5);
		else if (!strncmp(argv[i], "mappings=", 9))
			take_mappings(strtoul(argv[i] + 9, NULL, 10));
	take_memory();
	printf("pid %d\n", getpid());
	fflush(stdout);
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "fork") && !fork()) {
			printf("pid %d\n", getpid());
			break;
		}
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}
