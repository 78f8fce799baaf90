// SPDX-License-Identifier: MIT
// Blocks cross between us and libc's own malloc: a library opened with RTLD_DEEPBIND allocates with
// libc's, and the program frees. The library comes as the first argument. Small blocks, mapped ones, and
// those of another arena (a second thread's).
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*take)(size_t);
static const size_t sizes[] = { 0, 1, 24, 25, 1000, 70000, 200000, 5000000 };

enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static void *check(void *unused)
{
	for (int i = 0; i < SIZES; i++) {
		char *block = take(sizes[i]);

		if (malloc_usable_size(block) < sizes[i])
			return "usable size";
		memset(block, 3, malloc_usable_size(block));
		block = realloc(block, sizes[i] + 100);
		if (!block || (sizes[i] && (block[0] != 3 || block[sizes[i] - 1] != 3)))
			return "realloc";
		free(block);
		free(take(sizes[i]));
	}
	return unused;
}

int main(int argc, char **argv)
{
	void *library = dlopen(argv[argc - 1], RTLD_NOW | RTLD_DEEPBIND), *complaint;
	pthread_t thread;

	if (!library || !(take = (void *(*)(size_t))dlsym(library, "take")))
		return puts(dlerror());
	complaint = check(NULL);
	if (!complaint)
		pthread_create(&thread, NULL, check, NULL), pthread_join(thread, &complaint);
	if (complaint)
		puts(complaint);
	return !!complaint;
}
