// SPDX-License-Identifier: MIT
// What the programs of test-zones share: each has a table of cases and runs the one that is named.
#pragma once

#include <errno.h>
#include <malloc/malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not true: %s (errno %d)\n", __FILE__, __LINE__, \
			        #condition, errno);                                             \
			exit(1);                                                                \
		}                                                                               \
	} while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct zone_case {
	const char *name;
	void (*run)(void);
};

// Without a name the names are printed, for the script.
static int run_case(const struct zone_case *cases, size_t count, int argc, char **argv)
{
	for (size_t i = 0; i < count; i++) {
		if (argc < 2) {
			puts(cases[i].name);
		} else if (!strcmp(cases[i].name, argv[1])) {
			cases[i].run();
			return 0;
		}
	}
	return argc < 2 ? 0 : 2;
}

// A block of anything: keeps the compiler from knowing what malloc does.
static inline void *opaque(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}
