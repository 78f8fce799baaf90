// SPDX-License-Identifier: MIT
// The environment, straight from the block that the kernel gave the process: libc has not looked at
// it yet when the first call comes. Called by start.c; nothing here allocates.
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "entry/entry_impl.h"

const struct variable_row entry_variables[VARIABLE_COUNT] = {
	MALLOC_VARIABLES(VARIABLE_ROW)       //
	MALLOC_OTHER_VARIABLES(VARIABLE_ROW) //
	GUARD_VARIABLES(VARIABLE_ROW)        //
	GUARD_OTHER_VARIABLES(VARIABLE_ROW)  //
};

// glibc's loader sets this before anything else runs: argc, the arguments, NULL, the variables, NULL
// follow each other there (System V ABI, process initialization). Other libcs do not have it, and set
// `environ` before anything else.
extern void *__libc_stack_end __attribute__((weak));

char **entry_environment_block(void)
{
	char **words;

	if (environ)
		return environ;
	if (!&__libc_stack_end || !__libc_stack_end)
		return NULL;
	words = __libc_stack_end;
	return words + 1 + *(uintptr_t *)__libc_stack_end + 1;
}

const char *entry_program_path(void)
{
	char **words = &__libc_stack_end ? __libc_stack_end : NULL;

	return words && *(uintptr_t *)words ? words[1] : "";
}

static const char *value_of(const char *entry, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(entry, name, n) && entry[n] == '=' ? entry + n + 1 : NULL;
}

static void take(const char *entry, struct entry_environment *ret)
{
	for (int i = 0; i < VARIABLE_COUNT; i++) {
		const char *value = value_of(entry, entry_variables[i].name);

		if (value && !ret->value[i])
			ret->value[i] = value;
		ret->any |= value != NULL;
	}
}

void entry_environment_read(char **block, struct entry_environment *ret)
{
	*ret = (struct entry_environment){ 0 };
	for (; block && *block; block++)
		if (entry_may_be_ours(*block) &&
		    (!strncmp(*block, "Malloc", 6) || !strncmp(*block, "MALLOC_", 7)))
			take(*block, ret);
}

static uint64_t unit_of(char c)
{
	switch (c) {
	case 'k':
	case 'K':
		return 1 << 10;
	case 'm':
	case 'M':
		return 1 << 20;
	case 'g':
	case 'G':
		return 1 << 30;
	}
	return 0;
}

// Decimal digits up to the end of the text, a unit behind them where units are allowed.
static bool parse(const char *text, bool units, uint64_t *ret)
{
	uint64_t n = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return false;
	if (units && unit_of(*text) && __builtin_mul_overflow(n, unit_of(*text++), &n))
		return false;
	*ret = n;
	return !*text;
}

static bool parse_signed(const char *text, int64_t *ret)
{
	bool negative = *text == '-';
	uint64_t n;

	if (!parse(text + negative, false, &n) || n > INT64_MAX)
		return false;
	*ret = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

bool entry_value_is_number(const struct entry_environment *environment, enum variable variable)
{
	const char *text = environment->value[variable];
	uint64_t n;
	int64_t m;

	if (!text)
		return false;
	if (entry_variables[variable].type == VARIABLE_SIGNED_NUMBER)
		return parse_signed(text, &m);
	return parse(text, entry_variables[variable].type == VARIABLE_BYTES, &n);
}

uint64_t entry_number(const struct entry_environment *environment, enum variable variable,
                      uint64_t fallback)
{
	const char *text = environment->value[variable];
	uint64_t n;

	if (!text || !parse(text, entry_variables[variable].type == VARIABLE_BYTES, &n))
		return fallback;
	return n;
}

int64_t entry_signed_number(const struct entry_environment *environment, enum variable variable,
                            int64_t fallback)
{
	const char *text = environment->value[variable];
	int64_t n;

	return text && parse_signed(text, &n) ? n : fallback;
}

// The libraries of ours that LD_PRELOAD may name.
static bool is_ours(const char *path, size_t length)
{
	static const char *const names[] = { "libheapwright.so", "libgmalloc.so",
		                             "libheapwright-copies.so" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (length >= n && !memcmp(path + length - n, names[i], n) &&
		    (length == n || path[length - n - 1] == '/'))
			return true;
	}
	return false;
}

// Shortens the list in its place; false when nothing is left of it. The loader separates its parts by
// colons and spaces.
static bool preload_keep_others(char *list)
{
	const char *from = list;
	char *to = list;

	while (*from) {
		size_t n = strcspn(from, ": ");
		size_t gap = strspn(from + n, ": ");

		if (n && !is_ours(from, n)) {
			if (to != list)
				*to++ = ':';
			memmove(to, from, n);
			to += n;
		}
		from += n + gap;
	}
	*to = '\0';
	return to != list;
}

static bool stays(char *entry)
{
	for (int i = 0; i < VARIABLE_COUNT; i++)
		if (value_of(entry, entry_variables[i].name))
			return false;
	if (value_of(entry, "LD_PRELOAD"))
		return preload_keep_others(entry + strlen("LD_PRELOAD="));
	return true;
}

void entry_environment_remove(char **block)
{
	char **to = block;

	for (; block && *block; block++)
		if (stays(*block))
			*to++ = *block;
	if (to)
		*to = NULL;
}
