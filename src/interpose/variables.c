// SPDX-License-Identifier: MIT
// The environment: what was set for this program, and what the programs that it starts shall find. A
// program that is recorded alone loses our two variables, so that its children run without us; when it
// becomes another program itself, they are put back. Nothing here uses libc's functions for variables:
// it may not be set up, or the program may have its own.
#include <string.h>
#include <unistd.h>

#include "interpose/interpose_impl.h"
#include "os/inside.h"

enum { TEXT_BYTES = 3 * RECORD_PATH_BYTES };

static const char preload_name[] = "LD_PRELOAD", record_name[] = INTERPOSE_VARIABLE;

static char library[RECORD_PATH_BYTES];
static char record_text[TEXT_BYTES]; // without its name and the number of the part
static uint64_t part;

// glibc's loader sets this before anything else runs: argc, the arguments, NULL, the variables, NULL
// follow each other there (System V ABI, process initialization).
extern void *__libc_stack_end __attribute__((weak));

static char **block(void)
{
	char **words;

	if (environ)
		return environ;
	if (!&__libc_stack_end || !__libc_stack_end)
		return NULL;
	words = __libc_stack_end;
	return words + 1 + *(uintptr_t *)__libc_stack_end + 1;
}

static char *value_of(char *entry, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(entry, name, n) && entry[n] == '=' ? entry + n + 1 : NULL;
}

const char *interpose_variable(const char *name)
{
	for (char **at = block(); at && *at; at++)
		if (value_of(*at, name))
			return value_of(*at, name);
	return NULL;
}

// Without "part=N," at its start, which is put there anew.
static const char *without_part(const char *text)
{
	return strncmp(text, "part=", 5) ? text
	                                 : text + strcspn(text, ",") + (strchr(text, ',') != NULL);
}

void interpose_variables_start(const char *path, const struct interpose_settings *settings)
{
	const char *text = interpose_variable(record_name);

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

// Shortens the list in its place; the loader separates its parts by colons and spaces. False when
// nothing is left.
static bool keep_others(char *list)
{
	const char *from = list;
	char *to = list;

	while (*from) {
		size_t n = strcspn(from, ": ");

		if (n && !is_library(from, n)) {
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

void interpose_variables_remove(void)
{
	char **from = block(), **to = from;

	if (!from)
		return;
	for (; *from; from++) {
		char *list = value_of(*from, preload_name);

		if (!value_of(*from, record_name) && (!list || keep_others(list)))
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
	char digits[24], *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do
		*--at = (char)('0' + n % 10);
	while (n /= 10);
	return append(to, at);
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
		if (value_of(environment[n], preload_name))
			*ret_others = value_of(environment[n], preload_name);
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
		if (!value_of(environment[i], preload_name) &&
		    !value_of(environment[i], record_name))
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
