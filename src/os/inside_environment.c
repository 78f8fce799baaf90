// SPDX-License-Identifier: MIT
// The environment of this program without libc's functions for it: libc may not be set up yet when the
// first call comes, or the program may have functions of its own by those names.
#include "os/inside.h"

#include <string.h>
#include <unistd.h>

// glibc's loader sets this before anything else runs: argc, the arguments, NULL, the variables, NULL
// follow each other there (System V ABI, process initialization). Other libcs do not have it, and set
// `environ` before anything else.
extern void *__libc_stack_end __attribute__((weak));

static void **first_words(void)
{
	return &__libc_stack_end ? __libc_stack_end : NULL;
}

char **inside_environment(void)
{
	void **words = first_words();

	if (environ || !words)
		return environ;
	return (char **)words + 1 + *(uintptr_t *)words + 1;
}

const char *inside_program_name(void)
{
	void **words = first_words();

	return words && *(uintptr_t *)words ? words[1] : "";
}

char *inside_variable_value(char *entry, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(entry, name, n) && entry[n] == '=' ? entry + n + 1 : NULL;
}

const char *inside_variable(const char *name)
{
	for (char **at = inside_environment(); at && *at; at++) {
		const char *value = inside_variable_value(*at, name);

		if (value)
			return value;
	}
	return NULL;
}

bool inside_preload_remove(char *list, bool (*is_ours)(const char *path, size_t length))
{
	const char *from = list;
	char *to = list;

	while (*from) {
		size_t n = strcspn(from, ": ");

		if (n && !is_ours(from, n)) {
			if (to != list)
				*to++ = ':';
			memmove(to, from, n);
			to += n;
		}
		from += n + strspn(from + n, ": ");
	}
	*to = '\0';
	return to != list;
}
