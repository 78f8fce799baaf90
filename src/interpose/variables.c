// SPDX-License-Identifier: MIT
// The environment: what was set for this program, and what the programs that it starts shall find. A
// program that is recorded alone loses our two variables, so that its children run without us; when it
// becomes another program itself, they are put back. Nothing here uses libc's functions for variables:
// it may not be set up, or the program may have its own.
#include <string.h>

#include "interpose/interpose_impl.h"
#include "os/inside.h"

enum { TEXT_BYTES = 3 * RECORD_PATH_BYTES };

static const char preload_name[] = "LD_PRELOAD", record_name[] = INTERPOSE_VARIABLE;

static char library[RECORD_PATH_BYTES];
static char record_text[TEXT_BYTES]; // without its name and the number of the part
static uint64_t part;

// Without "part=N," at its start, which is put there anew.
static const char *without_part(const char *text)
{
	return strncmp(text, "part=", 5) ? text
	                                 : text + strcspn(text, ",") + (strchr(text, ',') != NULL);
}

void interpose_variables_start(const char *path, const struct interpose_settings *settings)
{
	const char *text = inside_variable(record_name);

	part = settings->part;
	if (path && strlen(path) < sizeof(library))
		memcpy(library, path, strlen(path) + 1);
	if (text && strlen(text) < sizeof(record_text))
		memcpy(record_text, without_part(text), strlen(without_part(text)) + 1);
}

static bool is_library(const char *path, size_t length)
{
	return length == strlen(library) && !memcmp(path, library, length);
}

void interpose_variables_remove(void)
{
	char **from = inside_environment(), **to = from;

	if (!from)
		return;
	for (; *from; from++) {
		char *list = inside_variable_value(*from, preload_name);

		if (!inside_variable_value(*from, record_name) &&
		    (!list || inside_preload_remove(list, is_library)))
			*to++ = *from;
	}
	*to = NULL;
}

// --- for exec -------------------------------------------------------------------------------------
static char *append(char *to, const char *text)
{
	size_t n = strlen(text);

	memcpy(to, text, n + 1);
	return to + n;
}

static char *append_number(char *to, uint64_t n)
{
	char digits[INSIDE_NUMBER_BYTES];

	return append(to, inside_number_text(digits + sizeof(digits), n));
}

static char *append_preload(char *to, const char *others)
{
	to = append(append(append(to, preload_name), "="), library);
	return others && *others ? append(append(to, ":"), others) : to;
}

static char *append_record(char *to)
{
	to = append(append(to, record_name), "=part=");
	to = append_number(to, part + 1);
	return *record_text ? append(append(to, ","), record_text) : to;
}

// How many bytes the area of an environment has, in its first word.
struct area {
	size_t bytes, unused;
	char *words[];
};

static struct area *make_area(char *const *environment, size_t *ret_words, const char **ret_others)
{
	size_t n = 0, others = 0, bytes;
	struct area *area;

	*ret_others = NULL;
	for (; environment && environment[n]; n++)
		if (inside_variable_value(environment[n], preload_name))
			*ret_others = inside_variable_value(environment[n], preload_name);
	others = *ret_others ? strlen(*ret_others) : 0;
	bytes = sizeof(*area) + (n + 3) * sizeof(char *) + others + sizeof(library) +
	        sizeof(record_text) + 256;
	area = inside_map(bytes, 4096, INSIDE_READ_WRITE);
	if (area)
		area->bytes = bytes;
	*ret_words = n;
	return area;
}

static bool names_library(const char *list)
{
	for (; *list; list += strspn(list, ": ")) {
		size_t n = strcspn(list, ": ");

		if (is_library(list, n))
			return true;
		list += n;
	}
	return false;
}

char **interpose_variables_for_exec(char *const *environment)
{
	const char *others;
	size_t n, kept = 0;
	struct area *area = make_area(environment, &n, &others);
	char *text;

	if (!area)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!inside_variable_value(environment[i], preload_name) &&
		    !inside_variable_value(environment[i], record_name))
			area->words[kept++] = environment[i];
	text = (char *)&area->words[n + 3];
	area->words[kept++] = text;
	if (others && names_library(others))
		text = append(append(append(text, preload_name), "="), others);
	else
		text = append_preload(text, others);
	area->words[kept++] = ++text;
	append_record(text);
	return area->words;
}

void interpose_variables_free(char **environment)
{
	struct area *area = (struct area *)((char *)environment - offsetof(struct area, words));

	inside_unmap(area, area->bytes);
}
