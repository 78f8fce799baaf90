// SPDX-License-Identifier: MIT
// The environment, straight from the block that the kernel gave the process: libc has not looked at
// it yet when the first call comes. Called by start.c; nothing here allocates.
#include <stdint.h>
#include <string.h>

#include "entry/entry_impl.h"
#include "os/inside.h"

const struct variable_row entry_variables[VARIABLE_COUNT] = {
	MALLOC_VARIABLES(VARIABLE_ROW)       //
	MALLOC_OTHER_VARIABLES(VARIABLE_ROW) //
	GUARD_VARIABLES(VARIABLE_ROW)        //
	GUARD_OTHER_VARIABLES(VARIABLE_ROW)  //
};

static void take(char *entry, struct entry_environment *ret)
{
	for (int i = 0; i < VARIABLE_COUNT; i++) {
		const char *value = inside_variable_value(entry, entry_variables[i].name);

		if (value && !ret->value[i])
			ret->value[i] = value;
		ret->any |= value != NULL;
	}
}

void entry_environment_read(char **block, struct entry_environment *ret)
{
	*ret = (struct entry_environment){ 0 };
	for (; block && *block; block++) {
		if (!entry_may_be_ours(*block))
			continue;
		ret->may_be_any = true;
		if (!strncmp(*block, "Malloc", 6) || !strncmp(*block, "MALLOC_", 7))
			take(*block, ret);
	}
}

static bool parse(const char *text, bool units, uint64_t *ret)
{
	return inside_number_read(text, strlen(text), units, ret);
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

static bool stays(char *entry)
{
	for (int i = 0; i < VARIABLE_COUNT; i++)
		if (inside_variable_value(entry, entry_variables[i].name))
			return false;
	if (inside_variable_value(entry, "LD_PRELOAD"))
		return inside_preload_remove(entry + strlen("LD_PRELOAD="), is_ours);
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
