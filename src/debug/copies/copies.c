// SPDX-License-Identifier: MIT
// libheapwright-copies.so: memcpy, strcpy and their kin, which say so when source and destination
// overlap, and then copy as memmove does. A library of its own, preloaded beside libheapwright.so only
// when somebody asks for it, so that copies cost nothing otherwise. Each place that calls is told of
// once. Copying a block onto itself is not: compilers make such calls for assignments.
#include <stdarg.h>
#include <string.h>
#include <wchar.h>

#include "os/inside.h"

#define EXPORT __attribute__((visibility("default")))

// Of libheapwright.so, when it is there; and of glibc, for code built with _FORTIFY_SOURCE.
extern void malloc_printf(const char *format, ...) __attribute__((weak));
extern void malloc_error_break(void) __attribute__((weak));
extern _Noreturn void __chk_fail(void) __attribute__((weak));

enum { PLACES = 1024 };
static uintptr_t told[PLACES];

// False when this place is in the table already, or the table is full.
static bool is_news(uintptr_t place)
{
	for (unsigned i = 0; i < PLACES; i++) {
		uintptr_t *entry = &told[(place + i) % PLACES];
		uintptr_t there = 0;

		if (__atomic_compare_exchange_n(entry, &there, place, false, __ATOMIC_RELAXED,
		                                __ATOMIC_RELAXED))
			return true;
		if (there == place)
			return false;
	}
	return false;
}

static void tell(const char *name, const void *to, const void *from, size_t bytes, uintptr_t place)
{
	struct inside_module module;

	if (!malloc_printf || !is_news(place))
		return;
	if (!inside_module_at(place, &module)) {
		module.path[0] = '\0';
		module.offset = place;
	}
	malloc_printf(
		"*** %s of %zu bytes from %p to %p: source and destination overlap; called at "
		"%p (%s+0x%lx). memmove copies such bytes rightly\n",
		name, bytes, from, to, (void *)place, module.path, module.offset);
	if (malloc_error_break)
		malloc_error_break();
	if (inside_traced())
		inside_trap();
}

// The distance decides: unsigned, so that it is small in one direction only.
static void *copy(const char *name, void *to, const void *from, size_t bytes, void *place)
{
	uintptr_t ahead = (uintptr_t)to - (uintptr_t)from, behind = (uintptr_t)from - (uintptr_t)to;

	if (ahead && (ahead < bytes || behind < bytes))
		tell(name, to, from, bytes, (uintptr_t)place);
	return memmove(to, from, bytes);
}

#define HERE __builtin_return_address(0)

static void require(size_t bytes, size_t room)
{
	if (bytes > room && __chk_fail)
		__chk_fail();
}

EXPORT void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	return copy("memcpy", to, from, bytes, HERE);
}

EXPORT void *mempcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	return (char *)copy("mempcpy", to, from, bytes, HERE) + bytes;
}

EXPORT wchar_t *wmemcpy(wchar_t *restrict to, const wchar_t *restrict from, size_t count)
{
	return copy("wmemcpy", to, from, count * sizeof(*to), HERE);
}

EXPORT char *strcpy(char *restrict to, const char *restrict from)
{
	return copy("strcpy", to, from, strlen(from) + 1, HERE);
}

EXPORT char *stpcpy(char *restrict to, const char *restrict from)
{
	size_t bytes = strlen(from);

	return (char *)copy("stpcpy", to, from, bytes + 1, HERE) + bytes;
}

EXPORT char *strcat(char *restrict to, const char *restrict from)
{
	copy("strcat", to + strlen(to), from, strlen(from) + 1, HERE);
	return to;
}

// The copied part, then zeros.
EXPORT char *strncpy(char *restrict to, const char *restrict from, size_t bytes)
{
	size_t n = strnlen(from, bytes);

	copy("strncpy", to, from, n, HERE);
	memset(to + n, 0, bytes - n);
	return to;
}

EXPORT char *strncat(char *restrict to, const char *restrict from, size_t bytes)
{
	size_t n = strnlen(from, bytes);
	char *end = to + strlen(to);

	copy("strncat", end, from, n, HERE);
	end[n] = '\0';
	return to;
}

// --- what _FORTIFY_SOURCE calls --------------------------------------------------------------------
EXPORT void *__memcpy_chk(void *to, const void *from, size_t bytes, size_t room);
EXPORT void *__memcpy_chk(void *to, const void *from, size_t bytes, size_t room)
{
	require(bytes, room);
	return copy("memcpy", to, from, bytes, HERE);
}

EXPORT void *__mempcpy_chk(void *to, const void *from, size_t bytes, size_t room);
EXPORT void *__mempcpy_chk(void *to, const void *from, size_t bytes, size_t room)
{
	require(bytes, room);
	return (char *)copy("mempcpy", to, from, bytes, HERE) + bytes;
}

EXPORT char *__strcpy_chk(char *to, const char *from, size_t room);
EXPORT char *__strcpy_chk(char *to, const char *from, size_t room)
{
	size_t bytes = strlen(from) + 1;

	require(bytes, room);
	return copy("strcpy", to, from, bytes, HERE);
}

EXPORT char *__strcat_chk(char *to, const char *from, size_t room);
EXPORT char *__strcat_chk(char *to, const char *from, size_t room)
{
	size_t before = strlen(to), bytes = strlen(from) + 1;

	require(before + bytes, room);
	copy("strcat", to + before, from, bytes, HERE);
	return to;
}
