// SPDX-License-Identifier: MIT
// What is said about the variables: the list that MallocHelp asks for, and one line for each name that
// is unknown and each value that cannot be used. Called by start.c.
#include <string.h>

#include "entry/entry_impl.h"

enum { SHOWN_BYTES = 80 }; // of what somebody else wrote

void entry_help_print(void)
{
	malloc_print("Environment variables of the malloc library (Heapwright " HEAPWRIGHT_VERSION
	             "):\n");
	for (int i = 0; i < VARIABLE_COUNT; i++) {
		const struct variable_row *row = &entry_variables[i];

		malloc_print("%s%s%s\n    %s\n", row->name, row->argument ? "=" : "",
		             row->argument ? row->argument : "", row->help);
	}
}

// Variables of Mac OS X that tune what this library does not have. Programs set them in passing.
static const char *const without_meaning[] = {
	"MallocNanoZone",
	"MallocSpaceEfficient",
	"MallocMaxMagazines",
	"MallocLargeCache",
	"MallocAggressiveMadvise",
	"MallocTracing",
	"MallocSimpleStackLogging",
	"MallocReportConfig",
	"MallocZeroOnAlloc",
	"MallocCheckZeroOnFreeCorruption",
	"MallocTagAll",
	"MallocSanitizerZone",
	"MallocQuarantineZone",
	"MallocSecureAllocator",
};

static bool is_name(const char *entry, size_t length, const char *name)
{
	return strlen(name) == length && !memcmp(entry, name, length);
}

static bool is_known(const char *entry, size_t length)
{
	for (int i = 0; i < VARIABLE_COUNT; i++)
		if (is_name(entry, length, entry_variables[i].name))
			return true;
	return false;
}

static bool is_without_meaning(const char *entry, size_t length)
{
	for (size_t i = 0; i < sizeof(without_meaning) / sizeof(without_meaning[0]); i++)
		if (is_name(entry, length, without_meaning[i]))
			return true;
	return false;
}

static void complain_about_names(char **block)
{
	for (; block && *block; block++) {
		size_t n;
		int shown;

		if (!entry_may_be_ours(*block) || strncmp(*block, "Malloc", 6))
			continue;
		n = strcspn(*block, "=");
		shown = n < SHOWN_BYTES ? (int)n : SHOWN_BYTES;
		if (is_known(*block, n))
			continue;
		if (is_without_meaning(*block, n))
			malloc_message("the variable %.*s has no meaning here", shown, *block);
		else
			malloc_message("unknown variable %.*s; MallocHelp=1 lists them", shown,
			               *block);
	}
}

static bool is_numeric(enum variable_type type)
{
	return type == VARIABLE_NUMBER || type == VARIABLE_SIGNED_NUMBER || type == VARIABLE_BYTES;
}

static void complain_about_values(const struct entry_environment *environment)
{
	for (int i = 0; i < VARIABLE_COUNT; i++)
		if (environment->value[i] && is_numeric(entry_variables[i].type) &&
		    !entry_value_is_number(environment, i))
			malloc_message("%s=%.*s is no number; the variable is ignored",
			               entry_variables[i].name, SHOWN_BYTES, environment->value[i]);
}

static void complain_about_heap_check(const struct entry_environment *environment)
{
	bool start = entry_value_is_number(environment, VARIABLE_CHECK_START);
	bool each = entry_value_is_number(environment, VARIABLE_CHECK_EACH);

	if (start != each)
		malloc_message(
			"%s alone checks nothing: set %s, too",
			entry_variables[start ? VARIABLE_CHECK_START : VARIABLE_CHECK_EACH].name,
			entry_variables[start ? VARIABLE_CHECK_EACH : VARIABLE_CHECK_START].name);
	else if (each && !entry_number(environment, VARIABLE_CHECK_EACH, 0))
		malloc_message("MallocCheckHeapEach=0 checks nothing: it is the number of calls "
		               "from one check to the next");
}

// Guard Malloc takes the place of the debugging features, which come first in the list; without it
// its own variables, which come last, do nothing.
static void complain_about_guard(const struct entry_environment *environment)
{
	int first = entry_guards ? VARIABLE_SCRIBBLE : VARIABLE_PROTECT_BEFORE;
	int end = entry_guards ? VARIABLE_KEEP_BACK + 1 : VARIABLE_COUNT;
	const char *why = !entry_guards        ? "counts only under Guard Malloc"
	                  : entry_guard_malloc ? "has no effect under Guard Malloc"
	                                       : "has no effect with MallocProbGuard";

	for (int i = first; i < end; i++)
		if (environment->value[i])
			malloc_message("%s %s", entry_variables[i].name, why);
}

static void complain_about_report(const char *where)
{
	if (where && strcmp(where, "stderr") && strcmp(where, "none") && strcmp(where, "crash"))
		malloc_message("MallocDebugReport=%.*s is none of stderr, none, crash; messages go "
		               "to the standard error",
		               SHOWN_BYTES, where);
}

// That library is loaded beside ours only when it is wanted.
static void complain_about_copies(char **block, const struct entry_environment *environment)
{
	if (!environment->value[VARIABLE_CHECK_COPIES])
		return;
	for (; block && *block; block++)
		if (!strncmp(*block, "LD_PRELOAD=", 11) && strstr(*block, "heapwright-copies"))
			return;
	malloc_message("MallocCheckCopies alone checks nothing: use heapwright run -check-copies");
}

void entry_environment_complain(char **block, const struct entry_environment *environment)
{
	complain_about_names(block);
	complain_about_values(environment);
	if (!entry_guards)
		complain_about_heap_check(environment);
	complain_about_guard(environment);
	complain_about_copies(block, environment);
	complain_about_report(environment->value[VARIABLE_DEBUG_REPORT]);
}
