// SPDX-License-Identifier: MIT
// The environment under which a program runs on the malloc library: which libraries of this
// installation are preloaded, and the variables that options stand for. Called by run.c and env.c.
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "tools/tools_impl.h"

const struct variable_row tools_preload_variables[VARIABLE_COUNT] = {
	MALLOC_VARIABLES(VARIABLE_ROW)       //
	MALLOC_OTHER_VARIABLES(VARIABLE_ROW) //
	GUARD_VARIABLES(VARIABLE_ROW)        //
	GUARD_OTHER_VARIABLES(VARIABLE_ROW)  //
};

static void assign(struct preload_assignments *a, const char *name, const char *value)
{
	a->v[a->n++] = name;
	a->v[a->n++] = value;
}

static const char *value_text(struct arena *arena, const struct preload_settings *settings,
                              int variable)
{
	const union preload_value *value = &settings->value[variable];

	switch (tools_preload_variables[variable].type) {
	case VARIABLE_FLAG:
		return "1";
	case VARIABLE_CHOICE:
		return value->text[0] ? value->text : "1";
	case VARIABLE_TEXT:
	case VARIABLE_SIGNED_NUMBER:
		return value->text;
	case VARIABLE_NUMBER:
	case VARIABLE_BYTES:
		return arena_format(arena, "%llu", (unsigned long long)value->number);
	}
	return "";
}

static const char *folder_of(struct arena *arena, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? arena_copy_n(arena, path, (size_t)(slash - path)) : "..";
}

// Its place is known from that of the program itself.
struct error *tools_own_file(struct arena *arena, const char *name, const char **ret)
{
	const char *self = os_self_path(arena);
	struct os_status status;

	*ret = arena_format(arena, "%s/lib/%s", folder_of(arena, folder_of(arena, self)), name);
	if (strpbrk(*ret, ": "))
		return error_new(ERROR_UNSUPPORTED,
		                 "%s cannot be preloaded: the loader separates its list by colons "
		                 "and spaces",
		                 *ret);
	return os_path_status(*ret, &status);
}

// The library, those that are preloaded already, and the checker of copies when it is asked for.
static struct error *preload_list(struct arena *arena, const struct preload_settings *settings,
                                  const char **ret)
{
	const char *library, *copies, *others = os_variable("LD_PRELOAD");

	TRY(tools_own_file(arena, settings->guard ? "libgmalloc.so" : "libheapwright.so",
	                   &library));
	*ret = library;
	if (settings->given[VARIABLE_CHECK_COPIES]) {
		TRY(tools_own_file(arena, "heapwright/libheapwright-copies.so", &copies));
		*ret = arena_format(arena, "%s:%s", *ret, copies);
	}
	if (others && others[0] && !strstr(others, library))
		*ret = arena_format(arena, "%s:%s", *ret, others);
	return NULL;
}

static struct error *check_settings(const struct preload_settings *settings)
{
	if (settings->given[VARIABLE_CHECK_START] != settings->given[VARIABLE_CHECK_EACH])
		return error_new(ERROR_USAGE,
		                 "-check-heap-start and -check-heap-each check the heap "
		                 "only together");
	if (settings->guard && settings->given[VARIABLE_PROB_GUARD])
		return error_new(ERROR_USAGE,
		                 "-guard guards all blocks, -sample-guard some: one of "
		                 "them, please");
	for (int i = VARIABLE_PROTECT_BEFORE; i < VARIABLE_COUNT; i++)
		if (settings->given[i] && !settings->guard)
			return error_new(ERROR_USAGE, "-%s is about Guard Malloc: give -guard, too",
			                 tools_preload_variables[i].option);
	return NULL;
}

struct error *tools_preload_collect(struct arena *arena, const struct preload_settings *given,
                                    struct preload_assignments *ret)
{
	struct preload_settings settings = *given;
	const char *preload;

	TRY(check_settings(&settings));
	TRY(preload_list(arena, &settings, &preload));
	if (settings.given[VARIABLE_LOG_FILE])
		settings.value[VARIABLE_LOG_FILE].text =
			os_absolute_path(arena, settings.value[VARIABLE_LOG_FILE].text);
	assign(ret, "LD_PRELOAD", preload);
	for (int i = 0; i < VARIABLE_COUNT; i++)
		if (settings.given[i])
			assign(ret, tools_preload_variables[i].name,
			       value_text(arena, &settings, i));
	return NULL;
}
