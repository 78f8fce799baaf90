// SPDX-License-Identifier: MIT
// A program to be recorded. usage: allocate COUNT END
// Makes COUNT blocks of SIZE bytes, frees every second one, says "done", and ends as END says: exit,
// kill (itself), exec (becomes /bin/true), wait (for its standard input to end, then exits).
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <heapwright/mark.h>

enum { SIZE = 777 };

static void *allocate(void)
{
	void *block = malloc(SIZE);

	__asm__ volatile("" : "+r"(block)::"memory"); // the compiler knows that nobody needs it
	return block;
}

int main(int argc, char **argv)
{
	long count = argc > 2 ? atol(argv[1]) : 0;
	void *kept = NULL;
	char c;

	heapwright_mark("from inside, with a name that is longer than one event holds");
	for (long i = 0; i < count; i++) {
		void *block = allocate();

		if (i % 2)
			free(kept);
		kept = block;
	}
	if (write(STDOUT_FILENO, "done\n", 5) != 5 || argc < 3)
		return 1;
	if (!strcmp(argv[2], "kill"))
		raise(SIGKILL);
	if (!strcmp(argv[2], "exec"))
		execl("/bin/true", "true", (char *)NULL);
	if (!strcmp(argv[2], "wait"))
		while (read(STDIN_FILENO, &c, 1) > 0)
			free(allocate());
	return 5;
}
